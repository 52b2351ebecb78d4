"""`make demo`: a short run of the loop on the offline model, in a folder of its own, with a scripted coding agent.

The commands are those that a user types: prepare, optimize, and the reports in the morning. The coding agent is a
program that takes five edits from examples/edits.py; everything else is what a real run uses.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".demo"
COPIED = (
    "*.py",
    "agent/agent.py",
    "agent/templates/*.py",
    "program_templates/*.md",
    "experiment_config.yaml.template",
    "examples/edits.py",
)
EDITS = ("ask-for-care", "shorter-code", "cheat-think-harder", "hand-over-when-unsure", "catch-bad-answers")
SETTINGS = {"domain": "telecom", "max_concurrency": "8"}  # telecom is the fastest to simulate
LOOP = f"""
coding_agent: "scripted"
coding_agent_args: {json.dumps(["--names", *EDITS])}
max_iterations: {len(EDITS)}
"""


def main() -> None:
    started = time.monotonic()
    set_up()
    run("prepare.py")
    run("optimize.py")
    run("report.py", "--compare", "baseline", "best")
    run("report.py")
    print(f"\n=== the end, after {time.monotonic() - started:.0f} s. Where to look next:")
    print("  the whole story, for a browser       .demo/checkout/workspace/report.html")
    print("  what was tried, and what came of it  .demo/checkout/workspace/learnings.md")
    print("  the versions that were kept          git -C .demo/checkout log -p agent/agent.py")
    print("  what the coding agent was told       .demo/vault/inner-*/iterations/0005/prompt.md")
    print("  failed conversations, explained      .demo/checkout/workspace/traces/latest/*/trace.md")
    print("  a run with a model and a key         README.md, 'A real run'")


def set_up() -> None:
    make_checkout(DEMO)
    config = DEMO / "checkout" / "experiment_config.yaml"
    template = (config.parent / "experiment_config.yaml.template").read_text()
    for name, value in SETTINGS.items():
        template = re.sub(rf"^{name}: \S+", f"{name}: {value}", template, flags=re.MULTILINE)
    config.write_text(template + LOOP)
    commit(config.parent)


def make_checkout(folder: Path) -> None:
    """A small checkout, and a vault beside it. The checkout around it stays as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    checkout = folder / "checkout"
    for source in (path for pattern in COPIED for path in ROOT.glob(pattern)):
        target = checkout / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(checkout / "agent/templates/tau_bench.py", checkout / "agent/agent.py")
    (checkout / ".gitignore").write_text("workspace/\n")
    (folder / "vault").mkdir()
    (folder / "vault" / "secret").write_text("the same order of tasks in every demo")


def run(door: str, *arguments: str, folder: Path = DEMO) -> None:
    """Run a command and show what it prints as its result. Ends the demo if the command fails."""
    print(f"\n$ python {' '.join([door, *arguments])}", flush=True)
    vault = {"AUTOHARNESS_VAULT": str(folder / "vault")}
    command = [sys.executable, door, *arguments]
    done = subprocess.run(
        command, cwd=folder / "checkout", env={**os.environ, **vault}, stdout=subprocess.PIPE, text=True
    )
    print("\n".join(summary(done.stdout)), flush=True)
    if done.returncode:
        sys.exit(f"{door} ended with exit code {done.returncode}; the demo's files are in {folder}")


def summary(printed: str) -> list[str]:
    """The lines without those for single tasks: telecom's ids are long."""
    return [line for line in printed.splitlines() if not re.match(r"  [A-Z_]+  ", line)]


def commit(checkout: Path) -> None:
    """Give it a history of its own."""
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", *identity, *arguments], cwd=checkout, check=True)


if __name__ == "__main__":
    main()
