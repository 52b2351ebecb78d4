"""A task in each mood of a server: what the run says, whose fault it is, and how many calls it takes."""

import pytest
from moods import MOODS, Mood
from provider import Provider
from simulations import MODEL, MakeSimulator, run


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
def test_a_task_in_this_mood(provider: Provider, simulator: MakeSimulator, mood: Mood) -> None:
    provider.mood = mood
    outcome = run(simulator(agent_model=MODEL, **mood.settings))
    said = "\n".join([outcome.detail, *outcome.notes])
    assert (outcome.status, mood.says in said) == (mood.status, True), said
    assert provider.asked <= mood.most_calls
    assert "Traceback" not in said
