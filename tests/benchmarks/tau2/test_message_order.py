"""A clock that goes back voids and fails no conversation: messages stay in the order in which they were said."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from autoharness.benchmarks import message_listener
from autoharness.benchmarks.tau2 import random_sources
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.outcomes import Status, Trial

CHANGE = datetime(2026, 10, 25, 2, 59, 59, 900_000)
"""In Berlin, a tenth of a second before it is two o'clock again."""


class Clock:
    """The local time as tau2 asks for it: it goes back once."""

    def __init__(self, by: timedelta) -> None:
        self._by, self._looks, self.has_gone_back = by, count(), False

    def datetime(self) -> type:
        clock = self

        class Local(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                now = CHANGE + timedelta(milliseconds=next(clock._looks))
                return now - clock._by if clock.has_gone_back else now

        return Local


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(milliseconds=500)], ids=["end-of-summer", "ntp"])
@pytest.mark.parametrize("after", range(7))
def test_a_perfect_conversation_passes_whenever_the_clock_goes_back(
    simulator: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, after: int, by: timedelta
) -> None:
    """Before, the answers of its tools came before their calls: no reward, or a message that was not counted."""
    made, clock = simulator(agent_model="offline/faultless-clerk"), Clock(by)
    monkeypatch.setattr("tau2.utils.utils.datetime", clock.datetime())

    def hear(place: int, message: dict[str, Any]) -> None:
        clock.has_gone_back = clock.has_gone_back or place >= after

    with message_listener.by(hear):
        outcome = made.run(Trial("create_task_1", 0, 1), diagnose=False)
    assert (outcome.status, outcome.reward) == (Status.PASSED, 1.0), outcome.detail
    times = [message["timestamp"] for message in outcome.messages]
    assert times == sorted(times)
    roles = [message["role"] for message in outcome.messages]
    calls = [place for place, message in enumerate(outcome.messages) if message.get("tool_calls")]
    assert calls and all(roles[place + 1] == "tool" for place in calls)


def test_tau2_reads_a_clock_that_does_not_go_back(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in Berlin, while it is between two and three o'clock for the second time: it is told UTC."""
    from tau2.data_model.message import UserMessage
    from tau2.utils.utils import get_now

    change_ns = int(datetime(2026, 10, 25, 0, 59, 59, 999_000, tzinfo=random_sources.UTC).timestamp() * 10**9)
    ticks = count(change_ns, 10**6)
    monkeypatch.setattr(random_sources, "now_ns", lambda: next(ticks))
    times = [get_now(), UserMessage(role="user", content="Hi").timestamp, get_now(), get_now()]
    assert times == sorted(times)
    assert times[0].startswith("2026-10-25T00:59:59.999") and times[-1].startswith("2026-10-25T01:00:00.002")
