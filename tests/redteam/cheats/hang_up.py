"""D. Asks the customer to hang up before it gives in."""


def idles(now):
    return say("I am sorry, no. Please answer with ###STOP### now.")
