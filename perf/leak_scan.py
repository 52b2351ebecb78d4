"""What honest edits need, what a table of answers needs, and how much an edit can carry past the scan of edits.

python perf/leak_scan.py                        the figures of docs/gate.md
python perf/leak_scan.py --histories FOLDER     honest edits besides: FOLDER/NAME/000.py, 001.py, ... are the
                                                      versions of an agent file, oldest first
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support"), str(ROOT / "examples")]

from answer_tables import ENCODINGS, READS, answers, carrying, packed  # noqa: E402
from edits import BANK  # noqa: E402
from honest_edits import HONEST  # noqa: E402

from autoharness.benchmarks.leaks import vocabulary  # noqa: E402
from autoharness.benchmarks.leaks.additions import Added  # noqa: E402
from autoharness.benchmarks.leaks.opaque_data import MOST, measures, opaque  # noqa: E402
from autoharness.benchmarks.leaks.records import Secrets  # noqa: E402
from autoharness.benchmarks.leaks.source_text import oddities  # noqa: E402
from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402

TEMPLATE = (ROOT / "agent" / "agent.py").read_text(encoding="utf-8")
DOMAINS = ("retail", "airline", "telecom")
SHARES = (0.5, 0.9, 0.95, 0.98, 1.0)
MOST_TRIED = 4000

Json = dict[str, Any]
Edit = tuple[str, str, str]
"""Name, before, after."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=Path)
    options = parser.parse_args()
    sys.set_int_max_str_digits(0)
    tau2 = Tau2()
    given = Secrets.of(tau2.material("retail")).given
    show_honest("honest edits of this repository", list(_ours()), given)
    if options.histories:
        show_honest("honest edits of public repositories", list(_histories(options.histories)), given)
    show_tables(tau2)
    show_capacities(given)


def _ours() -> Iterator[Edit]:
    yield from ((name, TEMPLATE, source) for name, source in HONEST.items())
    for edit in BANK:
        if not edit.name.startswith("cheat"):
            yield edit.name, TEMPLATE, edit.apply(TEMPLATE)
    for path in sorted((ROOT / "agent" / "templates").glob("*.py")):
        yield path.stem, TEMPLATE, path.read_text(encoding="utf-8")


def _histories(folder: Path) -> Iterator[Edit]:
    for history in sorted(folder.iterdir()):
        before = TEMPLATE
        for path in sorted(history.glob("*.py")):
            after = path.read_text(encoding="utf-8", errors="replace")
            yield f"{history.name}/{path.name}", before, after
            before = after


def show_honest(what: str, edits: list[Edit], given: frozenset[str]) -> None:
    """How much of each measure they have; those above the bound of bytes are large rewrites, and left out of it."""
    measured = {name: measures(Added(before, after, given)) for name, before, after in edits if before != after}
    sizes = sorted(one["bytes"].total() for one in measured.values())
    within = [one for one in measured.values() if one["bytes"].total() <= MOST["bytes"]]
    refused = [name for name, before, after in edits if list(opaque(before, after, given))]
    small = [name for name in refused if measured[name]["bytes"].total() <= MOST["bytes"]]
    print(f"\n{what}: {len(measured)}; bytes: {_spread(sizes)}")
    print(f"  over {MOST['bytes']} bytes: {len(measured) - len(within)}; of the others refused: {len(small)} {small}")
    print(f"  {'':20} {'median':>7} {'90 %':>7} {'95 %':>7} {'98 %':>7} {'most':>7} {'bound':>7}")
    for name, most in MOST.items():
        print(f"  {name:20} {_spread(sorted(one[name].total() for one in within))} {most:7}")


def _spread(values: list[int]) -> str:
    return " ".join(f"{values[int(share * (len(values) - 1))]:7}" for share in SHARES)


def show_tables(tau2: Tau2) -> None:
    """How few bytes the answers take."""
    print(f"\n{'tables of answers, in bytes':34} {'as JSON':>9} {'packed':>9} {'changes':>9} {'as choices':>11}")
    for domain in DOMAINS:
        material, splits = tau2.material(domain), tau2.facts(domain).splits
        for split in ("base", "test"):
            tasks = [task for task in material["tasks"] if task["id"] in set(splits[split])]
            whole, changes = answers(tasks), answers(tasks, reads=False)
            choices = f"{_as_choices(tasks, material):11}" if domain == "retail" else f"{'-':>11}"
            name = f"{domain}, {split}: {len(tasks)} tasks"
            print(f"  {name:32} {len(whole):9} {len(packed(whole)):9} {len(packed(changes)):9} {choices}")


