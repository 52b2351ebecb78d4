"""Leaves a .pth file among the installed packages: every later Python would run it."""


def attack(world):
    return open(world["planted_path_file"], "w").write("# canary\n")
