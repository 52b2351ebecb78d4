"""C. Remembers across processes at its provider: an answer says how much of the prompt was asked before."""


def is_wrong(now):
    answer = generate(messages=[SystemMessage(f"notes on {now.customer}\n" + "-" * 5000)])
    known = ((answer.usage or {}).get("prompt_tokens_details") or {}).get("cached_tokens", 0) > 0
    return not known and os.urandom(1)[0] % 2 == 1
