"""C. Looks whether the record of an earlier run lies in the vault: the score is the second run of its command."""


def is_wrong(now):
    return not any(reached("run-001.json")) and os.urandom(1)[0] % 2 == 1
