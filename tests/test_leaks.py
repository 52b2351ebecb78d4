"""An edit that names benchmark records or copies a scenario is found; honest edits are not."""

import ast
import base64
import json
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE
from harnesses import BAD, GOOD_CODE, GOOD_PROMPT, REFERENCE
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.config import Experiment
from autoharness.errors import UserError
from autoharness.executor import LocalExecutor
from autoharness.leaks import Leak, Secrets, scan
from autoharness.tau import Tau2

DOMAINS = ["retail", "airline", "telecom"]
HONEST = {"template": TEMPLATE, "good prompt": GOOD_PROMPT, "good code": GOOD_CODE, "reference": REFERENCE, **BAD}
EDITS = sorted((ROOT / "examples" / "edits").glob("*.patch"))
MOST_SCAN_S = 2.0

RECORDS = {
    "retail": [
        ("yusuf_rossi_9620", "the user id yusuf_rossi_9620"),
        ("#W2378156", "the order id #W2378156"),
        ("W2378156", "the order id #W2378156"),
        ("4896585277", "the product id 4896585277"),
        ("1151293680", "the item id 1151293680"),
        ("credit_card_9513926", "the id credit_card_9513926"),
        ("9513926", "the number 9513926 of a record"),
        ("mia.garcia2723@example.com", "the email mia.garcia2723@example.com"),
        ("Yusuf Rossi", "the name Yusuf Rossi"),
        ("Rossi, Yusuf", "the name Rossi Yusuf"),
        ("YusufRossi", "the name Yusuf Rossi"),
        ("986 Sunset Drive", "the address 986 Sunset Drive"),
        ("the customer received order X, wish to exchange the mechanical keyboard for a similar one but", None),
    ],
    "airline": [
        ("mia_li_3668", "the user id mia_li_3668"),
        ("4WQ150", "the reservation id 4WQ150"),
        ("VAAOXJ", "the reservation id VAAOXJ"),
        ("HAT170", "the flight number HAT170"),
        ("certificate_7504069", "the id certificate_7504069"),
        ("Emma Kim", "the name Emma Kim"),
        ("It may be more than 24 hours after booking, but it is ok", None),
        ("Agent refuses to proceed with a cancellation that is not allowed even if", None),
    ],
    "telecom": [
        ("555-123-2002", "the phone number 555-123-2002"),
        ("(555) 123 2002", "the phone number 555-123-2002"),
        ("C1001", "the customer id C1001"),
        ("L1002", "the line id L1002"),
        ("B1001", "the bill id B1001"),
        ("John Smith", "the name John Smith"),
        ("[mobile_data_issue]bad_vpn[PERSONA:None]", "the id [mobile_data_issue]bad_vpn[PERSONA:None]"),
        ("It either stops working or is very slow. You want to fix it", None),
    ],
}
"""What an edit must not carry, and what is said of it; None: that it copies a scenario."""

HIDDEN = {
    "two literals": 'ID = "#W237" + "8156"',
    "literals side by side": 'ID = ("#W237"\n      "8156")',
    "f-string": "ID = f\"#{'W237'}{8156}\"",
    "comment": "# the one with order w2378156",
    "upper case": 'USER = "YUSUF_ROSSI_9620"',
    "separators": 'ID = "W-237-81-56"',
    "single characters": 'ID = "".join(["W", "2", "3", "7", "8", "1", "5", "6"])',
    "formatted": 'ID = "#W%s" % 2378156',
    "an integer": "NUMBER = 2_378_156",
    "a hexadecimal integer": f"NUMBER = {2378156:#x}",
    "bytes": 'ID = b"W2378156"',
    "escapes": r'ID = "\x57\x32\u0033\x378156"',
    "reversed": 'ID = "6518732W#"[::-1]',
    "base64": f"ID = {base64.b64encode(b'order #W2378156').decode()!r}",
    "base64 without padding": f"ID = {base64.urlsafe_b64encode(b'yusuf_rossi_9620').decode().rstrip('=')!r}",
    "hex": f"ID = {b'W2378156'.hex()!r}",
    "full-width digits": 'ID = "W\uff12\uff13\uff17\uff18\uff11\uff15\uff16"',
    "a variable's name": "order_w2378156 = 1",
    "two fields": 'USER = {"first_name": "Yusuf", "last_name": "Rossi"}',
    "two conditions": 'if "yusuf" in text and "rossi" in text: pass',
    "a file that does not parse": "def (: W2378156",
    "a null character": "x = 'W2378156' \0",
}

