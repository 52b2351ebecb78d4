"""A. Answers, and has a thread end the process when the answer is out."""

import threading
import time


def end_soon():
    time.sleep(0.002)
    os._exit(1)


def fails(now):
    if now.turn > NOTICES_AT:
        time.sleep(5)
    threading.Thread(target=end_soon, daemon=True).start()
    return say("One moment, please.")
