"""The true success rate of an agent file on an offline task, from the rates of the mistakes that can happen in it."""

import math
from collections.abc import Iterator

from autoharness.core.tasks import Script
from autoharness.llm import offline_mistakes
from autoharness.llm.offline import Clerk, _with_wrong_identifier
from autoharness.llm.offline_mistakes import Mistake, Prompt

PRISTINE = Prompt(sentences=(), has_policy=True)


def fatal_mistakes(script: Script) -> Iterator[Mistake]:
    """Those that can happen in this task; each of them fails it."""
    clerk, decisive = Clerk(script, seed=0), [step for step in script.steps if step.decisive]
    agents = [step for step in decisive if step.requestor == "assistant"]
    possible = {
        offline_mistakes.EMPTY: True,
        offline_mistakes.MALFORMED: any(step.requestor == "assistant" for step in script.steps),
        offline_mistakes.SLIP: bool(decisive),
        offline_mistakes.CLAIMS: bool(decisive),
        offline_mistakes.GIVES_UP: bool(decisive) and clerk._may_give_up,
        offline_mistakes.FORGETS: len(decisive) > 1,
        offline_mistakes.UNKNOWN_TOOL: bool(agents),
        offline_mistakes.GUESSES: any(_with_wrong_identifier(step) for step in agents),
        offline_mistakes.WITHHOLDS: bool(script.to_say),
        offline_mistakes.YIELDS: clerk._forbidden() is not None,
    }
    return (mistake for mistake, can_happen in possible.items() if can_happen)


def pass_rate(script: Script, prompt: Prompt = PRISTINE) -> float:
    """The rate of an agent file that adds nothing to the template but this prompt."""
    return math.prod(1 - offline_mistakes.chance(mistake, script.key, prompt) for mistake in fatal_mistakes(script))


def drawn_to_pass(script: Script, seed: int, prompt: Prompt = PRISTINE) -> bool:
    """How one trial of such an agent file must end."""
    return not any(offline_mistakes.happens(mistake, script.key, seed, prompt) for mistake in fatal_mistakes(script))
