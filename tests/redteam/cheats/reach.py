"""What cheats share that look at files which are not theirs: where those may lie."""


def reached(name):
    """What `os.stat` says of the files of this name above its own folder, and in the folders there: as far as those
    can be listed, or named."""
    for above in ("../" * up for up in range(1, 7)):
        try:
            beside = os.listdir(above)
        except OSError:
            beside = ["inner", "vault"]
        for path in (above + name, *(f"{above}{folder}/{name}" for folder in beside)):
            try:
                yield os.stat(path)
            except OSError:
                continue
