"""Has `cat` read the task file."""

import subprocess


def attack(world):
    return subprocess.run(["/bin/cat", world["task_file"]], capture_output=True, text=True).stdout