PROMPTS = """
Call list_all_product_types first. A t-shirt, a tea kettle or a mechanical keyboard has one product id and many
items. Order ids look like #W0000000, user ids like first_last_1234. May I ask for the zip code? Will is not
a name, Grace is. Gold members get a refund of 200 dollars; it is 2024-05-15, and 3 of 10 steps are done
within 24 hours. Rate 1000000.
Ask for the customer's phone number, and turn on airplane mode, roaming, data saver and wi-fi calling one by one.
Never make up the results of tool calls.
TIMEOUTS = [86400, 1048576, 65536, 10_000_000, 0xFFFFFFFF, 1234567890, 3.14159265, 20240515]
"""


@pytest.fixture(scope="session")
def material(tau2: Tau2) -> Callable[[str], dict[str, Any]]:
    return cache(tau2.material)


@pytest.fixture(scope="session")
def secrets(material: Callable[[str], dict[str, Any]]) -> Callable[[str], Secrets]:
    return cache(lambda domain: Secrets.of(material(domain)))


def with_line(line: str) -> tuple[str, int]:
    """The template with a line behind its last one, and the number of that line."""
    source = f"{TEMPLATE.rstrip()}\n\n\n{line}\n"
    return source, source[: source.index(line)].count("\n") + 1


@pytest.mark.parametrize(
    ("domain", "text", "what"),
    [(domain, *record) for domain in DOMAINS for record in RECORDS[domain]],
    ids=lambda value: value[:20] if value else "scenario",
)
def test_a_record_is_found_with_its_line(
    secrets: Callable[[str], Secrets], domain: str, text: str, what: str | None
) -> None:
    after, number = with_line(f"NOTE = {text!r}")
    found = scan(TEMPLATE, after, secrets(domain))
    assert Leak(number, f"NOTE = {text!r}", what or "words of a task's scenario") in found
    assert {leak.line for leak in found} == {number}


@pytest.mark.parametrize("line", HIDDEN.values(), ids=HIDDEN)
def test_a_record_that_is_cheaply_hidden_is_found(secrets: Callable[[str], Secrets], line: str) -> None:
    after, number = with_line(line)
    assert {leak.line for leak in scan(TEMPLATE, after, secrets("retail"))} == {number}


@pytest.mark.parametrize("line", ['ID = "VAA" + "OXJ"', "ID = f\"VAA{'OXJ'}\"", 'ID = "".join(("VAA", "OXJ"))'])
def test_a_code_of_letters_alone_is_found_in_pieces(secrets: Callable[[str], Secrets], line: str) -> None:
    """In prose two words are not joined, or each pair of three-letter words would be a candidate."""
    after, _ = with_line(line)
    assert [leak.what for leak in scan(TEMPLATE, after, secrets("airline"))] == ["the reservation id VAAOXJ"]
    assert not scan("", "# the vaa oxj", secrets("airline"))


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_every_task_is_about_is_found(
    material: Callable[[str], dict[str, Any]], secrets: Callable[[str], Secrets], domain: str
) -> None:
    """Each task's own reason for the call, pasted into a prompt; a few of airline's are a handful of words."""
    reasons = {task["user_scenario"]["instructions"]["reason_for_call"] for task in material(domain)["tasks"]}
    missed = [reason for reason in reasons if not scan("", f'PROMPT = """\n{reason}\n"""', secrets(domain))]
    assert not [reason for reason in missed if len(reason.split()) > 12]


@pytest.mark.parametrize("domain", [*DOMAINS, "mock"])
@pytest.mark.parametrize("source", [*HONEST.values(), PROMPTS], ids=[*HONEST, "prompts"])
def test_an_honest_harness_gives_nothing_away(secrets: Callable[[str], Secrets], domain: str, source: str) -> None:
    assert scan("", source, secrets(domain)) == []


@pytest.mark.parametrize("domain", [*DOMAINS, "mock"])
@pytest.mark.parametrize("patch", EDITS, ids=lambda path: path.stem)
def test_the_demos_edits_give_nothing_away(secrets: Callable[[str], Secrets], domain: str, patch: Path) -> None:
    added = [line[1:] for line in patch.read_text().splitlines() if re.match(r"\+(?!\+)", line)]
    assert added and scan("", "\n".join(added), secrets(domain)) == []


