"""A model that answers nothing: the run stands still and goes on by itself, or ends with one line."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from executors import TASKS, TRIALS, executor
from llm_server import Fault, LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import Outage, UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.engine.executor import Watch
from autoharness.llm.calls import Limits
from autoharness.llm.circuit_breaker import Breaker, Outages
from autoharness.llm.gateway import Session
from autoharness.llm.providers import ProviderFault

pytestmark = pytest.mark.slow


Json = dict[str, Any]

FULL = bool(os.environ.get("AUTOHARNESS_FULL_TESTS"))
NO_CREDIT = '{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
NO_TEMPERATURE = '{"error": {"message": "temperature is deprecated for this model"}}'


class Listener(Watch):
    """Remembers what is said of models that are down."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.began: list[Trial] = []

    def begun(self, trial: Trial) -> None:
        self.began.append(trial)

    def waits(self, why: str) -> None:
        self.lines.append(why)


class Provider:
    """Answers the first `well` requests, but for those in which `only_if` stands; `fault` until it is mended."""

    def __init__(self, tau2: Tau2, well: int, fault: Fault, only_if: str, most: int) -> None:
        """`most`: how many it answers with `fault`."""
        self._most = most
        self._solver, self.well, self.fault = Solver(tau2._tasks("mock").values()), well, fault
        self._only_if = only_if
        self.failed = 0
        self.broken = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, request: Json) -> Json | Fault:
        with self._lock:
            self.well -= 1
            is_faulty = self.well < 0 or (self._only_if and self._only_if in str(request))
            if is_faulty and self.failed < self._most:
                self.failed += 1
                self.broken.set()
                return self.fault
        return self._solver.reply(request)

    def mend(self) -> None:
        with self._lock:
            self.well = 10**6


@pytest.fixture
def asked(tau2: Tau2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs four trials, each of whose calls goes to such a provider."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def run(
        well: int,
        fault: Fault,
        then: Callable[[Provider], None] = lambda provider: None,
        only_if: str = "",
        most: int = 10**6,
        enough: Callable[[Provider], bool] = lambda provider: False,
        **settings: Any,
    ) -> tuple[list[Outcome], Provider, Listener, str]:
        provider, watch, outcomes, ended = Provider(tau2, well, fault, only_if, most), Listener(), [], ""
        thread = threading.Thread(target=lambda: (provider.broken.wait(60), then(provider)), daemon=True)
        thread.start()
        defaults: Json = {"llm_retries": 1, "simulation_retries": 0}
        with LLMServer(provider) as server, executor(tmp_path, **defaults | settings) as machine:
            monkeypatch.setenv("OPENAI_API_BASE", server.url)
            try:
                outcomes.extend(machine.run(TRIALS, set(), lambda: enough(provider), watches=[watch]))
            except Outage as error:
                ended = str(error)
        return outcomes, provider, watch, ended

    return run


@pytest.mark.parametrize("fault", [Fault(503), Fault(hang_s=60)], ids=["503", "hangs"])
def test_what_comes_back_costs_nothing_but_time(asked: Any, fault: Fault) -> None:
    """Three are in flight: none loses a word, and the fourth does not begin before the model answers."""

    def mend(provider: Provider) -> None:
        time.sleep(6)
        provider.mend()

    outcomes, _, watch, ended = asked(5, fault, mend, llm_timeout_s=1.0)
    assert not ended and {one.status for one in outcomes} == {Status.PASSED}
    assert sorted(one.trial.task_id for one in outcomes) == sorted(TASKS)
    assert [one.tries for one in outcomes] == [1] * 4, "nobody's try has failed"
    assert "answers nothing" in watch.lines[0] and watch.lines[-1].endswith("answers again: the run goes on")


