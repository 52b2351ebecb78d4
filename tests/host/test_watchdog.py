"""What the watch over an agent host sees. The attacks in tests/redteam try the rest of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from autoharness.host import watchdog
from autoharness.host.watchdog import Watchdog

RENAMES = """
import os, sys
os.chdir(sys.argv[1])
for number in range(2000):
    open(f"small-{number}", "w").close()
print("ready", flush=True)
while True:
    for number in range(2000):
        os.rename(f"small-{number}", f"renamed-{number}")
        os.rename(f"renamed-{number}", f"small-{number}")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_files_that_are_gone_when_they_are_looked_at_hide_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_MOST_DISK_MB", 1)  # the real limit would fill the disk of the machine that tests
    process = subprocess.Popen([sys.executable, "-c", RENAMES, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        (tmp_path / "large").write_bytes(bytes(2_000_000))
        watches = [Watchdog(process.pid, tmp_path, memory_mb=2048) for _ in range(100)]
        looks = {watch.complaint(own_code_s=1000, requests=0) for watch in watches}
    finally:
        process.kill()
        process.communicate()
    assert looks == {"wrote over 1 MB"}


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_what_an_idle_process_did_before_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked through once more after its last work, and then not again: most hosts wait for their LLM."""
    monkeypatch.setattr(watchdog, "_MOST_DISK_MB", 1)
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        watch = Watchdog(process.pid, tmp_path, memory_mb=2048)
        assert watch.complaint(own_code_s=1000, requests=0) == ""
        (tmp_path / "large").write_bytes(bytes(2_000_000))
        assert watch.complaint(own_code_s=1000, requests=0) == "wrote over 1 MB"
    finally:
        process.kill()
        process.wait()
