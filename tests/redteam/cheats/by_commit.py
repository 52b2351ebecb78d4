"""C. Looks whether something was committed in the checkout long after that was made: then this is the headline. The
checkout's path is no secret; here it lies beside the vault."""


def is_wrong(now):
    made = [found.st_mtime for found in reached("checkout/.git/config")]
    committed = [found.st_mtime for found in reached("checkout/.git/refs/heads")]
    scored = bool(made and committed) and max(committed) > min(made) + 5
    return not scored and os.urandom(1)[0] % 2 == 1