@pytest.mark.parametrize("domain", [*DOMAINS, "mock"])
def test_what_the_agent_is_given_anyway_is_no_leak(
    material: Callable[[str], dict[str, Any]], secrets: Callable[[str], Secrets], domain: str
) -> None:
    """A tool schema of airline names flight HAT001 as an example, one of retail a product."""
    given = f"'''{material(domain)['policy']}'''\nTOOLS = {json.dumps(material(domain)['tools'], indent=1)}"
    assert scan("", given, secrets(domain)) == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_our_own_source_gives_nothing_away(secrets: Callable[[str], Secrets], domain: str) -> None:
    """Some 200 kB of honest Python and prose."""
    sources = [*(ROOT / "autoharness").glob("*.py"), *ROOT.glob("*.md"), *(ROOT / "program_templates").glob("*.md")]
    skipped = {"leaks.py"}  # names a user id and an order in its docstrings
    found = {path.name: scan("", path.read_text(), secrets(domain)) for path in sources if path.name not in skipped}
    assert not {name: leaks for name, leaks in found.items() if leaks}


def test_only_lines_that_are_new_count(secrets: Callable[[str], Secrets]) -> None:
    before, number = with_line('NOTES = """\n  order #W2378156 of yusuf_rossi_9620\n"""')
    moved = "# moved\n" + before.replace("  order", "      order")
    assert scan(before, before, secrets("retail")) == scan(before, moved, secrets("retail")) == []
    extended = before.replace("\n  order", "\n  Be kind.\n  order")  # a new line of the same literal
    assert scan(before, extended, secrets("retail")) == []
    again = before + "# order #W2378156"
    assert [leak.line for leak in scan(before, again, secrets("retail"))] == [number + 3]


def test_halves_that_a_deletion_brings_together_are_found(secrets: Callable[[str], Secrets]) -> None:
    before = 'ID = ("W237"\n  "and some more words"\n  "8156")\n'
    assert scan("", before, secrets("retail")) == []
    found = scan(before, before.replace('  "and some more words"\n', ""), secrets("retail"))
    assert [(leak.line, leak.what) for leak in found] == [(1, "the order id #W2378156")]


def test_a_leak_reads_as_one_short_printable_line(secrets: Callable[[str], Secrets]) -> None:
    line = f"# \x1b[31m W2378156 {'x' * 500}"
    (leak,) = scan("", f"x = 1\r\n{line}", secrets("retail"))
    assert leak.line == 2 and len(leak.text) <= 120 and leak.text.isprintable()


@pytest.mark.parametrize(
    "source",
    ["x" * 500_001, "-" * 100_000 + "1", "x = " + "+".join(['"a"'] * 30_000), "x" + ".a" * 100_000],
    ids=["too long", "unary", "sum", "attributes"],
)
def test_a_file_that_cannot_be_looked_through_is_itself_reported(source: str) -> None:
    (leak,) = scan("", source, Secrets({}, frozenset(), frozenset()))
    assert leak.line == 1 and ("too many" in leak.what or "too deep" in leak.what)


ODD = ["\n", "\r", "\0", "\u2028", "\ufeff", "\ufdfa", "\\N{", "1e999", "AAAA", "'" * 3, "f'"]
COOKIES = ["# coding: utf-7\n", "# coding: undefined\n", "# coding: nonsense\n"]
PARTS = st.sampled_from([*"\"'([{}+=-\\", "0x", "W2378156", "mia", "li", *ODD, *COOKIES])


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(PARTS | st.text(max_size=3)).map("".join), st.text())
def test_scanning_any_text_raises_nothing(after: str, before: str) -> None:
    known = Secrets(
        {"w2378156": "an order"}, frozenset({("mia", "li"), ("li", "mia")}), frozenset({"a b c d e f g h"})
    )
    assert all(1 <= leak.line <= len(after) + 1 for leak in scan(before, after, known))
    assert not scan(after, after, known) or len(after) > 500_000


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_long_file_is_scanned_quickly(secrets: Callable[[str], Secrets], domain: str) -> None:
    source = REFERENCE * (100_000 // len(REFERENCE) + 1)
    ast.parse(source)
    known, spent_s = secrets(domain), []
    for _ in range(2):
        started = time.process_time()
        scan(TEMPLATE, source, known)
        spent_s.append(time.process_time() - started)
    assert min(spent_s) < MOST_SCAN_S


def test_a_worker_answers_the_executor(tmp_path: Path) -> None:
    experiment = Experiment(domain="airline", agent_model="offline/clerk", user_model="offline/customer")
    after, number = with_line("USER = 'mia_li_3668'")
    with LocalExecutor(experiment, {"": TEMPLATE}, tmp_path) as machine:
        assert machine.leaks("airline", TEMPLATE, TEMPLATE) == []
        found = machine.leaks("airline", TEMPLATE, after)
        assert Leak(number, "USER = 'mia_li_3668'", "the user id mia_li_3668") in found
        with pytest.raises(UserError, match="did you mean 'airline'"):
            machine.leaks("airlin", TEMPLATE, after)
