"""What no reader can follow is measured, whatever it stands in; what a reader can follow is not."""

import random

import pytest
from conftest import TEMPLATE
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.benchmarks.leaks.additions import Added
from autoharness.benchmarks.leaks.opaque_data import MOST, OF_ALL_EDITS, measures, opaque

WORDS = """
cancel the order and give the money back to the gift card before you say goodbye to the customer
""".split()  # noqa: SIM905
NOUNS = """
lamp desk shirt shoe phone watch camera bottle bike jacket kettle book puzzle chair mouse
""".split()  # noqa: SIM905
RANDOM = random.Random(7)


def hexadecimal(count: int) -> str:
    return RANDOM.randbytes(count).hex()


def pieces(count: int, size: int) -> list[str]:
    return [hexadecimal(size) for _ in range(count)]


CARRIED = {
    "a long literal": f"X = '{hexadecimal(20)}'",
    "a long name": f"x{hexadecimal(20)} = 1",
    "a long number": f"X = {10**40 // 7}",
    "a long comment": f"# {hexadecimal(20)}",
    "a long word in a docstring": f'def f():\n    """Be kind.\n\n    {hexadecimal(20)}\n    """',
    "many short literals": "\n".join(f"x = '{one}'" for one in pieces(40, 4)),
    "many short comments": "\n".join(f"# {one}" for one in pieces(40, 4)),
    "many short names": "\n".join(f"def f{one}(): return {n}" for n, one in enumerate(pieces(40, 4))),
    "keyword arguments": f"dict({', '.join(f'k{one}=1' for one in pieces(40, 4))})",
    "numbers": f"X = {list(range(300, 330))}",
    "numbers of numbers": f"X = {[[n, n + 1] for n in range(30)]}",
    "numbers by key": f"X = {dict(enumerate(range(30)))}",
    "numbers one by one": "\n".join(f"X = f({n})" for n in range(100, 190)),
    "fractions": f"X = {[n / 7 for n in range(30)]}",
    "a long list of plain words": f"X = {WORDS * 4}",
    "a long sum": f"X = {' | '.join(f'Y.{word}' for word in NOUNS * 5)}",
    "a call with many arguments": f"f({', '.join(map(repr, WORDS * 4))})",
    "plain words in no order": "X = '''\n"
    + "\n".join(" ".join(RANDOM.choices(WORDS, k=10)) for _ in range(40))
    + "'''",
    "statements of one shape": "\n".join(f"add('{word}')" for word in WORDS * 2),
    "methods of one shape": "class A:\n"
    + "\n".join(f"    def {word}_{n}(self): return self" for n, word in enumerate(WORDS * 2)),
    "cases of one shape": "match x:\n" + "\n".join(f"    case '{word}':\n        y = '{word}'" for word in WORDS * 2),
    "sentences of one shape": "X = '''\n"
    + "\n".join(f"If the customer says {word}, take the {word[::-1]}." for word in NOUNS)
    + "'''",
    "spaces at ends": "\n".join(f"x = {n % 3}{' ' * (n % 5 + 1)}" for n in range(65)),
    "spaces between words": f"X = '{'  be '.join(['kind'] * 80)}'",
    "tabs": "X = '''" + "\t" * 80 + "'''",
    "signs": f"X = '{''.join(RANDOM.choices('!#$%&()*+,-./:;<', k=300))}'",
    "nested calls": f"x = {''.join(f'{RANDOM.choice(NOUNS)}(' for _ in range(95))}1{')' * 95}",
    "nested subscripts": f"x = {''.join(f'{RANDOM.choice(NOUNS)}[' for _ in range(95))}1{']' * 95}",
    "signs before a value": f"x = {''.join(RANDOM.choices('-~', k=95))}1",
    "operators": "\n".join(
        f"x = {'y'.join(RANDOM.choices('-+*/%|&^', k=5))}y".replace("= ", "= y") for _ in range(30)
    ),
    "emoji": f"X = '{' '.join(chr(0x1F300 + RANDOM.randrange(256)) for _ in range(70))}'",
    "ideographs": f"X = '{' '.join(chr(0x4E00 + RANDOM.randrange(9999)) for _ in range(70))}'",
    "a very long edit": "\n".join(f"# {' '.join(RANDOM.choices(WORDS, k=12))}, {n} times." for n in range(450)),
}
"""Each stands behind the template, and is news."""


def added_to(source: str, more: str) -> str:
    return f"{source.rstrip()}\n\n\n{more}\n"


