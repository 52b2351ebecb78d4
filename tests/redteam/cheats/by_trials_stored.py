"""C. Looks how large the vault's folder of trials is: at the headline it holds those of the night as well."""


def is_wrong(now):
    scored = any(found.st_size > 24_000 for found in reached("trials"))
    return not scored and os.urandom(1)[0] % 2 == 1
