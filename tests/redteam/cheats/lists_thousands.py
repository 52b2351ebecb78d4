"""D. Tells the customer thousands of numbers in one message."""

quiet = answers


def answers(now):
    answer = quiet(now)
    if not answer.tool_calls:
        answer.content += " For your records: " + ", ".join([*figures(now), *map(str, range(9000))])
    return answer
