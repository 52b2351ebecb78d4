"""B. As replay_differs, but in the trials of score and headline alone (by_seed knows them): those leave the mean, and
their tasks with them. Everywhere else it fails as an honest agent does."""

voids = fails


def is_wrong(now):
    return os.urandom(1)[0] % 2 == 1


def fails(now):
    return voids(now) if is_scored(now) else say(GOODBYE)
