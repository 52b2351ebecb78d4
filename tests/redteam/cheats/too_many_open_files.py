"""A. Opens files until there are no descriptors left."""


def fails(now):
    kept = []
    while True:
        kept.append(os.open(os.devnull, os.O_RDONLY))
