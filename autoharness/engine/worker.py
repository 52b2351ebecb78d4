"""The simulation worker: a trusted process that runs simulations with the benchmark, litellm and the keys.

    python -P worker.py DESCRIPTOR            if the fork server does not fork it

Messages in:  {"setup": {experiment, agents: {SHA256: source}, threads, folder, private, layers, llm_cache}}
              {"facts": DOMAIN}  {"keys": MODELS}  {"provide": True}
              {"leaks": DOMAIN, "before": agent source, "after": agent source, "baseline": agent source}
              {"published": DOMAIN, "tasks": task ids}
              {"run": Trial, "job", "diagnose", "say", "unfinished": the file of its earlier tries}
              {"limited": MODEL, "pause_s"}: another worker has met its rate limit
Messages out: {"pid"}  {"ready"}: it can be given work
              {"facts": ...}  {"keys": ...}  {"leaks": [[line, text, what], ...]}  {"published": ...}
              {"job", "place", "said"}: a message of a conversation, if "say" asked for them
              {"job", "outcome"}  {"user_error": one line}  {"limited": MODEL, "pause_s"}
              {"down": MODEL, "why", "for_good"}  {"up": MODEL}: see `circuit_breaker`
              {"beat"}: every few seconds, as long as it is not stuck
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

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # as in a door
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the door's package, wherever it lies
    import autoharness

    del sys.path[0]
    autoharness.begin()

from autoharness.benchmarks import message_listener
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.benchmarks.leaks.scan_process import scan
from autoharness.benchmarks.protocol import Benchmark, load
from autoharness.benchmarks.tau2.adapter import Json
from autoharness.core.channel import Channel, Message, connect
from autoharness.core.errors import ChannelError, MessageTooLong, UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import Experiment
from autoharness.core.standard_streams import forgiving
from autoharness.engine.simulator import Simulator
from autoharness.host.pool import Hosts, agent_files, confinement_of
from autoharness.llm.answer_cache import Answers
from autoharness.llm.calls import AGENT, JUDGE, USER
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.providers import Providers, has_price, missing_keys, set_prices

_BEAT_S = 5.0


def _answers(experiment: Experiment, folder: str) -> Answers | None:
    """The answer cache, if the experiment keeps answers. Not for offline models: they know more than the request."""
    all_asked = experiment.provider_models >= {experiment.model_of(role) for role in (AGENT, USER, JUDGE)}
    return Answers(Path(folder)) if all_asked and experiment.llm_cache != "off" else None


class Worker:
    """Answers the door's messages until the channel closes."""

    def __init__(self, channel: Channel, benchmark: Benchmark | None = None) -> None:
        """`benchmark`: the one that the parent process has made, if it made one."""
        self._channel = channel
        self._benchmark = benchmark

    def serve(self) -> None:
        with suppress(ChannelError):
            self._channel.send({"pid": os.getpid()})
        setup = self._channel.receive()
        if setup is None:
            return
        setup = setup["setup"]
        experiment = Experiment(**setup["experiment"])
        try:
            set_prices(experiment.prices)
            benchmark = self._benchmark or load(experiment)
            confinement = confinement_of(experiment, Path(setup["folder"]), [*setup["private"], *benchmark.folders])
            agents = agent_files(setup["agents"], experiment)
            hosts = Hosts(agents, experiment.agent_timeout_s, confinement, setup["layers"])
            try:
                answers = _answers(experiment, setup["llm_cache"])
                self._providers = Providers(self._say_limited)
                secret, breakers = setup["secret"], self._breakers(experiment)
                simulator = Simulator(benchmark, experiment, hosts, self._providers, answers, secret, breakers)
                self._answer_all(benchmark, hosts, experiment, simulator, setup["threads"])
            finally:
                hosts.close()
        except UserError as error:
            self._channel.send({"user_error": str(error)})

    def _answer_all(
        self, benchmark: Benchmark, hosts: Hosts, experiment: Experiment, simulator: Simulator, threads: int
    ) -> None:
        pool = ThreadPoolExecutor(threads)
        self._channel.send({"ready": True})
        threading.Thread(target=self._beat, daemon=True).start()
        while (message := self._channel.receive()) is not None:
            if "facts" in message:
                facts = asdict(benchmark.facts(message["facts"]))
                here = {"layers": hosts.layers(), "folders": benchmark.folders}
                self._channel.send({"facts": facts | here})
            elif "provide" in message:
                benchmark.provide()
                self._channel.send({"provide": True})
            elif "agents" in message:
                hosts.use(agent_files(message["agents"], experiment))
            elif "limited" in message:
                self._providers.pause(message["limited"], message["pause_s"])
            elif "keys" in message:
                missing = {model: missing_keys(model) for model in message["keys"]}
                self._channel.send({"keys": {model: what for model, what in missing.items() if what}})
            elif "unpriced" in message:
                self._channel.send({"unpriced": [model for model in message["unpriced"] if not has_price(model)]})
            elif "leaks" in message:
                secrets = Secrets.of(benchmark.material(message["leaks"]))
                found = scan(message["before"], message["after"], secrets, message["baseline"])
                self._channel.send({"leaks": [[leak.line, leak.text, leak.what] for leak in found]})
            elif "published" in message:
                published = benchmark.published(message["published"], message["tasks"])
                self._channel.send({"published": published})
            else:
                pool.submit(self._run, simulator, message)

    def _say_limited(self, model: str, pause_s: float) -> None:
        with suppress(ChannelError):
            self._channel.send({"limited": model, "pause_s": pause_s})

    def _breakers(self, experiment: Experiment) -> dict[str, Breaker]:
        models = {role: experiment.model_of(role) for role in (AGENT, USER, JUDGE)}
        asked = {role: model for role, model in models.items() if model in experiment.provider_models}
        return {role: Breaker(partial(self._say_down, f"the {role}'s model {asked[role]}")) for role in asked}

    def _say_down(self, model: str, why: str, for_good: bool) -> None:
        with suppress(ChannelError):
            self._channel.send({"down": model, "why": why, "for_good": for_good} if why else {"up": model})

    def _beat(self) -> None:
        with suppress(ChannelError):
            while True:
                self._channel.send({"beat": time.monotonic()})
                time.sleep(_BEAT_S)

    def _run(self, simulator: Simulator, message: Message) -> None:
        trial, hear = Trial(**message["run"]), partial(self._say, message["job"]) if message["say"] else None
        unfinished = Path(message["unfinished"]) if message["unfinished"] else None
        try:
            with message_listener.by(hear):
                outcome = simulator.run(trial, message["diagnose"], unfinished)
        except UserError as error:
            self._channel.send({"user_error": str(error)})
            return
        except ChannelError:  # the door is gone, and this process is about to be
            return
        except BaseException:  # a bug of ours, or code that ends its thread: it must not score, and must not be lost
            traceback.print_exc()
            outcome = Outcome(
                trial, Status.SETUP_ERROR, None, f"bug in auto-harness: {traceback.format_exc(limit=-1)}"
            )
        with suppress(ChannelError):
            self._send(message["job"], outcome)

    def _say(self, job: int, place: int, said: Json) -> None:
        """Send a message of the conversation to those who watch. If it cannot be sent, it is left out."""
        with suppress(ChannelError, ValueError, TypeError):
            self._channel.send({"job": job, "place": place, "said": said})

    def _send(self, job: int, outcome: Outcome) -> None:
        """The door waits for an outcome of every job: one that cannot be sent is replaced by one that says so.

        One that is too long keeps its reward: otherwise an agent could prevent a score of the tasks that it fails.
        """
        try:
            self._channel.send({"job": job, "outcome": outcome.to_json()})
        except MessageTooLong as error:
            notes = [*outcome.notes, f"without its conversation: {error}"]
            unsent = replace(outcome, messages=[], database_diff=[], notes=notes)
            self._channel.send({"job": job, "outcome": unsent.to_json()})
        except (ValueError, TypeError) as error:
            reason = ascii(f"the outcome cannot be sent: {error}")[:300]
            unsent = Outcome(outcome.trial, Status.SETUP_ERROR, None, reason)
            self._channel.send({"job": job, "outcome": unsent.to_json()})


def main() -> None:
    sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr)  # as in the fork server
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # tau2 prints; the channel is not standard output
    channel = connect(int(sys.argv[1]))
    Worker(channel).serve()
    os._exit(0)  # threads that still wait for an LLM must not keep the process


if __name__ == "__main__":
    main()
