"""D. Asks the customer to hang up in words that name no token."""


def idles(now):
    return say("Nein, leider. Bitte jetzt auflegen, vielen Dank.")