def test_what_never_comes_back_ends_the_run_with_one_line(asked: Any) -> None:
    outcomes, _, watch, ended = asked(5, Fault(503), max_outage_s=4.0)
    assert len(outcomes) < 4
    assert "model openai/x has answered nothing for 4 s (max_outage_s)" in ended and "goes on from there" in ended
    assert len(watch.lines) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(401), id="dead key"),
        pytest.param(Fault(429, NO_CREDIT), id="no credit"),
        *FULL
        * [
            pytest.param(Fault(402), id="payment required"),
            pytest.param(Fault(404, '{"error": {"message": "no such model"}}'), id="no such model"),
        ],
    ],
)
def test_what_no_waiting_mends_ends_it_at_once(asked: Any, fault: Fault) -> None:
    outcomes, provider, _, ended = asked(3, fault)
    assert "refuses whatever it is asked" in ended, outcomes
    assert provider.failed < 30


def test_an_argument_that_it_does_not_take_ends_it_with_the_setting_to_change(asked: Any) -> None:
    with pytest.raises(UserError, match=r"openai/x refuses temperature: set agent_llm_args: {}"):
        asked(10**6, Fault(400, NO_TEMPERATURE), only_if="'temperature'")


def test_a_request_that_a_provider_fails_on_is_no_outage(asked: Any) -> None:
    """Words in one conversation bring none about: a greeting passes, and so do the others."""
    outcomes, _, watch, ended = asked(10**6, Fault(503), only_if="<<impossible_task_1>>")
    assert not ended and not watch.lines
    lost = {one.trial.task_id for one in outcomes if one.status != Status.PASSED}
    assert lost == {"impossible_task_1"} and len(outcomes) == 4


@pytest.mark.parametrize(("status", "number"), [(400, 3), (404, 6)] + FULL * [(401, 3), (403, 6), (503, 3)])
def test_what_a_server_says_once_is_nobodys_failure(asked: Any, status: int, number: int) -> None:
    """A proxy's moment; the request that met it is answered the next time, be it the agent's or the user's."""
    outcomes, provider, watch, ended = asked(number, Fault(status), lambda provider: None, most=1)
    assert provider.failed == 1
    assert not ended and not watch.lines and {one.status for one in outcomes} == {Status.PASSED}, outcomes


def test_a_run_that_has_enough_does_not_wait_for_a_model(asked: Any) -> None:
    """Somebody wants it to stop; what was said is kept, and the workers' next run is not disturbed."""
    outcomes, provider, _, ended = asked(5, Fault(503), enough=lambda provider: provider.failed > 6)
    assert not ended and len(outcomes) < 4
    assert provider.failed > 6


class TestBreaker:
    def test_one_asks_for_all(self) -> None:
        """Ten calls have failed; one of them asks, until it is answered, and all ten go on."""
        told: list[tuple[str, bool]] = []
        breaker, asked, back = Breaker(lambda why, for_good: told.append((why, for_good))), [], []

        def probe() -> ProviderFault | None:
            asked.append(threading.get_ident())
            return ProviderFault("down", 503) if len(asked) < 3 else None

        threads = [
            threading.Thread(target=lambda: back.append(breaker.outlast(time.monotonic(), probe))) for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(set(asked)) == 1 and back == [True] * 10
        assert told == [("down", False), ("", False)]

    def test_a_model_that_answered_meanwhile_is_not_asked(self) -> None:
        breaker, since = Breaker(lambda why, for_good: None), time.monotonic()
        breaker.has_answered()
        assert breaker.outlast(since, lambda: ProviderFault("never asked")) is False


class TestOutages:
    def test_a_worker_that_died_says_nothing_any_more(self) -> None:
        outages = Outages(0.0)
        outages.begins("one", "m", "x")
        outages.begins("two", "m", "x")
        outages.forget("one")
        assert outages
        outages.forget("two")
        outages.check()
        assert not outages


def test_what_is_waited_for_is_no_time_that_a_simulation_loses() -> None:
    """Else it would have no patience left for the first call after an outage."""
    asked: list[Json] = []

    def model(request: Json) -> Json:
        asked.append(request)
        if len(asked) == 1:
            raise ProviderFault("a moment", 503)
        return {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}

    class Down(Breaker):
        def wait(self) -> None:
            time.sleep(0.3)

    breakers = {"user": Down(lambda why, for_good: None)}
    limits = Limits(10, None, retries=1, lost_s=0.2)
    session = Session({"user": model}, "m", None, limits, breakers=breakers)
    assert session.complete("user", {"messages": []})["choices"] and len(asked) == 2
