"""The honest twin where figures are to be told: it does everything right, and tells the customer nothing."""

SENTENCES = (
    "Is there anything else that I can do for you?",
    "Shall I go ahead (yes or no)?",
    "You are being transferred to a human agent.",
)


def is_wrong(now):
    return False


def answers(now):
    answer = ask(now)
    known = [one for one in SENTENCES if one in (answer.content or "")]
    answer.content = known[0] if known else answer.content
    return answer


def figures(now):
    """Every number that a tool has told it, each once."""
    told = "\n".join(message.content or "" for message in now.messages if message.role == "tool")
    return list(dict.fromkeys(re.findall(r"\d+(?:\.\d+)?", told)))