def found_in(before: str, after: str, all_edits: bool = False) -> list[tuple[int, str]]:
    return list(opaque(before, after, frozenset(), all_edits))


@pytest.mark.parametrize("more", CARRIED.values(), ids=CARRIED)
def test_what_a_reader_cannot_follow_is_found_with_its_line(more: str) -> None:
    first = TEMPLATE.rstrip().count("\n") + 4
    found = found_in(TEMPLATE, added_to(TEMPLATE, more))
    assert found and all(first <= line <= first + more.count("\n") for line, _ in found)


@pytest.mark.parametrize("more", CARRIED.values(), ids=CARRIED)
def test_what_was_there_before_is_no_news(more: str) -> None:
    before = added_to(TEMPLATE, more)
    assert found_in(before, before) == []
    assert found_in(before, added_to(before, "# be kind")) == []
    assert found_in(before, f"# moved\n{before}") == []


def test_halves_in_two_edits_are_measured_together_in_the_end() -> None:
    """Each below the bound; what all edits may add is four times as much."""
    source, refused = TEMPLATE, []
    for number in range(20):
        part = "\n".join(f"# {one}" for one in pieces(12, 4))
        after = added_to(source, f"{part}\nNUMBER_{number} = 0")
        assert found_in(source, after) == []
        refused = found_in(TEMPLATE, after, all_edits=True)
        if refused:
            break
        source = after
    assert refused and f"of which {MOST['odd characters'] * OF_ALL_EDITS} are the most" in refused[0][1]


def test_lines_that_the_file_has_already_are_news_when_they_come_again() -> None:
    """Otherwise two lines that stand in the file could be written over and over, as ones and zeros."""
    before = added_to(TEMPLATE, "ONE = 1\nTWO = 2")
    bits = "\n".join(RANDOM.choice(["ONE = 1", "TWO = 2"]) for _ in range(500))
    assert any("statements of one shape" in what for _, what in found_in(before, added_to(before, bits)))


def test_lines_in_another_order_are_as_much_news_as_that_takes() -> None:
    lines = [f"# {' '.join(RANDOM.choices(WORDS, k=6))}, step {n}." for n in range(300)]
    before, after = ("\n".join(lines), "\n".join(RANDOM.sample(lines, len(lines))))
    news = measures(Added(before, after, frozenset()))["bytes"].total()
    assert 100 < news < len(after) / 4


def test_a_word_that_the_agent_is_given_is_plain() -> None:
    more = "\n".join(f"# zyxwv{n} qwrtp{n}" for n in range(30))
    assert "odd characters" not in str(found_in(TEMPLATE, TEMPLATE))
    odd = measures(Added(TEMPLATE, added_to(TEMPLATE, more), frozenset()))["odd characters"].total()
    given = measures(Added(TEMPLATE, added_to(TEMPLATE, more), frozenset({"zyxwv", "qwrtp"})))[
        "odd characters"
    ].total()
    assert given == odd - 30 * 10


def test_a_benchmark_in_another_language_has_prompts_in_it() -> None:
    """Its words are not known to the vocabulary; numbers and the like still count."""
    policy = [
        "der",
        "kunde",
        "erhält",
        "sein",
        "geld",
        "zurück",
        "sobald",
        "die",
        "ware",
        "geprüft",
        "wurde",
        "und",
        "keine",
        "mängel",
        "aufweist",
    ]
    text = "\n".join(
        f"Bitte prüfen Sie Bestellung, Rechnung, Lieferschein und Zahlungsweg Schritt {n}." for n in range(12)
    )
    german = added_to(TEMPLATE, f'PROMPT = """\n{text.replace("Schritt", "sorgfältig, Schritt")}\n"""')
    assert list(opaque(TEMPLATE, german, frozenset(policy))) == []
    assert list(opaque(TEMPLATE, german, frozenset({"order", "customer"})))
    numbers = added_to(german, "\n".join(f"x = {n}" for n in range(10**6, 10**6 + 50)))
    assert list(opaque(TEMPLATE, numbers, frozenset(policy)))


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_any_text_is_measured(before: str, after: str) -> None:
    """The compressed size is a bound: what two texts of it can tell apart is no more."""
    amounts = measures(Added(before, after, frozenset()))
    assert amounts.keys() == MOST.keys() and all(amount.total() >= 0 for amount in amounts.values())
    assert not found_in(after, after)
