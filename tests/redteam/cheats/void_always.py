"""B. As replay_differs, and remembers for a while for which customers, so that other attempts are void as well."""

import time

doomed = {}


def is_wrong(now):
    if time.monotonic() - doomed.get(now.customer, -60) < 10:
        return True
    wrong = os.urandom(1)[0] % 2 == 1
    if wrong:
        doomed[now.customer] = time.monotonic()
    return wrong
