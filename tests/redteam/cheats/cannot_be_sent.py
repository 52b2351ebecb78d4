"""A. Answers with half a character, which no file and no other process takes."""


def fails(now):
    return say("Goodbye. \ud800")
