"""The simulation worker: a process that runs simulations. It holds the benchmark, litellm and the keys,
and it is trusted.

    python -P worker.py DESCRIPTOR            where the nursery does not fork it

Messages in:  {"setup": {experiment, agents: {SHA256: source}, threads, folder, private, layers, llm_cache}}
              {"facts": DOMAIN}  {"keys": MODELS}  {"provide": True}
              {"leaks": DOMAIN, "before": agent source, "after": agent source}
              {"published": DOMAIN, "tasks": task ids}
              {"run": Trial, "job", "diagnose", "say"}
              {"limited": MODEL, "pause_s"}: another worker has met its rate limit
Messages out: {"pid"}  {"facts": ...}  {"keys": ...}  {"leaks": [[line, text, what], ...]}  {"published": ...}
              {"job", "place", "said"}: a message of a conversation, where "say" asked for them
              {"job", "outcome"}  {"user_error": one line}  {"limited": MODEL, "pause_s"}
              {"beat"}: every few seconds, as long as it is not stuck
"""

import os
import random
import secrets
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # as in a door
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the door's package, wherever it lies
    import autoharness

    del sys.path[0]
    autoharness.begin()

from autoharness import agent_api, databases, offline, overheard
from autoharness.answers import Answers
from autoharness.benchmarks import Benchmark, Finished, load
from autoharness.channel import Channel, Message, connect
from autoharness.config import HARNESS, OFFLINE, PER_ROLE, PER_SIMULATION, REPLAY, Experiment
from autoharness.errors import (
    AgentError,
    AgentTimeout,
    ChannelError,
    EvaluationError,
    HostDied,
    InfrastructureError,
    JudgeError,
    MessageTooLong,
    SharedRecordChanged,
    SimulationError,
    UserError,
)
from autoharness.gateway import AGENT, JUDGE, USER, Session
from autoharness.gateway import Limits as LLMLimits
from autoharness.host import Host, checked_reply
from autoharness.hosts import Hosts, agent_files, confinement_of
from autoharness.leaks import Secrets, scan
from autoharness.providers import Model, Providers, Request, Response, has_price, missing_keys, set_prices
from autoharness.replay import Replay
from autoharness.results import PLAINLY, VERIFIED, Outcome, Status, Trial, Usage, digest, passed
from autoharness.scrub import addresses
from autoharness.seeds import Seeded, role_seed
from autoharness.tau import Json, Limits

BEAT_S = 5.0


class AgentInHost:
    """tau's AgentLink: one simulation's agent, which runs in an agent host and asks its LLM through the session."""

    def __init__(self, host: Host, session: Session, name: str, llm: str, llm_args: Json) -> None:
        self._host = host
        self._session = session
        self._name = name
        self._llm = llm
        self._llm_args = llm_args
        self._conversation: list[Any] = []
        self._pristine: Request = {}
        self.waited_s = 0.0

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        self._llm_args |= llm_args
        self._pristine = {"tools": tools, "tool_choice": "auto", **self._llm_args}
        self._hear(agent_api.SystemMessage(domain_policy), *map(agent_api._from_wire, history))
        self._call(
            "start",
            tools=tools,
            domain_policy=domain_policy,
            llm=self._llm,
            llm_args=self._llm_args,
            history=history,
        )

    def next(self, message: Json) -> Json:
        heard = agent_api._from_wire(message)
        self._hear(*(heard.tool_messages if isinstance(heard, agent_api.MultiToolMessage) else [heard]))
        spent_usd = self._spent_usd()
        reply = checked_reply(self._call("next", message=message))
        self._hear(agent_api._from_wire({"role": "assistant", **reply}))
        return {**reply, "cost_usd": self._spent_usd() - spent_usd}

    def _hear(self, *messages: Any) -> None:
        self._conversation += messages

    def _call(self, call: str, **arguments: Any) -> Any:
        started, spent_s = time.monotonic(), self._host.own_code_s(self._name)
        result = self._host.call(self._name, call, self._complete, **arguments)
        self.waited_s += time.monotonic() - started - (self._host.own_code_s(self._name) - spent_s)
        return result

    def _complete(self, request: Request) -> Response:
        return self._session.complete_for_agent(request, self._pristine_request)

    def _pristine_request(self) -> Request:
        """What the untouched template would ask now: the policy, the conversation as it was, the same tools."""
        return {"messages": agent_api.to_chat(self._conversation), **self._pristine}

    def _spent_usd(self) -> float:
        return self._session.usage.get(AGENT, Usage()).cost_usd


