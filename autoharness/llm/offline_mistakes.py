"""The typed mistakes of the offline clerk: how often each happens, and what in a prompt prevents or provokes it.

A mistake has a rate for each task, so that tasks differ as they do with real models: some never show it, some nearly
always. Rates and draws come from hashes of (task, mistake) and (task, trial seed, mistake): a run repeats exactly,
and the true success rate of an agent file can be computed.

A prompt is read sentence by sentence. A sentence prevents a mistake when it holds every part of one of the mistake's
patterns, whatever else it says. The domain's policy is not part of the prompt: the agent is given it anyway.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

_WITHOUT_POLICY = 0.3
_PROVOKED = 0.5


@dataclass(frozen=True)
class Mistake:
    """One way of failing a task."""

    name: str
    what: str
    peak: float
    """The rate in the task that is most prone to it; over all tasks the mean rate is a quarter of it."""
    prevented_by: tuple[tuple[str, ...], ...] = ()
    """Patterns; of each, all parts must be found in one sentence of the prompt. Empty: no prompt prevents it."""
    provoked_by: tuple[tuple[str, ...], ...] = ()

    @property
    def depends_on_prompt(self) -> bool:
        return bool(self.prevented_by)


GIVES_UP = Mistake(
    "gives_up",
    "hands the customer to a human agent instead of doing what was asked",
    0.4,
    prevented_by=(
        (
            r"\b(transfer|hand(ing)?\b.{0,30}\b(over|off)|escalat|human agent)",
            r"\b(only|never|not|avoid|unless|last resort|before)\b|n't\b",
        ),
    ),
    provoked_by=(
        (
            r"\b(transfer|hand(ing)?\b.{0,30}\b(over|off)|escalat)",
            r"\b(in doubt|unsure|not sure|uncertain|complicated|difficult|whenever|always|immediately|at once)\b",
        ),
    ),
)
FORGETS = Mistake(
    "forgets_a_request",
    "leaves out the last of several things that have to be done",
    0.6,
    prevented_by=(
        (
            r"\b(every|all|each|both|any|remaining|outstanding|open|several|multiple|nothing)\b",
            r"\b(request|task|step|part|issue|thing|item|change|problem|question|fix|action)s?\b|\bunfinished\b",
            r"\b(check|make sure|ensure|complet|handl|finish|list|track|verif|address|resolv|done|solv|"
            r"work through|go through|carry out|do not (stop|end|close)|before (you )?(end|clos|finish|say))",
        ),
    ),
    provoked_by=(
        (r"\b(one|first|main|single)\b.{0,30}\b(request|issue|problem|thing)\b", r"\b(only|just|then end)\b"),
    ),
)
GUESSES = Mistake(
    "guesses",
    "fills in an identifier from memory, and a wrong one",
    0.45,
    prevented_by=(
        (
            r"\b(never|not|avoid|rather than|instead of|without)\b|n't\b",
            r"\b(guess|assum|invent|mak(e|ing) (it |them |things? )?up|made[- ]up|fabricat|from memory)",
        ),
        (
            r"\b(look(ing)? up|check|verify|retriev|read|fetch|confirm|copy)",
            r"\b(detail|record|order|reservation|account|profile|line|identifier|id|ids|argument|value)s?\b",
            r"\b(before|first|exact(ly)?|always)\b",
        ),
    ),
    provoked_by=((r"\b(guess|assum|from memory|without (look|check))", r"\b(you (can|may)|feel free|quick|fast)\b"),),
)
WITHHOLDS = Mistake(
    "withholds_figures",
    "does not tell the customer the amounts and facts that were asked for",
    0.9,
    prevented_by=(
        (
            r"\b(state|tell|give|report|mention|includ|communicat|quot|say|repeat|answer|inform)",
            r"\b(amount|total|price|number|figure|cost|sum|refund|balance|saving|quantit|count|fact)s?\b",
        ),
    ),
    provoked_by=((r"\b(brief|short|concise|terse|few words|one sentence)\b",),),
)
YIELDS = Mistake(
    "yields",
    "grants something that the policy forbids, because the customer insists",
    0.9,
    prevented_by=(
        (
            r"\b(policy|rules?|not allowed|forbidden|den(y|ied)|refus|declin|exception)",
            r"\b(even (if|when|though)|insist|pressur|push|argu|no matter|regardless|firm|no exceptions?|"
            r"never|strictly|claim)",
        ),
    ),
    provoked_by=((r"\b(goodwill|generous|whatever|make .{0,20}happy|please the (customer|user))",),),
)
MALFORMED = Mistake("malformed_call", "writes tool arguments that are no JSON", 0.35)
EMPTY = Mistake("empty_reply", "answers with neither text nor a tool call", 0.3)
UNKNOWN_TOOL = Mistake("unknown_tool", "calls a tool by a name it does not have, 'functions.NAME'", 0.4)
CLAIMS = Mistake("claims_done", "says that something is done without having done it", 0.45)
SLIP = Mistake("slip", "leaves out the last thing to do, and nothing prevents it", 0.1)

CATALOGUE = (GIVES_UP, FORGETS, GUESSES, WITHHOLDS, YIELDS, MALFORMED, EMPTY, UNKNOWN_TOOL, CLAIMS, SLIP)


@dataclass(frozen=True)
class Prompt:
    """What of an agent's system messages bears on mistakes."""

    sentences: tuple[str, ...]
    """The agent's own, without the policy's."""
    has_policy: bool

    @classmethod
    @lru_cache(maxsize=256)
    def read(cls, system: tuple[str, ...], policy: str) -> "Prompt":
        """`system`: the texts of a request's system messages; `policy`: the domain's, as the agent was given it."""
        policy_lines = {_plain(line) for line in policy.splitlines()} - {""}
        lines = [line for text in system for line in text.splitlines() if _plain(line)]
        own = [line for line in lines if _plain(line) not in policy_lines]
        present = policy_lines & {_plain(line) for line in lines}
        sentences = re.split(r"(?<=[.!?;:])\s+|\n\s*\n|\n\s*[-*#\d]", "\n".join(own))
        return cls(tuple(_plain(one) for one in sentences if _plain(one)), 2 * len(present) >= len(policy_lines))

    def prevents(self, mistake: Mistake) -> bool:
        return any(_holds(mistake.prevented_by, sentence) for sentence in self.sentences)

    def provokes(self, mistake: Mistake) -> bool:
        """A sentence that prevents a mistake does not provoke it; one that does outweighs those that prevent."""
        return any(
            _holds(mistake.provoked_by, sentence) and not _holds(mistake.prevented_by, sentence)
            for sentence in self.sentences
        )


def rate(mistake: Mistake, task: str) -> float:
    """How often the mistake happens in this task with the pristine prompt; `task` is "domain/id"."""
    return mistake.peak * _uniform(task, mistake.name) ** 3


def chance(mistake: Mistake, task: str, prompt: Prompt) -> float:
    """How often it happens with this prompt."""
    usual = rate(mistake, task)
    if not mistake.depends_on_prompt:
        return usual
    if prompt.provokes(mistake):
        return _PROVOKED + (1 - _PROVOKED) * usual
    if prompt.prevents(mistake):
        return 0.0
    return usual if prompt.has_policy else _WITHOUT_POLICY + (1 - _WITHOUT_POLICY) * usual


def happens(mistake: Mistake, task: str, seed: int, prompt: Prompt) -> bool:
    """Whether it happens in the trial with this seed: the same draw for every prompt."""
    return _uniform(task, str(seed), mistake.name) < chance(mistake, task, prompt)


def _holds(patterns: tuple[tuple[str, ...], ...], sentence: str) -> bool:
    return any(all(re.search(part, sentence) for part in pattern) for pattern in patterns)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("\u2019", "'").split())


def _uniform(*parts: str) -> float:
    """A number in [0, 1) that follows from the parts."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8]) / 2**64