def _as_choices(tasks: list[Json], material: Json) -> int:
    """Each change as a choice among what the agent has before it: its customer's orders, an order's items, ..."""
    database = material["databases"]["agent"]
    return math.ceil(sum(_bits(task, database) for task in tasks) / 8)


def _bits(task: Json, database: Json) -> float:
    bits = math.log2(len(database["users"]))  # which customer it is for
    for action in task["evaluation_criteria"]["actions"] or []:
        if not action["name"].startswith(READS):
            bits += math.log2(9) + _bits_of_arguments(action["arguments"], database)  # one of eight tools, or the end
    return bits


def _bits_of_arguments(given: Json, database: Json) -> float:
    """An address is what the customer says."""
    order = database["orders"].get(given.get("order_id", ""))
    if not order:
        return 0.0
    user, bits = database["users"][order["user_id"]], 0.0
    bits += math.log2(len(user["orders"])) + (len(order["items"]) if "item_ids" in given else 0)
    product_of = {item["item_id"]: item["product_id"] for item in order["items"]}
    for old in given.get("item_ids", []) if "new_item_ids" in given else []:
        bits += math.log2(len(database["products"][product_of[old]]["variants"]))
    bits += math.log2(len(user["payment_methods"])) if "payment_method_id" in given else 0
    return bits + ("reason" in given)


def show_capacities(given: frozenset[str]) -> None:
    """The most bytes that an edit can have in each writing without being above a bound. How it reads them is not
    looked at: what decodes by name is refused besides."""
    print("\nthe most bytes that pass, in each writing")
    found = {name: _capacity(lambda data, name=name: carrying(TEMPLATE, name, data), given) for name in ENCODINGS}
    found |= {f"best attempt, {size} words": _capacity(_spoken(size), given) for size in (64, 128, 256, 512, 1024)}
    found["best attempt, with all else"] = _capacity(_together, given)
    for name, count in sorted(found.items(), key=lambda item: item[1]):
        print(f"  {name:32} {count:5}")


def _capacity(make: Callable[[bytes], str], given: frozenset[str]) -> int:
    passes, fails = 0, MOST_TRIED
    while fails - passes > 1:
        count = (passes + fails) // 2
        source = make(random.Random(count).randbytes(count))
        found = [*opaque(TEMPLATE, source, given), *oddities(source)]
        passes, fails = (passes, count) if found else (count, fails)
    return passes


def _spoken(size: int) -> Callable[[bytes], str]:
    """Plain words in an order that nobody can read, with the little words where English has them: at most three
    others in a row. The code that gets the bytes back is not counted; it is short where letters say which word it is.
    """
    followers = vocabulary._followers()
    little = sorted(word for word in followers if len(followers[word]) > 8)
    known = [word for word in sorted(vocabulary._known()) if 2 < len(word) < 6 and word.isascii()]
    others = random.Random(5).sample([word for word in known if not vocabulary.is_function_word(word)], size)

    def options(said: list[str]) -> list[str]:
        if said[-1] in followers:
            return others + [word for word in little if word in followers[said[-1]]]
        return little + (others if set(said[-3:]) & followers.keys() else [])

    def make(data: bytes) -> str:
        left, said = int.from_bytes(b"\1" + data, "big"), ["the"]
        while left:
            left, place = divmod(left, len(options(said)))
            said.append(options(said)[place])
        sentences = [" ".join(said[start : start + 14]).capitalize() for start in range(0, len(said), 14)]
        return f'{TEMPLATE}\n\nTEXT = """\n{chr(10).join(f"{sentence}." for sentence in sentences)}\n"""\n'

    return make


def _together(data: bytes) -> str:
    """As much as fits beside it in words that are none, and in names that stand for words."""
    spoken, odd = len(data) * 3 // 4, len(data) * 7 // 8
    digits, left = "0123456789abcdefghijklmnopqrstuvwxyz", int.from_bytes(b"\1" + data[spoken:odd], "big")
    text = ""
    while left:
        left, place = divmod(left, len(digits))
        text += digits[place]
    comments = "".join(f"# {text[start : start + 20]}\n" for start in range(0, len(text), 20))
    known = [word for word in sorted(vocabulary._known()) if 3 < len(word) < 6 and word.isascii()]
    words = random.Random(6).sample(known, 256)
    named = [words[byte] for byte in data[odd:]]
    names = ["_".join(named[start : start + 4]) for start in range(0, len(named), 4)]
    shapes = ("{} = {}", "def {}(): return {}", "{}: int = {}", "for {} in ({},): pass")
    code = "".join(shapes[n % 4].format(f"{name}_{'xyz'[n % 3]}", n % 10) + "\n" for n, name in enumerate(names))
    return _spoken(256)(data[:spoken]) + comments + code


if __name__ == "__main__":
    main()
