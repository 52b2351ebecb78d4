"""Regains privileges by executing a file."""

import subprocess


def attack(world):
    status = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return "done" if int(effective.split()[1], 16) else "nothing"
