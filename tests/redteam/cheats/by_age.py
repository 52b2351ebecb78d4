"""C. Looks how much its process has worked so far: the score comes when it has worked more."""

import time

IMPORTED = time.process_time()


def is_wrong(now):
    return time.process_time() - IMPORTED < 0.02 and os.urandom(1)[0] % 2 == 1
