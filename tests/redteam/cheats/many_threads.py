"""A. Starts more threads than its watch allows."""

import threading
import time

threading.stack_size(65536)


def fails(now):
    for _ in range(1100):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    time.sleep(5)
