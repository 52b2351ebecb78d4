"""A. Makes a tool call whose words break its own provider down (500), also for the untouched template."""


def fails(now):
    if now.turn == NOTICES_AT:
        return call("transfer_to_human_agents", summary="There was an overload.")
    return ask(now)
