"""Runs one trial: the conversation in its own agent host, the evaluation, and retries.

This is the worker's part that knows what a trial is; `worker` has the messages.
"""

import json
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autoharness.benchmarks.leaks import prompt_injection
from autoharness.benchmarks.protocol import Benchmark, Finished, Json, Limits
from autoharness.benchmarks.tau2 import databases, seeded_tools
from autoharness.core.errors import (
    AgentTimeout,
    ChannelError,
    EvaluationError,
    HostDied,
    InfrastructureError,
    JudgeError,
    SharedRecordChanged,
    SimulationError,
    UserError,
)
from autoharness.core.outcomes import ADDRESSED, PLAINLY, VERIFIED, Outcome, Status, Trial, digest, passed
from autoharness.core.redaction import addresses, one_line
from autoharness.core.settings import HARNESS, OFFLINE, PER_ROLE, PER_TASK, REPLAY, Experiment
from autoharness.engine.agent_connection import AgentInHost
from autoharness.engine.trial_keys import drawn_by
from autoharness.host.pool import Hosts
from autoharness.llm import offline
from autoharness.llm.call_journal import Answers, Journal
from autoharness.llm.calls import AGENT, JUDGE, USER
from autoharness.llm.calls import Limits as LLMLimits
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.completion import Heard, limit_of
from autoharness.llm.gateway import Session
from autoharness.llm.providers import Model, Providers
from autoharness.llm.replay import Replay
from autoharness.llm.request_schema import beyond_schema, problem_of
from autoharness.llm.seeds import Seeded, role_seed
from autoharness.llm.server_forms import Bounded, Templated

_LOST_TIMEOUTS = 3
"""A simulation spends at most this many times `llm_timeout_s` on calls that fail; see `calls.Limits.lost_s`."""


