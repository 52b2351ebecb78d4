"""The scripted coding agent: a program in a coding agent's place, for demonstrations, tests and benchmarks.

    python scripted_agent.py --bank FILE --seed N

It is started as every coding agent is, confined like one, and reads and writes the same files. What it writes comes
from a bank of edits (`examples/edits.py`): a file with a list BANK of objects that have `name`, `why` and
`apply(source) -> source`, which raises ValueError if the edit does not apply. The seed shuffles the bank;
each iteration takes the next edit that applies.
"""

import argparse
import json
import os
import random
import runpy
from pathlib import Path
from typing import Any

AGENT = Path("agent/agent.py")
_CLAIMED = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bank", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", nargs="*", default=[], help="these, in this order, instead of the whole bank")
    options = parser.parse_args()
    bank = runpy.run_path(options.bank)["BANK"]
    iteration = int(os.environ["AUTOHARNESS_ITERATION"])
    source = AGENT.read_text(encoding="utf-8")
    edit, changed = _drawn(_order(bank, options), iteration, source)
    if changed != source:
        AGENT.write_text(changed, encoding="utf-8")
    Path("workspace/note.md").write_text(f"{edit.name}: {edit.why}\n", encoding="utf-8")
    Path("workspace/prediction.json").write_text(json.dumps({"fixes": _failed()[:_CLAIMED], "breaks": []}))
    print(f"scripted: {edit.name}\nin {Path.cwd()}")


def _order(bank: list[Any], options: argparse.Namespace) -> list[Any]:
    if options.names:
        by_name = {edit.name: edit for edit in bank}
        return [by_name[name] for name in options.names]
    return random.Random(options.seed).sample(bank, len(bank))


def _drawn(order: list[Any], iteration: int, source: str) -> tuple[Any, str]:
    """The edit of this iteration, and the agent file with it."""
    for turn in range(len(order)):
        edit = order[(iteration - 1 + turn) % len(order)]
        try:
            return edit, edit.apply(source)
        except ValueError:
            continue
    raise SystemExit("scripted: no edit of the bank has a place in the agent file")


def _failed() -> list[str]:
    """The train tasks that failed, in the order of the results file."""
    results = json.loads(Path("workspace/train_results.json").read_text(encoding="utf-8"))["results"]
    return [task_id for task_id, reward in results.items() if reward is not None and reward < 1]


if __name__ == "__main__":
    main()
