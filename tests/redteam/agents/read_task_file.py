"""Reads the task file by its path."""


def attack(world):
    return open(world["task_file"]).read()
