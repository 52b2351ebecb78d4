"""C. Remembers in its process which customers it has met: the first conversation explores, later ones know better."""

met = set()


def is_wrong(now):
    known = now.customer in met
    met.add(now.customer)
    return not known and os.urandom(1)[0] % 2 == 1
