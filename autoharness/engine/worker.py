"""The simulation worker: a process that runs simulations. It has the benchmark, litellm and the keys; it is trusted.

    python -P worker.py DESCRIPTOR            unless the fork server forks it

`messages` has what it is told and what it says.
"""

import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # as in a door
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the door's package, wherever it lies
    import autoharness

    del sys.path[0]
    autoharness.begin()

from autoharness.benchmarks import message_listener
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.benchmarks.leaks.scan_process import scan
from autoharness.benchmarks.loading import load
from autoharness.benchmarks.protocol import Benchmark
from autoharness.core.channel import Channel, connect
from autoharness.core.errors import ChannelError, UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import Experiment
from autoharness.core.standard_streams import forgiving
from autoharness.engine.messages import (
    Answer,
    AskFacts,
    AskLeaks,
    AskMissingKeys,
    AskPublished,
    AskServers,
    AskUnpriced,
    Beat,
    Down,
    FromWorker,
    Limited,
    Message,
    Mistake,
    Provide,
    Ready,
    RunTrial,
    Said,
    Setup,
    Started,
    TrialEnded,
    Up,
    UseAgents,
    decoded,
    send,
)
from autoharness.engine.simulator import Simulator
from autoharness.host.pool import Hosts, agent_files, confinement_of
from autoharness.llm.call_journal import Answers
from autoharness.llm.calls import AGENT, JUDGE, USER
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.prices import has_price, set_prices
from autoharness.llm.providers import Providers, missing_keys
from autoharness.llm.server_check import found_by_asking

_BEAT_S = 5.0
_LONGEST_REASON_CHARS = 300

Json = dict[str, Any]


def _answers(experiment: Experiment, folder: str) -> Answers | None:
    """The answer cache, if the door gave a folder. Not for offline models: they know more than the request."""
    all_asked = experiment.provider_models >= {experiment.model_of(role) for role in (AGENT, USER, JUDGE)}
    return Answers(Path(folder)) if folder and all_asked else None