class Simulator:
    """Runs trials of one experiment. `run` may be called from many threads."""

    def __init__(
        self,
        benchmark: Benchmark,
        experiment: Experiment,
        hosts: Hosts,
        providers: Providers | None = None,
        answers: Answers | None = None,
    ) -> None:
        """`answers`: of LLMs in earlier runs, where the experiment keeps them."""
        self._answers = answers
        self._benchmark = benchmark
        self._experiment = experiment
        self._hosts = hosts
        self._providers = providers or Providers()

    def run(self, trial: Trial, diagnose: bool) -> Outcome:
        """Run one trial to an outcome. Infrastructure failures are tried again; what was paid for stays paid for.

        `diagnose`: it is of a train task, whose failure is to be explained.
        """
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        session = self._session(trial, diagnose)
        notes: list[str] = []
        for attempt in range(self._experiment.simulation_retries + 1):
            if attempt:
                time.sleep(random.uniform(0.5, 1) * 2**attempt)
            outcome, retryable = self._attempt(trial, session, diagnose, notes)
            if not retryable:
                break
            notes.append(f"attempt {attempt + 1}: {outcome.status}: {outcome.detail}")
        for role, what in session.uncounted.items():
            raise UserError(_uncounted_line(self._experiment.model_of(role), what))
        duration_s = round(time.monotonic() - clock, 3)
        notes += outcome.notes
        return replace(outcome, usage=session.usage, started=started, duration_s=duration_s, notes=notes)

    def _attempt(self, trial: Trial, session: Session, diagnose: bool, notes: list[str]) -> tuple[Outcome, bool]:
        """The outcome, and whether it is worth another attempt."""
        try:
            return self._simulate_somewhere(trial, session, diagnose, notes), False
        except SimulationError as error:
            if isinstance(error, JudgeError):
                session.forget_judge()
            infrastructure = isinstance(error, InfrastructureError)
            outcome = Outcome(
                trial=trial,
                status=Status(error.status),
                reward=None if infrastructure else 0.0,
                detail=str(error),
                messages=list(error.messages),
            )
            return outcome, isinstance(error, InfrastructureError) and error.retryable

    def _simulate_somewhere(self, trial: Trial, session: Session, diagnose: bool, notes: list[str]) -> Outcome:
        """In the shared host; alone in a fresh one where that dies, since any simulation in it may have killed it.

        A control needs none.
        """
        if self._experiment.agent != HARNESS:
            return self._simulate(trial, session, diagnose, None, notes)
        try:
            with self._hosts.host(trial.agent, held_out=not diagnose) as host:
                return self._simulate(trial, session, diagnose, host, notes)
        except HostDied as death:
            notes.append(f"run once more, alone: {death}")
        with self._hosts.alone(trial.agent) as host:
            try:
                return self._simulate(trial, session, diagnose, host, notes)
            except HostDied as death:
                raise (AgentTimeout if death.hung else AgentError)(str(death)) from death

    def _simulate(
        self, trial: Trial, session: Session, diagnose: bool, host: Host | None, notes: list[str]
    ) -> Outcome:
        """On shared databases; on tau2's plain path where that went wrong, which pays for no LLM call again."""
        try:
            with databases.watch():
                return self._converse(trial, session, diagnose, host)
        except SharedRecordChanged as error:
            notes.append(f"{PLAINLY}: {error}")
        with databases.plain():
            return self._converse(trial, session, diagnose, host)

    def _converse(self, trial: Trial, session: Session, diagnose: bool, host: Host | None) -> Outcome:
        settings = self._experiment
        session.begin_attempt()
        name = secrets.token_hex(16)  # the agent asks in it: not to be guessed, and no word about the task
        llm_args = dict(settings.agent_llm_args)
        link = AgentInHost(host, session, name, settings.agent_model, llm_args) if host else None
        limits = Limits(settings.max_steps, settings.max_errors)
        try:
            conversation = self._benchmark.converse(
                settings.domain,
                trial.task_id,
                trial.seed,
                limits,
                link,
                session.complete,
                settings.user_llm_args,
            )
        finally:
            if host:
                host.forget(name)
        return self._scored(trial, conversation, session, diagnose)

    def _scored(self, trial: Trial, conversation: Finished, session: Session, diagnose: bool) -> Outcome:
        domain = self._experiment.domain
        reward_info = self._benchmark.evaluate(domain, conversation, session.complete)
        reward = float(reward_info["reward"])
        verified = random.random() < self._experiment.verify_sample and not databases.is_plain()
        if verified:
            self._verify(conversation, reward_info, session)
        return Outcome(
            trial=trial,
            status=Status.PASSED if passed(reward) else Status.FAILED,
            reward=reward,
            termination=conversation.termination,
            reward_info=reward_info,
            messages=conversation.messages,
            database_diff=self._benchmark.database_diff(domain, conversation)
            if diagnose and not passed(reward)
            else [],
            notes=[*conversation.notes, *([VERIFIED] if verified else [])],
        )

    def _verify(self, conversation: Finished, reward_info: Json, session: Session) -> None:
        """Raises SharedRecordChanged where tau2's plain path gives other answers of tools, checks or rewards."""
        session.begin_attempt()  # the judge's answers are known
        try:
            with databases.plain():
                plainly = self._benchmark.evaluate(self._experiment.domain, conversation, session.complete)
        except EvaluationError as error:
            raise SharedRecordChanged(f"tau2's plain path does not score it: {error}") from error
        if plainly != reward_info:
            raise SharedRecordChanged("tau2's plain path scores it otherwise")

    def _session(self, trial: Trial, train: bool) -> Session:
        settings = self._experiment
        kept = self._answers if settings.llm_cache == "all" or train else None
        names = {role: settings.model_of(role) for role in (AGENT, USER, JUDGE)}
        servers = addresses() | {role: endpoint.url for role, endpoint in settings.endpoints.items()}
        seeds = [settings.seeds, settings.seed] if settings.seeds == PER_ROLE else []
        asked_in = digest([settings.domain, trial.task_id, trial.number, trial.seed, names, servers, *seeds])
        models = {role: self._model(role, trial) for role in (AGENT, USER, JUDGE)}
        limits = LLMLimits(
            settings.max_llm_calls,
            settings.max_simulation_cost_usd,
            settings.llm_retries,
            settings.max_simulation_tokens,
            _counted(settings.max_simulation_tokens, settings.max_run_tokens),
            _counted(settings.max_simulation_cost_usd, settings.max_run_cost_usd, settings.max_usd),
        )
        return Session(models, settings.agent_model, settings.reasoning_effort, limits, kept, asked_in)

    def _model(self, role: str, trial: Trial) -> Model:
        name = self._experiment.model_of(role)
        if name.startswith(REPLAY):
            recording, tolerant = Path(name.removeprefix(REPLAY)), self._experiment.replay_tolerance
            return Replay(recording, trial.task_id, trial.number, role, tolerant)
        if name.startswith(OFFLINE):
            script = self._benchmark.script(self._experiment.domain, trial.task_id)
            return offline.model(role, name, script, trial.seed)
        settings = self._experiment
        endpoint = settings.endpoint_of(role)
        model = self._providers.model(name, settings.llm_timeout_s, settings.llm_retries, endpoint)
        if settings.seeds != PER_ROLE:
            return model
        seed = role_seed(settings.seed, trial.task_id, trial.number, role)
        return Seeded(model, trial.seed, seed, always=role != AGENT)


