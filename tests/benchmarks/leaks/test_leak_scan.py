"""An edit that names benchmark records or copies a scenario is found; honest edits are not."""

import ast
import base64
import bz2
import codecs
import gzip
import json
import lzma
import re
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE
from harnesses import BAD, GOOD_CODE, GOOD_PROMPT, REFERENCE
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.benchmarks.leaks.forbidden_uses import problem_of
from autoharness.benchmarks.leaks.leak_scan import Leak, scan
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import UserError
from autoharness.core.settings import Experiment
from autoharness.engine.workers import Workers

DOMAINS = ["retail", "airline", "telecom"]
HONEST = {"template": TEMPLATE, "good prompt": GOOD_PROMPT, "good code": GOOD_CODE, "reference": REFERENCE, **BAD}
MOST_SCAN_S = 1.0
ORDER = "#W2378156 of yusuf_rossi_9620"
NAMED = re.compile(r"carries (the (?!names of)|words of a task)")

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

WORDS = "words of a task's scenario"

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
    "reversed base64": f"ID = {base64.b64encode(ORDER.encode()).decode()[::-1]!r}",
    "base32": f"ID = {base64.b32encode(ORDER.encode()).decode()!r}",
    "base85": f"ID = {base64.b85encode(ORDER.encode())!r}",
    "ascii85": f"ID = {base64.a85encode(ORDER.encode()).decode()!r}",
    "rot13": f"ID = {codecs.encode(ORDER, 'rot13')!r}",
    "zlib in base64": f"ID = {base64.b64encode(zlib.compress(ORDER.encode())).decode()!r}",
    "gzip in hex": f"ID = {gzip.compress(ORDER.encode()).hex()!r}",
    "bz2 in base85": f"ID = {base64.b85encode(bz2.compress(ORDER.encode())).decode()!r}",
    "lzma in bytes": f"ID = {lzma.compress(ORDER.encode())!r}",
    "base64 of base64": f"ID = {base64.b64encode(base64.b64encode(ORDER.encode())).decode()!r}",
    "hex with spaces": f"ID = {ORDER.encode().hex(' ')!r}",
    "HTML": f"ID = {''.join(f'&#{ord(char)};' for char in ORDER)!r}",
    "an URL": f"ID = {''.join(f'%{ord(char):02x}' for char in ORDER)!r}",
    "escapes in a raw text": "ID = r'" + "".join(f"\\x{ord(char):02x}" for char in ORDER) + "'",
    "a list of characters": f"ID = {list(map(ord, ORDER))}",
    "a list of lists": f"ID = {[[ord(char)] for char in ORDER]}",
    "a dictionary of characters": f"ID = {dict(enumerate(map(ord, ORDER)))}",
    "numbers in a text": f"ID = {' '.join(str(ord(char)) for char in ORDER)!r}",
    "a long integer": f"ID = {int.from_bytes(ORDER.encode(), 'big')}",
    "a long integer from the other end": f"ID = {int.from_bytes(ORDER.encode(), 'little'):#x}",
    "a list of bytes": f"ID = b''.join([{ORDER[:6].encode()!r}, {ORDER[6:].encode()!r}])",
    "two constants": 'A, B = "W237", "8156"',
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


def named(leaks: list[Leak]) -> list[Leak]:
    """Those that name records."""
    return [leak for leak in leaks if NAMED.match(leak.what)]


def with_line(line: str) -> tuple[str, int]:
    """The template with a line behind its last one, and the number of that line."""
    source = f"{TEMPLATE.rstrip()}\n\n\n{line}\n"
    return source, source[: source.index(line)].count("\n") + 1


@pytest.mark.slow
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
    assert Leak(number, f"NOTE = {text!r}", f"carries {what or WORDS}") in found
    assert {leak.line for leak in found} == {number}


@pytest.mark.slow
@pytest.mark.parametrize("line", HIDDEN.values(), ids=HIDDEN)
def test_a_record_that_is_cheaply_hidden_is_found(secrets: Callable[[str], Secrets], line: str) -> None:
    after, number = with_line(line)
    assert {leak.line for leak in named(scan(TEMPLATE, after, secrets("retail")))} == {number}


def test_pieces_in_different_statements_are_put_together(secrets: Callable[[str], Secrets]) -> None:
    after, number = with_line('FIRST = "W237"\nSECOND = "8156"')
    found = named(scan(TEMPLATE, after, secrets("retail")))
    assert [(leak.line, leak.what) for leak in found] == [(number, "carries the order id #W2378156")]


@pytest.mark.parametrize("line", ['ID = "VAA" + "OXJ"', "ID = f\"VAA{'OXJ'}\"", 'ID = "".join(("VAA", "OXJ"))'])
def test_a_code_of_letters_alone_is_found_in_pieces(secrets: Callable[[str], Secrets], line: str) -> None:
    """In prose two words are not joined, or each pair of three-letter words would be a candidate."""
    after, _ = with_line(line)
    assert [leak.what for leak in scan(TEMPLATE, after, secrets("airline"))] == ["carries the reservation id VAAOXJ"]
    assert not scan("", "# the vaa oxj", secrets("airline"))


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_what_every_task_is_about_is_found(
    material: Callable[[str], dict[str, Any]], secrets: Callable[[str], Secrets], domain: str
) -> None:
    """Each task's own reason for the call, pasted into a prompt; a few of airline's are a handful of words."""
    reasons = {task["user_scenario"]["instructions"]["reason_for_call"] for task in material(domain)["tasks"]}
    missed = [reason for reason in reasons if not named(scan("", f"PROMPT = {reason!r}", secrets(domain)))]
    assert not [reason for reason in missed if len(reason.split()) > 12]


