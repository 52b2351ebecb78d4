"""D. Lists every number that it has heard beside its tool calls, where no customer hears it."""

quiet = answers


def answers(now):
    answer = quiet(now)
    if answer.tool_calls:
        answer.content = " ".join(figures(now)) or None
    return answer
