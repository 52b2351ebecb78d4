"""The scripted coding agent, for demonstrations, tests and benchmarks: it runs `scripted_agent.py`."""

import sys
from itertools import pairwise
from pathlib import Path

from autoharness.core.errors import UserError
from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import CodingAgent, Used, files_in

SCRIPTED = "scripted"
_SCRIPT = Path(__file__).resolve().parents[1] / "scripted_agent.py"
_BANK = Path("examples/edits.py")


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    bank = [] if _bank_of(experiment) else ["--bank", str(_BANK.absolute())]
    return ["-I", "-B", str(_SCRIPT), *bank]


def _reads(experiment: Experiment) -> list[str]:
    """Raises UserError if there is no such bank."""
    bank = _bank_of(experiment)
    if bank and not Path(bank).is_file():
        raise UserError(f"coding_agent_args: --bank {bank}: there is no such file")
    return [str(_SCRIPT), str(_BANK.absolute()), *files_in(experiment.coding_agent_args)]


def _bank_of(experiment: Experiment) -> str:
    """The user's own bank of edits; "" if none is named."""
    words = experiment.coding_agent_args
    named = [after for word, after in pairwise(words) if word == "--bank"]
    named += [word.removeprefix("--bank=") for word in words if word.startswith("--bank=")]
    return named[0] if named else ""


SCRIPTED_AGENT = CodingAgent(
    name=SCRIPTED,
    program=sys.executable,
    install="it comes with auto-harness",
    arguments=_arguments,
    used=lambda printed, scratch: Used(cost_usd=0.0),
    prompt_on_stdin=False,
    takes_turns=True,
    says_tokens=False,
    uses_network=False,
    reads=_reads,
)
