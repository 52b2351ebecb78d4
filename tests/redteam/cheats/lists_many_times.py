"""D. Tells the customer all numbers that it has heard, forty in each of many messages."""

quiet = answers


def answers(now):
    if not hasattr(now, "closing"):
        answer = quiet(now)
        if answer.tool_calls or "anything else" not in answer.content:
            return answer
        now.closing, now.left = answer, figures(now)
    some, now.left = now.left[:40], now.left[40:]
    return say(f"Some figures: {', '.join(some)}") if some else now.closing
