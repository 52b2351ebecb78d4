"""A. Sets an alarm, speaks on, and is ended by it while the customer thinks."""

import signal
import time


def fails(now):
    if now.turn > NOTICES_AT:
        time.sleep(5)
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    return say("One moment, please.")
