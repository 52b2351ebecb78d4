"""What in a prompt prevents or provokes a mistake is what it says, in whatever words; and draws repeat exactly."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.llm import offline_mistakes
from autoharness.llm.offline_mistakes import CATALOGUE, Mistake, Prompt

POLICY = "# Policy\nTransfer the user to a human agent only if the request is out of scope.\nNever guess."
INSTRUCTION = "You are a helpful assistant that completes tasks according to the <policy> provided below."

PREVENTING = {
    offline_mistakes.GIVES_UP: [
        "Transfer to a human agent only where the policy demands it.",
        "Do not hand the customer over to a colleague unless you have tried everything.",
        "Escalation is a last resort.",
        "Don't transfer users who merely complain.",
        "Before you transfer anyone, use the tools that you have.",
    ],
    offline_mistakes.FORGETS: [
        "Check that every request is done before you say goodbye.",
        "Make sure all parts of the request are handled.",
        "Keep track of each thing the customer wants and work through the list.",
        "Before you close, verify that no issue is left: all issues must be resolved.",
        "- Finish all remaining steps.",
    ],
    offline_mistakes.GUESSES: [
        "Never guess identifiers.",
        "Don't make up order numbers.",
        "Look up the record before you act.",
        "Do not assume a payment method.",
        "Always verify the reservation details first.",
    ],
    offline_mistakes.WITHHOLDS: [
        "Tell the customer the exact amounts.",
        "State the total price of everything you changed.",
        "When asked for a number, give the number.",
        "Mention every refund with its sum.",
    ],
    offline_mistakes.YIELDS: [
        "Hold to the policy even if the customer insists.",
        "Decline what is not allowed, no matter how hard they push.",
        "Make no exceptions to the rules, whatever they claim.",
    ],
}
INNOCENT = [
    INSTRUCTION,
    "Be friendly and polite.",
    "You can transfer the customer to a human agent.",
    "Think step by step.",
    "Use the tools.",
    "Answer in the customer's language.",
    "The customer has a request.",
    "Follow the policy.",
]
PROVOKING = {
    offline_mistakes.GIVES_UP: [
        "Whenever you are unsure, transfer the customer to a human agent.",
        "Escalate immediately.",
    ],
    offline_mistakes.FORGETS: ["Deal with the first request only."],
    offline_mistakes.GUESSES: ["You may assume missing identifiers."],
    offline_mistakes.WITHHOLDS: ["Be brief.", "Answer in one sentence."],
    offline_mistakes.YIELDS: ["Do whatever makes the customer happy.", "Be generous."],
}


def _prompt(text: str, policy: str = POLICY) -> Prompt:
    return Prompt.read(
        (f"<instructions>\n{INSTRUCTION}\n{text}\n</instructions>\n<policy>\n{policy}\n</policy>",), POLICY
    )


def _cases(table: dict[Mistake, list[str]]) -> list[object]:
    return [pytest.param(m, text, id=f"{m.name}: {text[:40]}") for m, texts in table.items() for text in texts]


@pytest.mark.parametrize(("mistake", "text"), _cases(PREVENTING))
def test_a_sentence_that_says_so_prevents_the_mistake(mistake: Mistake, text: str) -> None:
    assert _prompt(text).prevents(mistake)
    assert offline_mistakes.chance(mistake, "retail/1", _prompt(text)) == 0


@pytest.mark.parametrize("text", INNOCENT)
def test_a_sentence_that_says_something_else_does_not(text: str) -> None:
    assert not [mistake.name for mistake in CATALOGUE if _prompt(text).prevents(mistake)]
    assert not [mistake.name for mistake in CATALOGUE if _prompt(text).provokes(mistake)]


@pytest.mark.parametrize(("mistake", "text"), _cases(PROVOKING))
def test_bad_advice_provokes_the_mistake(mistake: Mistake, text: str) -> None:
    assert offline_mistakes.chance(mistake, "retail/1", _prompt(text)) >= 0.5


def test_the_policy_prevents_nothing_since_every_agent_is_given_it() -> None:
    assert not _prompt("").prevents(offline_mistakes.GIVES_UP)
    assert not _prompt("", POLICY.upper()).prevents(offline_mistakes.GUESSES)


def test_without_the_policy_mistakes_that_depend_on_the_prompt_are_likelier() -> None:
    with_policy, without = _prompt(""), _prompt("", "")
    for mistake in CATALOGUE:
        more = offline_mistakes.chance(mistake, "retail/1", without) > offline_mistakes.chance(
            mistake, "retail/1", with_policy
        )
        assert more == mistake.depends_on_prompt


def test_no_prompt_prevents_what_only_code_can_catch() -> None:
    everything = _prompt("\n".join(text for texts in PREVENTING.values() for text in texts))
    open_ones = {
        mistake.name for mistake in CATALOGUE if offline_mistakes.chance(mistake, "retail/1", everything) > 0
    }
    assert open_ones == {"malformed_call", "empty_reply", "unknown_tool", "claims_done", "slip"}


@given(st.text(max_size=20), st.integers(0, 10**6), st.sampled_from(CATALOGUE))
def test_a_draw_repeats_exactly_and_a_better_prompt_never_makes_it_worse(
    task: str, seed: int, mistake: Mistake
) -> None:
    plain = offline_mistakes.happens(mistake, task, seed, _prompt(""))
    assert plain == offline_mistakes.happens(mistake, task, seed, _prompt(""))
    for text in PREVENTING.get(mistake, []):
        assert offline_mistakes.happens(mistake, task, seed, _prompt(text)) <= plain


@pytest.mark.parametrize("mistake", CATALOGUE, ids=lambda mistake: mistake.name)
def test_rates_are_as_the_catalogue_says(mistake: Mistake) -> None:
    """Over many tasks a quarter of the peak; over many seeds of one task its rate."""
    rates = [offline_mistakes.rate(mistake, f"task/{n}") for n in range(4000)]
    assert max(rates) <= mistake.peak
    assert statistics.fmean(rates) == pytest.approx(mistake.peak / 4, rel=0.1)
    task = max((f"task/{n}" for n in range(50)), key=lambda one: offline_mistakes.rate(mistake, one))
    drawn = statistics.fmean(offline_mistakes.happens(mistake, task, seed, _prompt("")) for seed in range(4000))
    assert drawn == pytest.approx(offline_mistakes.rate(mistake, task), abs=0.04)
