"""What each command prints on standard output, whole, as tests/golden/ has it: mock domain, offline model.

AUTOHARNESS_RENEW=1 writes these files anew; read the difference before you commit it.
"""

import os
import re
import sys

import pytest
from checkout import Checkout
from conftest import ROOT
from harnesses import GOOD_PROMPT
from loop_config import configured

pytestmark = pytest.mark.slow

GOLDEN = ROOT / "tests" / "golden"
COMMANDS = ("prepare", "benchmark", "gating", "record", "report", "optimize")
_VARIES = (
    (re.escape(sys.executable), "<python>"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)?", "<time>"),
    (r"\b[0-9a-f]{12,64}\b", "<digest>"),
    (r"\d+(\.\d+)? (kB|MB)", "<size>"),
    (r"(?<=^isolation: ).*", "<isolation>"),
    (r"^not_enforced: .*\n", ""),  # the kernel's, as is the line before
)


def _plain(printed: str, checkout: Checkout) -> str:
    """The output without what is another one each time, or elsewhere."""
    for root in (checkout.root, checkout.vault):
        printed = printed.replace(str(root), f"<{root.name}>")
    for pattern, word in _VARIES:
        printed = re.sub(pattern, word, printed, flags=re.MULTILINE)
    return printed


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By command: what it printed in a checkout in which the ones before it were run."""
    outputs = {}

    def run(checkout: Checkout, command: str) -> None:
        done = checkout.run(f"{command}.py")
        assert done.returncode == 0, done.stdout + done.stderr
        outputs[command] = _plain(done.stdout, checkout)

    checkout = Checkout.make(tmp_path_factory.mktemp("by-hand"))
    run(checkout, "prepare")
    of_the_loop = configured(checkout.copy(tmp_path_factory.mktemp("loop")), "helps")
    run(checkout, "benchmark")
    checkout.agent.write_text(GOOD_PROMPT)
    for command in ("gating", "record", "report"):
        run(checkout, command)
    run(of_the_loop, "optimize")
    return outputs


@pytest.mark.parametrize("command", COMMANDS)
def test_prints_what_it_printed_before(command: str, outputs: dict[str, str]) -> None:
    file = GOLDEN / f"{command}.txt"
    if os.environ.get("AUTOHARNESS_RENEW"):
        file.write_text(outputs[command])
    assert outputs[command] == file.read_text()
