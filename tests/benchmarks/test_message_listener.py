"""A conversation is heard message by message, by its listener alone."""

from typing import Any

import pytest
from conftest import TEMPLATE

from autoharness.benchmarks import message_listener
from autoharness.core.outcomes import Trial

Heard = list[tuple[int, dict[str, Any]]]


class _Orchestrator:
    """As tau2's: a step adds messages to its trajectory, or raises."""

    def __init__(self, steps: list[list[str]], raises: bool = False) -> None:
        self.trajectory: list[str] = ["greeting"]
        self._steps, self._raises = steps, raises

    def step(self) -> None:
        self.trajectory += self._steps.pop(0)
        if self._raises:
            raise RuntimeError("the environment broke")


def _dump(messages: list[Any]) -> list[dict[str, Any]]:
    return [{"content": message} for message in messages]


def _listen(orchestrator: _Orchestrator, steps: int) -> Heard:
    heard: Heard = []
    with message_listener.by(lambda place, message: heard.append((place, message))):
        message_listener.follow(orchestrator, _dump)
        for _ in range(steps):
            orchestrator.step()
    return heard


def test_each_message_is_heard_once_after_the_step_that_added_it() -> None:
    heard = _listen(_Orchestrator([["a"], [], ["b", "c"]]), 3)
    assert heard == list(enumerate({"content": content} for content in ("greeting", "a", "b", "c")))


def test_what_a_step_said_before_it_broke_is_heard() -> None:
    orchestrator, heard = _Orchestrator([["a"]], raises=True), []
    with message_listener.by(lambda place, message: heard.append(message["content"])):
        message_listener.follow(orchestrator, _dump)
        with pytest.raises(RuntimeError, match="the environment broke"):
            orchestrator.step()
    assert heard == ["greeting", "a"]


def test_where_nobody_listens_nothing_is_changed() -> None:
    orchestrator = _Orchestrator([["a"]])
    message_listener.follow(orchestrator, _dump)
    assert "step" not in vars(orchestrator)
    with message_listener.by(None):
        message_listener.say(0, {"content": "a"})


def test_a_real_conversation_is_heard_while_it_goes_on(simulator: Any, tau2: Any) -> None:
    """Every message that its outcome has, in place."""
    heard: Heard = []
    machine = simulator(TEMPLATE, agent_model="offline/faultless-clerk")
    with message_listener.by(lambda place, message: heard.append((place, message))):
        outcome = machine.run(Trial(tau2.facts("mock").splits["train"][0], 0, 7), True)
    assert [place for place, _ in heard] == list(range(len(outcome.messages)))
    assert [one["content"] for _, one in heard] == [one["content"] for one in outcome.messages]
