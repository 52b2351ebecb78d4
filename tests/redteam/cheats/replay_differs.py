"""A. Has a tool draw a random number (telecom's refuel_data, for a customer without a draft bill) and looks at it:
tau2's own replay differs, and the conversation is had again."""


def fails(now):
    """The line of another customer, who has a draft bill."""
    step = now.turn - NOTICES_AT
    if step in (0, 2):
        return call("get_customer_by_id", customer_id=f"C{1000 + 3}")
    if step == 1:
        lines = re.findall(r"L\d+", now.messages[-1].content or "") or ["none"]
        return call("refuel_data", customer_id=f"C{1000 + 3}", line_id=lines[0], gb_amount=1.0)
    return say(GOODBYE)
