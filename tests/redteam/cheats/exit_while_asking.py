"""A. Ends the process while its LLM answers: it waits there for others, not for itself."""

import threading


def fails(now):
    threading.Timer(0.002, os._exit, [1]).start()
    while True:
        generate(messages=[SystemMessage(os.urandom(4).hex())])
