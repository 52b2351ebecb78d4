"""A task in each mood of a server: what the run says, whose fault it is, and how many calls it takes."""

import pytest
from mood import Mood
from moods import MOODS
from provider import Provider
from simulations import MODEL, MakeSimulator, run

from autoharness.core.errors import UserError


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
def test_a_task_in_this_mood(provider: Provider, simulator: MakeSimulator, mood: Mood) -> None:
    provider.mood = mood
    try:
        outcome = run(simulator(agent_model=MODEL, **mood.settings))
    except UserError as error:  # it ends the run
        status, said = "stopped", str(error)
    else:
        status, said = str(outcome.status), "\n".join([outcome.detail, *outcome.notes])
    assert (status, mood.says in said) == (mood.status, True), said
    assert provider.asked <= mood.most_calls
    assert "Traceback" not in said