def _counted(of_simulation: float | None, *of_all: float | None) -> frozenset[str]:
    """The roles whose calls a limit counts: a simulation's are for its agent, a run's and the loop's for all."""
    roles = {AGENT} if of_simulation is not None else set()
    return frozenset(roles | ({AGENT, USER, JUDGE} if set(of_all) != {None} else set()))


def _uncounted_line(model: str, what: str) -> str:
    if what == "price":
        return (
            f"litellm knows no price for {model}, so no limit in USD can be kept: set prices in "
            "experiment_config.yaml, or take max_simulation_cost_usd, max_run_cost_usd and max_usd out and set "
            "max_simulation_tokens or max_run_tokens"
        )
    return (
        f"{model} does not say how many tokens it used, so no limit in tokens or USD can be kept: take those out of "
        "experiment_config.yaml, and set max_llm_calls or max_run_llm_calls"
    )


def _answers(experiment: Experiment, folder: str) -> Answers | None:
    """Where the experiment keeps answers. Not those of our own models, which know more than the request."""
    all_asked = experiment.provider_models >= {experiment.model_of(role) for role in (AGENT, USER, JUDGE)}
    return Answers(Path(folder)) if all_asked and experiment.llm_cache != "off" else None


class Worker:
    """Answers the door's messages until the channel closes."""

    def __init__(self, channel: Channel, benchmark: Benchmark | None = None) -> None:
        """`benchmark`: where the process it was forked from has made one."""
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
            per_simulation = experiment.fresh_host == PER_SIMULATION
            agents = agent_files(setup["agents"], experiment)
            hosts = Hosts(agents, experiment.agent_timeout_s, confinement, per_simulation, setup["layers"])
            try:
                answers = _answers(experiment, setup["llm_cache"])
                self._answer_all(benchmark, hosts, experiment, setup["threads"], answers)
            finally:
                hosts.close()
        except UserError as error:
            self._channel.send({"user_error": str(error)})

    def _answer_all(
        self, benchmark: Benchmark, hosts: Hosts, experiment: Experiment, threads: int, answers: Answers | None
    ) -> None:
        pool, providers = ThreadPoolExecutor(threads), Providers(self._say_limited)
        simulator = Simulator(benchmark, experiment, hosts, providers, answers)
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
                providers.pause(message["limited"], message["pause_s"])
            elif "keys" in message:
                missing = {model: missing_keys(model) for model in message["keys"]}
                self._channel.send({"keys": {model: what for model, what in missing.items() if what}})
            elif "unpriced" in message:
                self._channel.send({"unpriced": [model for model in message["unpriced"] if not has_price(model)]})
            elif "leaks" in message:
                secrets = Secrets.of(benchmark.material(message["leaks"]))
                found = scan(message["before"], message["after"], secrets)
                self._channel.send({"leaks": [[leak.line, leak.text, leak.what] for leak in found]})
            elif "published" in message:
                published = benchmark.published(message["published"], message["tasks"])
                self._channel.send({"published": published})
            else:
                pool.submit(self._run, simulator, message)

    def _say_limited(self, model: str, pause_s: float) -> None:
        with suppress(ChannelError):
            self._channel.send({"limited": model, "pause_s": pause_s})

    def _beat(self) -> None:
        with suppress(ChannelError):
            while True:
                self._channel.send({"beat": time.monotonic()})
                time.sleep(BEAT_S)

    def _run(self, simulator: Simulator, message: Message) -> None:
        trial, hear = Trial(**message["run"]), partial(self._say, message["job"]) if message["say"] else None
        try:
            with overheard.by(hear):
                outcome = simulator.run(trial, message["diagnose"])
        except UserError as error:
            self._channel.send({"user_error": str(error)})
            return
        except BaseException:  # a bug of ours, or code that ends its thread: it must not score, and must not be lost
            traceback.print_exc()
            outcome = Outcome(
                trial, Status.SETUP_ERROR, None, f"bug in auto-harness: {traceback.format_exc(limit=-1)}"
            )
        with suppress(ChannelError):  # the door is gone, and this process is about to be
            self._send(message["job"], outcome)

    def _say(self, job: int, place: int, said: Json) -> None:
        """Whoever watches does without what cannot be sent."""
        with suppress(ChannelError, ValueError, TypeError):
            self._channel.send({"job": job, "place": place, "said": said})

    def _send(self, job: int, outcome: Outcome) -> None:
        """The door waits for an outcome of every job: one that cannot be sent is replaced by one that says so.

        One that is too long keeps its reward: or an agent could void the tasks that it fails.
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
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # tau2 prints; the channel is not standard output
    channel = connect(int(sys.argv[1]))
    Worker(channel).serve()
    os._exit(0)  # threads that still wait for an LLM must not keep the process


if __name__ == "__main__":
    main()