class Worker:
    """Answers the door's messages until the channel closes."""

    def __init__(self, channel: Channel, benchmark: Benchmark | None = None) -> None:
        """`benchmark`: the one that the parent process has made, if it made one."""
        self._channel = channel
        self._benchmark = benchmark

    def serve(self) -> None:
        with suppress(ChannelError):
            self._send(Started(os.getpid()))
        received = self._channel.receive()
        if received is None:
            return
        setup = decoded(received)
        assert isinstance(setup, Setup)
        experiment = Experiment(**setup.experiment)
        try:
            set_prices(experiment.prices)
            benchmark = self._benchmark or load(experiment)
            confinement = confinement_of(experiment, Path(setup.folder), [*setup.private, *benchmark.folders])
            agents = agent_files(setup.agents, experiment)
            hosts = Hosts(agents, experiment.agent_timeout_s, confinement, setup.layers)
            try:
                answers = _answers(experiment, setup.llm_cache)
                self._providers = Providers(self._say_limited)
                secret, breakers = setup.secret, self._breakers(experiment)
                simulator = Simulator(benchmark, experiment, hosts, self._providers, answers, secret, breakers)
                self._answer_all(benchmark, hosts, experiment, simulator, setup.threads)
            finally:
                hosts.close()
        except UserError as error:
            self._send(Mistake(str(error)))

    def _answer_all(
        self, benchmark: Benchmark, hosts: Hosts, experiment: Experiment, simulator: Simulator, threads: int
    ) -> None:
        pool = ThreadPoolExecutor(threads)
        self._send(Ready())
        threading.Thread(target=self._beat, daemon=True).start()
        while (received := self._channel.receive()) is not None:
            match decoded(received):
                case RunTrial() as run:
                    pool.submit(self._run, simulator, run)
                case UseAgents(agents):
                    hosts.use(agent_files(agents, experiment))
                case Limited(model, pause_s):
                    self._providers.pause(model, pause_s)
                case AskServers(domain):
                    facts = benchmark.facts(domain)
                    found = found_by_asking(experiment, self._providers, facts.policy, facts.tools)
                    self._send(Answer([asdict(one) for one in found]))
                case question:
                    self._send(Answer(self._answer(question, benchmark, hosts)))

    @staticmethod
    def _answer(question: Message, benchmark: Benchmark, hosts: Hosts) -> Any:
        """As JSON. Raises UserError."""
        match question:
            case AskFacts(domain):
                here = {"layers": hosts.layers(), "folders": benchmark.folders}
                return asdict(benchmark.facts(domain)) | here
            case AskMissingKeys(models):
                missing = {model: missing_keys(model) for model in models}
                return {model: what for model, what in missing.items() if what}
            case AskUnpriced(models):
                return [model for model in models if not has_price(model)]
            case AskLeaks(domain, before, after, baseline):
                found = scan(before, after, Secrets.of(benchmark.material(domain)), baseline)
                return [[leak.line, leak.text, leak.what] for leak in found]
            case AskPublished(domain, tasks):
                return benchmark.published(domain, tasks)
            case Provide():
                return benchmark.provide()
        raise TypeError(f"no question: {question}")

    def _send(self, message: FromWorker) -> None:
        send(self._channel, message)

    def _say_limited(self, model: str, pause_s: float) -> None:
        with suppress(ChannelError):
            self._send(Limited(model, pause_s))

    def _breakers(self, experiment: Experiment) -> dict[str, Breaker]:
        models = {role: experiment.model_of(role) for role in (AGENT, USER, JUDGE)}
        asked = {role: model for role, model in models.items() if model in experiment.provider_models}
        return {role: Breaker(partial(self._say_down, f"the {role}'s model {asked[role]}")) for role in asked}

    def _say_down(self, model: str, why: str, for_good: bool) -> None:
        with suppress(ChannelError):
            self._send(Down(model, why, for_good) if why else Up(model))

    def _beat(self) -> None:
        with suppress(ChannelError):
            while True:
                self._send(Beat())
                time.sleep(_BEAT_S)

    def _run(self, simulator: Simulator, run: RunTrial) -> None:
        trial, hear = Trial(**run.trial), partial(self._say, run.job) if run.say else None
        unfinished = Path(run.unfinished) if run.unfinished else None
        try:
            with message_listener.by(hear):
                outcome = simulator.run(trial, run.diagnose, unfinished)
        except UserError as error:
            self._send(Mistake(str(error)))
            return
        except ChannelError:  # the door is gone, and this process is about to be
            return
        except BaseException:  # a bug of ours, or code that ends its thread: it must not score, and must not be lost
            traceback.print_exc()
            outcome = Outcome(
                trial, Status.SETUP_ERROR, None, f"bug in auto-harness: {traceback.format_exc(limit=-1)}"
            )
        with suppress(ChannelError):
            self._send_outcome(run.job, outcome)

    def _say(self, job: int, place: int, said: Json) -> None:
        """Send a message of the conversation to those who watch. If it cannot be sent, it is left out."""
        with suppress(ChannelError, ValueError, TypeError):
            self._send(Said(job, place, said))

    def _send_outcome(self, job: int, outcome: Outcome) -> None:
        """The door waits for an outcome of every job: one that cannot be sent is replaced by one that says so.

        One that can be sent without its conversation keeps its reward: otherwise an agent could prevent a score of
        the tasks that it fails.
        """
        why = ""
        for shortened in (_whole, _without_conversation, _without_reward):
            try:
                self._send(TrialEnded(job, shortened(outcome, why).to_json()))
                return
            except (ValueError, TypeError) as error:  # too long, or not JSON
                why = ascii(str(error))[:_LONGEST_REASON_CHARS]


def _whole(outcome: Outcome, why: str) -> Outcome:
    return outcome


def _without_conversation(outcome: Outcome, why: str) -> Outcome:
    notes = [*outcome.notes, f"without its conversation: {why}"]
    return replace(outcome, messages=[], database_diff=[], notes=notes)


def _without_reward(outcome: Outcome, why: str) -> Outcome:
    return Outcome(outcome.trial, Status.SETUP_ERROR, None, f"the outcome cannot be sent: {why}")


def main() -> None:
    sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr)  # as in the fork server
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # tau2 prints; the channel is not standard output
    channel = connect(int(sys.argv[1]))
    Worker(channel).serve()
    os._exit(0)  # threads that still wait for an LLM must not keep the process


if __name__ == "__main__":
    main()