class Simulator:
    """Runs trials of one experiment. `run` may be called from many threads."""

    def __init__(
        self,
        benchmark: Benchmark,
        experiment: Experiment,
        hosts: Hosts,
        providers: Providers | None = None,
        answers: Answers | None = None,
        secret: str = "",
        breakers: Mapping[str, Breaker] | None = None,
    ) -> None:
        """`answers`: LLM answers from earlier runs, if the experiment keeps them. `secret`: the vault's.

        `breakers`: by role, if the caller decides how long to wait for models that are down.
        """
        self._breakers = breakers
        self._answers = answers
        self._secret = secret
        if secret:
            seeded_tools.use(secret)
        self._benchmark = benchmark
        self._experiment = experiment
        self._hosts = hosts
        self._providers = providers or Providers()

    def run(self, trial: Trial, diagnose: bool, unfinished: Path | None = None) -> Outcome:
        """Run one trial to an outcome. If infrastructure fails, try again; no LLM call is paid for twice.

        `diagnose`: it is a trial of a train task, whose failure is to be explained. `unfinished`: the file that keeps
        what was said and answered, for another try by any process. Raises ChannelError if nobody waits for it any
        more.
        """
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        session = self._session(trial, diagnose, Journal(unfinished))
        notes: list[str] = []
        try:
            with seeded_tools.begun(session.journal.begun_ns):
                outcome = self._try_until_done(trial, session, diagnose, notes)
            if outcome.reward is None:  # otherwise the file is deleted once the outcome is kept
                session.journal.note_reported()
        finally:
            session.journal.close()
        for role, what in session.uncounted.items():
            raise UserError(_uncounted_line(self._experiment.model_of(role), what))
        for role, (argument, words) in session.refused.items():
            raise UserError(_refused_line(self._experiment, role, argument, words))
        return replace(
            outcome,
            usage=session.usage,
            started=started,
            duration_s=round(time.monotonic() - clock, 3),
            notes=[*notes, *session.waits, *session.remarks, *outcome.notes, *_addressed(outcome.messages)],
            tries=1 + session.journal.failures,
        )

    def _try_until_done(self, trial: Trial, session: Session, diagnose: bool, notes: list[str]) -> Outcome:
        for attempt in range(self._experiment.simulation_retries + 1):
            if attempt:
                _pause(attempt)
            outcome, retryable = self._try(trial, session, diagnose, notes)
            if outcome.reward is None:
                session.journal.note_failure(f"{outcome.status}: {outcome.detail}")
            if not retryable:
                break
            notes.append(f"attempt {attempt + 1}: {outcome.status}: {outcome.detail}")
        return outcome

    def _try(self, trial: Trial, session: Session, diagnose: bool, notes: list[str]) -> tuple[Outcome, bool]:
        """The outcome, and whether it is worth another try. Raises ChannelError if nobody waits for it any more."""
        try:
            return self._simulate(trial, session, diagnose, notes), False
        except SimulationError as error:
            if self._hosts.closed:  # this process closed it: the try has not failed, and no outcome tells its cost
                raise ChannelError("the door is gone") from error
            retryable = isinstance(error, InfrastructureError) and error.retryable
            outcome = Outcome(
                trial=trial,
                status=_status(error),
                reward=None if isinstance(error, InfrastructureError) else 0.0,
                detail=str(error),
                messages=list(error.messages),
            )
            return outcome, retryable

    def _simulate(self, trial: Trial, session: Session, diagnose: bool, notes: list[str]) -> Outcome:
        """Simulate on shared databases; if that goes wrong, on tau2's plain path, which pays no LLM call again.

        A further try stays on the plain path.
        """
        journal = session.journal
        if not journal.plain:
            try:
                with databases.watch():
                    return self._scored(trial, self._converse(trial, session), session, diagnose)
            except SharedRecordChanged as error:
                journal.go_plain(f"{PLAINLY}: {error}")
        if journal.plain not in notes:
            notes.append(journal.plain)
        with databases.plain():
            return self._scored(trial, self._converse(trial, session), session, diagnose)

    def _converse(self, trial: Trial, session: Session) -> Finished:
        """Run the conversation in its own agent host. A baseline agent of tau2 needs none."""
        session.begin_try()
        if self._experiment.agent != HARNESS:
            return self._conversation(trial, session, None)
        settings = self._experiment
        with self._hosts.host(trial.agent) as host:
            drawn = digest([self._secret, trial.task_id, trial.number, trial.seed])
            link = AgentInHost(host, session, settings.agent_model, _for_agents(settings.agent_llm_args), drawn)
            return self._conversation(trial, session, link)

    def _conversation(self, trial: Trial, session: Session, link: AgentInHost | None) -> Finished:
        settings = self._experiment
        limits = Limits(settings.max_steps, settings.max_errors)
        ask, user_args = session.complete, settings.user_llm_args
        seed = trial.seed
        if settings.seeds == PER_TASK and not settings.on_tau2:  # tau2 draws nothing that its tasks share
            seed = role_seed(trial.seed, trial.task_id, trial.number, "benchmark")
        return self._benchmark.converse(settings.domain, trial.task_id, seed, limits, link, ask, user_args)

    def _scored(self, trial: Trial, conversation: Finished, session: Session, diagnose: bool) -> Outcome:
        domain = self._experiment.domain
        reward_info = self._evaluated(conversation, session)
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

    def _evaluated(self, conversation: Finished, session: Session) -> Json:
        """Evaluate a conversation. If only the evaluation fails, evaluate it again without a new conversation.

        Raises EvaluationError or JudgeError; neither is worth another try of this run.
        """
        for attempt in range(self._experiment.simulation_retries + 1):
            if attempt:
                _pause(attempt)
            try:
                return self._benchmark.evaluate(self._experiment.domain, conversation, session.complete)
            except (EvaluationError, JudgeError) as error:
                last, retryable, error.retryable = error, error.retryable, False
            session.forget_judge()
            if not retryable:
                break
            session.waits.append(f"evaluated again: {last.status}: {last}")
            session.journal.note_failure(session.waits[-1])
        last.messages = tuple(conversation.messages)
        raise last

    def _verify(self, conversation: Finished, reward_info: Json, session: Session) -> None:
        """Raises SharedRecordChanged if tau2's plain path gives other tool answers, checks or rewards."""
        session.journal.rewind()  # the judge's answers are known
        try:
            with databases.plain():
                plainly = self._benchmark.evaluate(self._experiment.domain, conversation, session.complete)
        except EvaluationError as error:
            raise SharedRecordChanged(f"tau2's plain path does not score it: {error}") from error
        if plainly != reward_info:
            raise SharedRecordChanged("tau2's plain path scores it otherwise")

    def _session(self, trial: Trial, train: bool, journal: Journal) -> Session:
        settings = self._experiment
        kept = self._answers if settings.llm_cache == "all" or train else None
        names = {role: settings.model_of(role) for role in (AGENT, USER, JUDGE)}
        servers = addresses() | {role: endpoint.url for role, endpoint in settings.endpoints.items()}
        seeds = drawn_by(settings)
        asked_in = digest([settings.domain, trial.task_id, trial.number, trial.seed, names, servers, *seeds])
        models = {role: self._model(role, trial, journal) for role in (AGENT, USER, JUDGE)}
        limits = LLMLimits(
            settings.max_llm_calls,
            settings.max_simulation_cost_usd,
            settings.llm_retries,
            settings.max_simulation_tokens,
            _counted(settings.max_simulation_tokens, settings.max_run_tokens),
            _counted(settings.max_simulation_cost_usd, settings.max_run_cost_usd, settings.max_usd),
            settings.simulation_retries,
            settings.llm_timeout_s * _LOST_TIMEOUTS,
        )
        model, effort = settings.agent_model, settings.reasoning_effort
        args = settings.agent_llm_args
        if problem := problem_of({"messages": [{"role": "user", "content": "Hello"}], **_for_agents(args)}):
            raise UserError(f"agent_llm_args: {problem}")
        return Session(models, model, effort, limits, kept, asked_in, journal, trial.seed, self._breakers, args)

    def _model(self, role: str, trial: Trial, journal: Journal) -> Model:
        name = self._experiment.model_of(role)
        if name.startswith(REPLAY):
            recording, tolerant = Path(name.removeprefix(REPLAY)), self._experiment.replay_tolerance
            return Replay(recording, trial.task_id, trial.number, role, tolerant)
        if name.startswith(OFFLINE):
            script = self._benchmark.script(self._experiment.domain, trial.task_id)
            return offline.model(role, name, script, trial.seed, journal)
        settings = self._experiment
        endpoint = settings.endpoint_of(role)
        called = self._providers.model(name, settings.llm_timeout_s, settings.llm_retries, endpoint)
        model: Model = Templated(Heard(called, role, is_agent=role == AGENT), role)
        if endpoint and settings.seeds == PER_TASK:  # trials under other seeds may be older, and had no limit
            model = Bounded(model, role, limit_of(getattr(settings, f"{role}_llm_args") or {}))
        if not drawn_by(settings):
            return model
        root = settings.seed if settings.seeds == PER_ROLE else trial.seed
        seed = role_seed(root, trial.task_id, trial.number, role)
        return Seeded(model, trial.seed, seed, always=role != AGENT)