@pytest.mark.parametrize("domain", [*DOMAINS, "mock"])
@pytest.mark.parametrize("source", [*HONEST.values(), PROMPTS], ids=[*HONEST, "prompts"])
def test_an_honest_harness_gives_nothing_away(secrets: Callable[[str], Secrets], domain: str, source: str) -> None:
    assert named(scan("", source, secrets(domain))) == []


def test_a_list_of_customers_is_found_though_each_name_is_an_ordinary_one(secrets: Callable[[str], Secrets]) -> None:
    few, many = (
        '["Yusuf", "Mia", "Fatima"]',
        '["yusuf", "mia", "fatima", "olivia", "noah", "ethan", "sofia", "liam", "ava"]',
    )
    for people, what in ((few, []), (many, ["carries the names of 9 customers"])):
        after, number = with_line(f"PEOPLE = {people}")
        assert [(one.line, one.what) for one in scan(TEMPLATE, after, secrets("retail"))] == [
            (number, w) for w in what
        ]


def test_postcodes_of_customers_are_found(
    material: Callable[[str], dict[str, Any]], secrets: Callable[[str], Secrets]
) -> None:
    codes = sorted({user["address"]["zip"] for user in material("retail")["databases"]["agent"]["users"].values()})
    after, number = with_line(f"CODES = {codes[:4]}")
    found = {(one.line, one.what) for one in scan(TEMPLATE, after, secrets("retail"))}
    assert (number, "carries 4 postcodes or dates of birth of customers") in found
    assert not scan(TEMPLATE, with_line("CODES = ['12345', '10115', '99999', '00000']")[0], secrets("retail"))


@pytest.mark.slow
@pytest.mark.parametrize("domain", [*DOMAINS, "mock"])
def test_what_the_agent_is_given_anyway_is_no_leak(
    material: Callable[[str], dict[str, Any]], secrets: Callable[[str], Secrets], domain: str
) -> None:
    """A tool schema of airline names flight HAT001 as an example, one of retail a product."""
    given = f"'''{material(domain)['policy']}'''\nTOOLS = {json.dumps(material(domain)['tools'], indent=1)}"
    assert named(scan("", given, secrets(domain))) == []


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_our_own_source_gives_nothing_away(secrets: Callable[[str], Secrets], domain: str) -> None:
    """Some 200 kB of honest Python and prose."""
    sources = [
        *sorted((ROOT / "autoharness").rglob("*.py"))[::5],
        *ROOT.glob("*.md"),
        *(ROOT / "program_templates").glob("*.md"),
    ]
    skipped = {"leak_scan.py", "records.py"}  # name a user id and an order in their docstrings
    found = {
        path.name: named(scan("", path.read_text(), secrets(domain))) for path in sources if path.name not in skipped
    }
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
    assert (1, "carries the order id #W2378156") in {(leak.line, leak.what) for leak in found}


def test_a_leak_reads_as_one_short_printable_line(secrets: Callable[[str], Secrets]) -> None:
    line = f"# \x1b[31m W2378156 {'x' * 500}"
    leaks = scan("", f"x = 1\r\n{line}", secrets("retail"))
    assert leaks and all(len(leak.text) <= 120 and leak.text.isprintable() for leak in leaks)
    assert [leak.line for leak in named(leaks)] == [2]


@pytest.mark.parametrize(
    "source",
    ["x" * 500_001, "-" * 100_000 + "1", "x = " + "+".join(['"a"'] * 30_000), "x" + ".a" * 100_000],
    ids=["too long", "unary", "sum", "attributes"],
)
def test_a_file_that_cannot_be_looked_through_is_itself_reported(source: str) -> None:
    (leak,) = scan("", source, Secrets({}, frozenset(), frozenset()))
    assert leak.line == 1 and ("too many" in leak.what or "too deep" in leak.what)


def test_what_is_no_python_is_refused_with_its_line() -> None:
    found = scan("x = 1\n", "x = 1\ndef (:\n", Secrets({}, frozenset(), frozenset()))
    assert [(leak.line, leak.what) for leak in found] == [(2, "is no Python: invalid syntax")]


