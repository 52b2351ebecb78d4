"""A. Says words to the customer that break its own provider down in the next turn, but not the customer's."""


def fails(now):
    if now.turn == NOTICES_AT:
        return call("get_users", "overload")
    return ask(now)
