"""`make demo`: the whole loop on the offline model, in a folder of its own, with a coding agent that is a script.

The commands are those that a person or a coding agent types: prepare, benchmark, an edit of agent/agent.py, gating,
then record or git checkout. The edits are the diffs in examples/edits, in the order of their names.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".demo"
CHECKOUT = DEMO / "checkout"
COPIED = (
    "*.py",
    "agent/agent.py",
    "agent/templates/*.py",
    "program_templates/*.md",
    "experiment_config.yaml.template",
)
SETTINGS = {"domain": "telecom", "max_concurrency": "8"}  # telecom is the fastest to simulate


def main() -> None:
    started = time.monotonic()
    set_up()
    run("prepare.py")
    rows = [iteration(number, edit) for number, edit in enumerate(sorted((ROOT / "examples/edits").iterdir()), 1)]
    compared = run("report.py", "--compare", "baseline", "best", quiet=True)
    show(rows, compared, time.monotonic() - started)


def set_up() -> None:
    """A small checkout with a history of its own. The checkout around it stays as it is."""
    shutil.rmtree(DEMO, ignore_errors=True)
    for source in (path for pattern in COPIED for path in ROOT.glob(pattern)):
        target = CHECKOUT / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(CHECKOUT / "agent/templates/tau_bench.py", CHECKOUT / "agent/agent.py")
    template = (CHECKOUT / "experiment_config.yaml.template").read_text()
    for name, value in SETTINGS.items():
        template = re.sub(rf"^{name}: \S+", f"{name}: {value}", template, flags=re.MULTILINE)
    (CHECKOUT / "experiment_config.yaml").write_text(template)
    (CHECKOUT / ".gitignore").write_text("workspace/\n")
    (DEMO / "vault").mkdir()
    (DEMO / "vault" / "secret").write_text("the same order of tasks in every demo")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "start")


def iteration(number: int, edit: Path) -> list[str]:
    """Run, edit, gate, and record or revert; returns the row of the final table."""
    print(f"\n=== iteration {number}: {edit.stem}", flush=True)
    run("benchmark.py", "--failed", quiet=True)
    git("apply", str(edit))
    gate = run("gating.py")
    accepted = value("verdict", gate) == "accepted"
    if accepted:
        run("record.py")
    else:
        git("checkout", "--quiet", "agent/agent.py")
    log = CHECKOUT / "workspace" / "learnings.md"
    with log.open("a") as learnings:
        learnings.write(f"\n## {edit.stem}\n\n{edit.read_text().splitlines()[0]}\n{value('verdict', gate)}\n")
    return [str(number), edit.stem, value("val_score", gate), value("best", gate), value("verdict", gate)]


def run(door: str, *arguments: str, quiet: bool = False) -> str:
    """What a command prints as its result. Ends the demo where the command could not do its work."""
    print(f"$ python {' '.join([door, *arguments])}", flush=True)
    vault = {"AUTOHARNESS_VAULT": str(DEMO / "vault")}
    command = [sys.executable, door, *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **vault}, stdout=subprocess.PIPE, text=True)
    print("\n".join(done.stdout.splitlines()[:1] if quiet else summary(done.stdout)), "\n", flush=True)
    if done.returncode and value("verdict", done.stdout) != "rejected":
        sys.exit(f"{door} ended with exit code {done.returncode}; the demo's files are in {DEMO}")
    return done.stdout


def summary(printed: str) -> list[str]:
    """Without the lines for single tasks: telecom's ids are long."""
    return [line for line in printed.splitlines() if not re.match(r"  [A-Z_]+  ", line)]


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=CHECKOUT, check=True)


def value(key: str, printed: str) -> str:
    """The first word behind `key:`."""
    found = re.search(rf"^{key}: (\S+)", printed, re.MULTILINE)
    return found[1] if found else "?"


def show(rows: list[list[str]], compared: str, seconds: float) -> None:
    print(f"=== the end, after {seconds:.0f} s: what the gate made of the edits\n")
    for row in [["", "edit", "val_score", "best before", "verdict"], *rows]:
        print("{:2} {:26} {:10} {:12} {}".format(*row))
    print("\nBaseline (A) against best (B):", *summary(compared), sep="\n")
    print("\nWhere to look next:")
    print("  the versions that were kept      .demo/checkout/workspace/results.tsv, git -C .demo/checkout log")
    print("  failed conversations, explained  .demo/checkout/workspace/traces/baseline/*/trace.md")
    print("  what a coding agent is told      .demo/checkout/PROGRAM.md")
    print("  a run with a model and a key     README.md, 'A real run'")


if __name__ == "__main__":
    main()