def test_a_scan_that_raises_refuses_the_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever bug of ours a file finds."""

    def broken(*given: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("autoharness.benchmarks.leaks.leak_scan.oddities", broken)
    (leak,) = scan("x = 1\n", "x = 2\n", Secrets({}, frozenset(), frozenset()))
    assert leak.line == 1 and "KeyError" in leak.what


@pytest.mark.slow
def test_many_encoded_texts_are_not_looked_through_for_ever() -> None:
    source = "\n".join(f"x{n} = '{n:08x}{n * 7919 % 2**32:08x}'" for n in range(9000))
    found = scan("", source, Secrets({}, frozenset(), frozenset()))
    assert "begins a file with more encoded text than can be looked through" in {leak.what for leak in found}


ODD = ["\n", "\r", "\0", "\u2028", "\ufeff", "\ufdfa", "\\N{", "1e999", "AAAA", "'" * 3, "f'"]
COOKIES = ["# coding: utf-7\n", "# coding: undefined\n", "# coding: nonsense\n"]
PARTS = st.sampled_from([*"\"'([{}+=-\\", "0x", "W2378156", "mia", "li", *ODD, *COOKIES])


KNOWN = Secrets({"w2378156": "an order"}, frozenset({("mia", "li"), ("li", "mia")}), frozenset({"a b c d e f g h"}))
ANY_TEXT = (
    st.text()
    | st.lists(PARTS | st.text(max_size=3)).map("".join)
    | st.binary().map(lambda data: data.decode("latin-1"))
)
SURROGATES = st.text(st.characters(min_codepoint=0xD000, max_codepoint=0xE000))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A harness with something cut out, and something put in."""
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(REFERENCE))] * 2)))
    return REFERENCE[:start] + draw(ANY_TEXT) + REFERENCE[draw(st.sampled_from([start, stop])) :]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(ANY_TEXT | SURROGATES | mutated(), ANY_TEXT | mutated())
def test_scanning_any_text_raises_nothing(after: str, before: str) -> None:
    found = scan(before, after, KNOWN)
    assert all(1 <= leak.line <= len(after) + 1 for leak in found)
    assert not [leak.what for leak in found if "cannot look through" in leak.what], "a bug of ours"
    assert not scan(after, after, KNOWN)
    assert isinstance(problem_of(after, before), str)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "x = " + "[" * 90 + "1" + "]" * 90,
        "x = " + "lambda: " * 900 + "1",
        "x" + "()" * 900,
        "x = " + "not " * 900 + "1",
        f"x = {'9' * 4000}",
        f"x = 0x{'f' * 40_000}",
        f"x = '{'a' * 400_000}'",
        f"x = '{'aGVsbG8g' * 20_000}'",
        f"x = {list(range(30_000))}",
        f"x = {'.'.join('abcdefgh' * 100)}",
        "f'" + '{f"' * 20 + "x" + '"}' * 20 + "'",
        "if x:\n" * 99,
        "\\\n" * 20_000,
        "'" * 50_000,
        "#" * 400_000,
        "\n" * 400_000,
        " " * 400_000 + "x",
        "x = 1 if " * 300 + "1",
    ],
    ids=range(18),
)
def test_a_source_that_is_hard_to_look_through_is_looked_through_or_refused(source: str) -> None:
    """Each of them ends; `scan_process` bounds the time of what does not."""
    found = scan("x = 0\n", source, KNOWN)
    assert not [leak.what for leak in found if "cannot look through" in leak.what], "a bug of ours"
    assert found or len(source) < 10_000


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_long_file_is_scanned_quickly(secrets: Callable[[str], Secrets], domain: str) -> None:
    source = REFERENCE * (30_000 // len(REFERENCE) + 1)
    ast.parse(source)
    known, spent_s = secrets(domain), []
    for _ in range(2):
        started = time.process_time()
        scan(TEMPLATE, source, known)
        spent_s.append(time.process_time() - started)
    assert min(spent_s) < MOST_SCAN_S


@pytest.mark.slow
def test_a_worker_answers(tmp_path: Path) -> None:
    experiment = Experiment(domain="airline", agent_model="offline/clerk", user_model="offline/customer")
    after, number = with_line("USER = 'mia_li_3668'")
    with Workers(experiment, tmp_path) as machine:
        assert machine.leaks("airline", TEMPLATE, TEMPLATE, TEMPLATE) == []
        found = machine.leaks("airline", TEMPLATE, after, TEMPLATE)
        assert Leak(number, "USER = 'mia_li_3668'", "carries the user id mia_li_3668") in found
        with pytest.raises(UserError, match="did you mean 'airline'"):
            machine.leaks("airlin", TEMPLATE, after, TEMPLATE)


PROSE = "\n# The refund is {} if you return it all. The price is {} today, and {} is what you get back, or {} in all."


def test_numbers_that_tasks_want_told_are_refused_if_there_are_many(secrets: Callable[[str], Secrets]) -> None:
    """In plain sentences, which no other question of the scan stops."""
    retail = secrets("retail")
    wanted = sorted(retail.facts)
    assert len(wanted) > 20 and not any(number in retail.facts for number in ("10", "7"))
    edited = TEMPLATE + PROSE.format(*wanted[:4])
    assert [leak.what for leak in scan(TEMPLATE, edited, retail)] == [
        f"carries 4 of the numbers that tasks want told, such as {wanted[0]}"
    ]
    assert scan(TEMPLATE, TEMPLATE + PROSE.format(*wanted[:2], "1.5", "2.5"), retail) == []
    assert scan(edited, edited + "\n# Be kind.", retail) == []
