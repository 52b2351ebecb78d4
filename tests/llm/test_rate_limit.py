"""A provider's rate limit is met once by all calls together; what passes is found out from it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from autoharness.llm import providers
from autoharness.llm import rate_limit as throttle_module
from autoharness.llm.providers import ProviderFault, Throttled
from autoharness.llm.rate_limit import Throttle

LATENCY_S = 0.02


class Provider:
    """Answers after a while; takes so many calls at once, and says to the others that there are too many."""

    def __init__(self, most: int) -> None:
        self.most, self.in_flight, self.peak, self.answered, self.refused = most, 0, 0, 0, 0
        self.lock = threading.Lock()

    def __call__(self, request: Any) -> Any:
        with self.lock:
            if self.in_flight >= self.most:
                self.refused += 1
                raise ProviderFault("slow down", 429)
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
        time.sleep(LATENCY_S)
        with self.lock:
            self.in_flight -= 1
            self.answered += 1
        return {"choices": []}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "_FIRST_PAUSE_S", 0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_PATIENCE_S", 0.1)


def ask_many(model: Any, calls: int, at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(model, [{}] * calls))


@pytest.mark.slow
def test_all_calls_get_through_a_limit_and_few_are_refused() -> None:
    """Far fewer than there are calls, although eight times as many want to be in flight as may be."""
    provider = Provider(most=4)
    ask_many(Throttled(provider, Throttle(), retries=5), 400, at_once=32)
    assert provider.answered == 400
    assert provider.refused < 200
    assert provider.peak == 4  # and what may be in flight is


def test_without_a_limit_nothing_waits() -> None:
    everybody = threading.Barrier(64)

    def answers_when_all_have_come(request: Any) -> Any:
        everybody.wait(60)
        return {"choices": []}

    ask_many(Throttled(answers_when_all_have_come, Throttle(), retries=5), 64, at_once=64)


def test_a_provider_that_answers_nobody_is_given_up(impatient: None) -> None:
    provider = Provider(most=0)
    with pytest.raises(ProviderFault) as raised:
        Throttled(provider, Throttle(), retries=2)({})
    assert provider.refused >= 3 and raised.value.waited and raised.value.retryable and not raised.value.alone


def test_a_call_that_waits_while_others_are_answered_is_not_given_up() -> None:
    """The provider is there, and busy: no try of its own is spent."""
    throttle, refusals = Throttle(), iter(range(5))

    def busy(request: Any) -> Any:
        if next(refusals, None) is not None:
            throttle.has_answered()  # another call
            raise ProviderFault("slow down", 429)
        return {"choices": []}

    assert Throttled(busy, throttle, retries=1)({}) == {"choices": []}


def test_a_request_that_alone_meets_the_limit_is_given_up_and_holds_nobody_else(
    monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """Otherwise an agent could stop a run, and void the trial, by a prompt that is beyond the account's tokens."""
    monkeypatch.setattr("autoharness.llm.providers.pause_after", lambda tries, retry_after_s: 0.01)
    told: list[float] = []
    throttle, asked = Throttle(told.append), [0]

    def too_much(request: Any) -> Any:
        asked[0] += 1
        throttle.has_answered()  # another call
        raise ProviderFault("too many tokens for a minute", 429)

    with pytest.raises(ProviderFault) as raised:
        Throttled(too_much, throttle, retries=2)({})
    assert raised.value.waited and raised.value.alone and 10 < asked[0] < 100
    assert len(told) == 2


def test_other_faults_pass_at_once() -> None:
    def broken(request: Any) -> Any:
        raise ProviderFault("down", 503)

    with pytest.raises(ProviderFault) as raised:
        Throttled(broken, Throttle(), retries=5)({})
    assert not raised.value.waited


def test_a_pause_is_told_once_and_kept_by_those_who_are_told() -> None:
    told: list[float] = []
    throttle = Throttle(told.append)
    with throttle.slot() as one, throttle.slot() as other:
        throttle.was_limited(one, 0.2)
        throttle.was_limited(other, 0.2)
    assert told == [0.2]
    elsewhere, started = Throttle(), time.monotonic()
    elsewhere.pause(told[0])
    with elsewhere.slot():
        assert time.monotonic() - started >= 0.2


def test_a_provider_that_names_a_long_pause_is_asked_again_after_a_minute() -> None:
    told: list[float] = []
    Throttle(told.append).was_limited(time.monotonic(), 86_400)
    assert told == [60.0]
