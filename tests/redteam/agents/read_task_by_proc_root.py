"""Reads the task file through /proc/self/root, which leads everywhere."""


def attack(world):
    return open("/proc/self/root" + world["task_file"]).read()
