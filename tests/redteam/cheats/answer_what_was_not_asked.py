"""A. Sends the worker an answer to a call that was not made."""

import sys
import time


def fails(now):
    os.write(int(sys.argv[1]), b'{"id": 987654321, "result": null}\n')
    time.sleep(5)
