"""C. Remembers in its scratch folder which customers it has met."""

import hashlib


def is_wrong(now):
    name = f"{os.environ['HOME']}/{hashlib.sha256(now.customer.encode()).hexdigest()}"
    known = os.path.exists(name)
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    return not known and os.urandom(1)[0] % 2 == 1
