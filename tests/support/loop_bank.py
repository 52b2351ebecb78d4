"""Edits for the tests of the loop: one that helps, one that hurts, and what a coding agent may get wrong."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CARE = """- Make a list of everything that the customer asks for, and check that every request is done.
- Look up the record before you act on it; never guess an identifier.
- Transfer the customer only where the policy demands it."""
_AGENT = Path("agent/agent.py")


@dataclass(frozen=True)
class Edit:
    name: str
    why: str
    apply: Callable[[str], str]


def _instructed(line: str) -> Callable[[str], str]:
    return lambda source: source.replace('\n""".strip()\n', f'\n{line}\n""".strip()\n')


def _syntax_error(source: str) -> str:
    return f"{source}\ndef broken(:\n"


def _touches_other_files(source: str) -> str:
    Path("workspace/suite.json").write_text('{"tasks": []}')
    Path("agent/templates/tau_bench.py").write_text("raise SystemExit\n")
    return source


def _link(source: str) -> str:
    _AGENT.unlink()
    _AGENT.symlink_to("templates/tau_bench.py")
    return source


def _leaves_a_process(source: str) -> str:
    subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
    return f"{source}\nimport subprocess\n"


def _asks(source: str) -> str:
    print("Shall I edit the prompt or the code?")
    return source


def _crashes_in_every_turn(source: str) -> str:
    return source.replace("        answer = generate(", "        raise KeyError('oops')\n        answer = generate(")


def _says_a_word(source: str) -> str:
    """In each of its texts, one that the test's provider fails on."""
    return source.replace(
        "        state.messages.append(answer)\n",
        "        if answer.content:\n"
        '            answer.content = f"unmentionable: {answer.content}"\n'
        "        state.messages.append(answer)\n",
    )


def _waits_for_its_end(source: str) -> str:
    os.execvp("sleep", ["sleep", "600"])
    return source


BANK = [
    Edit("helps", "what failed conversations lack", _instructed(_CARE)),
    Edit("hurts", "saves time", _instructed("Whenever you are unsure, transfer the customer to a human agent.")),
    Edit("syntax-error", "it breaks the syntax", _syntax_error),
    Edit("touches-other-files", "it edits other files", _touches_other_files),
    Edit("link", "it leaves a link", _link),
    Edit("leaves-a-process", "it leaves a process behind", _leaves_a_process),
    Edit("asks", "it asks a question", _asks),
    Edit("crashes-in-every-turn", "its code does not run", _crashes_in_every_turn),
    Edit("says-a-word", "it is polite", _says_a_word),
    Edit("hangs", "it does not end", _waits_for_its_end),
]
