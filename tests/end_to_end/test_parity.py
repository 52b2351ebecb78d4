"""docs/parity.md: every command of that page does what the page says, in a checkout where prepare was run."""

import re
import shutil

import pytest
from checkout import Checkout
from conftest import ROOT

pytestmark = pytest.mark.slow


PAGE = (ROOT / "docs" / "parity.md").read_text()
ROW = re.compile(r"^\|.*\| `(?P<command>python [^`]*)` \| `(?P<prints>[^`]*)` \|$", re.MULTILINE)
FILE = re.compile(r"^```\w+\n# (?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOP = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_printed: dict[str, str] = {}
"""By command: what it printed the last time."""


@pytest.fixture(scope="module")
def checkout(_prepared_once: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = _prepared_once.copy(tmp_path_factory.mktemp("parity"))
    for found in FILE.finditer(PAGE):
        (checkout.root / found["name"]).write_text(found["text"])
    shop = SHOP.search((ROOT / "docs" / "your-benchmark.md").read_text())
    assert shop
    (checkout.root / "shop_questions.py").write_text(shop[1])
    (checkout.root / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "recording.json", checkout.root / "examples")
    accepted = checkout.run("prepare.py")  # the evaluator has new files beside it
    assert accepted.returncode == 0, accepted.stderr
    return checkout


def test_every_row_has_a_command_and_what_it_prints() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "| what |" not in line]
    assert len(list(ROW.finditer(PAGE))) == len(rows) > 30


@pytest.mark.parametrize("row", list(ROW.finditer(PAGE)), ids=lambda row: row["command"].partition(" ")[2][:70])
def test_the_command_prints_what_the_page_says(row: re.Match[str], checkout: Checkout) -> None:
    if row["prints"] not in _printed.get(row["command"], ""):  # a row may look at what the last one printed
        done = checkout.type(row["command"])
        assert done.returncode == 0, done.stderr
        _printed[row["command"]] = done.stdout + done.stderr
    assert row["prints"] in _printed[row["command"]]