def _addressed(messages: list[Json]) -> list[str]:
    return [f"{ADDRESSED} in message {place}: {mark}" for place, mark in prompt_injection.found(messages)]


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0.5, 1) * 2**attempt)


def _status(error: SimulationError) -> Status:
    hung = isinstance(error, HostDied) and error.hung
    return Status(AgentTimeout.status if hung else error.status)


def _counted(of_simulation: float | None, *of_all: float | None) -> frozenset[str]:
    """The roles whose calls a limit counts: a simulation's limit counts the agent, a run's and the loop's all."""
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


def _for_agents(arguments: Json) -> Json:
    """The experiment's arguments that an agent may change: it passes them on itself."""
    fixed = beyond_schema(arguments)
    return {name: value for name, value in arguments.items() if name not in fixed}


def _refused_line(experiment: Experiment, role: str, argument: str, words: str) -> str:
    """`words`: the model's. Other roles of the same model would be refused next: their settings are named too."""
    model, server = experiment.model_of(role), experiment.endpoint_of(role)
    if not argument:
        how = "start its server with another one (vLLM, SGLang: --chat-template, llama.cpp: --chat-template-file)"
        return f"the chat template of {model} refuses every conversation: {how} ({one_line(words)[:200]})"
    changes = ["another reasoning_effort, or none"] if (role, argument) == (AGENT, "reasoning_effort") else []
    for other in (AGENT, USER, JUDGE):
        # tau2 itself asks its judge at temperature 0
        configured: Json | None = getattr(experiment, f"{other}_llm_args")
        arguments = {"temperature": 0.0} if configured is None else configured
        if argument in arguments and (experiment.model_of(other), experiment.endpoint_of(other)) == (model, server):
            rest = {name: value for name, value in arguments.items() if name != argument}
            changes.append(f"{other}_llm_args: {json.dumps(rest)}")
    how = f"set {', '.join(changes)} in experiment_config.yaml" if changes else f"the {role}'s requests have it"
    return f"{model} refuses {argument}: {how} ({one_line(words)[:200]})"
