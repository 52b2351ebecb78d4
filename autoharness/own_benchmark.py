"""A benchmark of one's own, as the worker runs it: a subclass of `BenchmarkRunner` behind the methods of `Tau2`.

The class is imported in the worker, which is trusted: nobody confines what it does there. The agent's code is where
it always is, in a host of its own; the class talks to it through a `Simulation`.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autoharness import overheard, own_class
from autoharness.config import BENCHMARKS, Experiment
from autoharness.errors import AutoHarnessError, EvaluationError, SimulationError, UserError
from autoharness.results import FINISHED
from autoharness.tasks import DomainFacts, Script, Step
from autoharness.tau import Limits
from autoharness.tau2_llm import AgentLink, Complete

_NEEDED = ("splits", "simulate")

Json = dict[str, Any]

Tool = Callable[..., Any]
"""What a tool call does: takes the call's arguments, returns what the agent is told."""


@dataclass(frozen=True)
class Check:
    """Something that a reward rests on. Traces and the report show it beside the conversation."""

    what: str
    met: bool
    why: str = ""


@dataclass(frozen=True)
class Result:
    """What a simulation came to."""

    reward: float
    """In [0, 1]; 1 is passed."""
    checks: Sequence[Check] = ()


class _Ended(Exception):
    """A limit of the experiment ends the conversation."""


class Simulation:
    """One trial of one task: its conversation with the agent, and the other LLMs that it may ask."""

    def __init__(
        self,
        runner: "Runner",
        task_id: str,
        seed: int,
        limits: Limits,
        link: AgentLink,
        complete: Complete,
        user_args: Json,
    ) -> None:
        self.task_id = task_id
        self.seed = seed
        """Of this trial: whatever is drawn by chance is to be drawn from it."""
        self.messages: list[Json] = []
        """The conversation so far, as traces have it: role, content, tool_calls."""
        self.ended: Exception | None = None
        """A failure or a limit: nothing that the benchmark returns counts any more."""
        self._runner = runner
        self._limits = limits
        self._link = link
        self._complete = complete
        self._user_args = user_args
        self._errors = 0

    def ask(self, text: str, tools: Mapping[str, Tool] | None = None) -> str:
        """Say something to the agent, run the tools that it calls, and return what it answers in the end.

        A tool that raises an exception, or is not there, tells the agent so. `max_steps` messages and `max_errors`
        such failures end the simulation, with reward 0. Nothing bounds how long a tool takes: what an agent writes
        into its arguments is meant to break it.
        """
        with self._noting_its_end():
            if not self.messages:
                self._link.start(list(self._runner.tools), self._runner.policy, {"seed": self.seed}, [])
            message: Json = {"role": "user", "content": text, "tool_calls": None}
            self._keep(message)
            while True:
                reply = self._link.next(message)
                calls = [{**call, "requestor": "assistant"} for call in reply["tool_calls"]]
                said = {"role": "assistant", "content": reply["content"], "tool_calls": calls or None}
                self._keep({**said, "cost": reply["cost_usd"]})
                if not calls:
                    return str(reply["content"])
                results = [self._call(call, tools or {}) for call in calls]
                message = results[0] if len(results) == 1 else {"role": "tool", "tool_messages": results}

    def complete(self, role: str, messages: list[Json], **arguments: Any) -> str:
        """What the LLM of "user" or "judge" says to these messages of a chat completion; metered and retried."""
        given = {**(self._user_args if role == "user" else {}), **arguments}
        with self._noting_its_end():
            answer = self._complete(role, {"messages": messages, **given})
        return str(answer["choices"][0]["message"].get("content") or "")

    @contextmanager
    def _noting_its_end(self) -> Iterator[None]:
        """What ended it stands, whatever the benchmark makes of the exception."""
        if self.ended:
            raise self.ended
        try:
            yield
        except (AutoHarnessError, _Ended) as end:
            self.ended = end
            raise

    def _call(self, call: Json, tools: Mapping[str, Tool]) -> Json:
        name, failed = call["name"], True
        if name not in tools:
            content = f"Error: there is no tool {name!r}"
        else:
            try:
                content, failed = str(tools[name](**call["arguments"])), False
            except AutoHarnessError:
                raise
            except Exception as error:
                content = f"Error: {error}"
        message = {"role": "tool", "id": call["id"], "content": content, "error": failed, "requestor": "assistant"}
        self._keep(message)
        self._errors += failed
        if self._errors >= self._limits.max_errors:
            raise _Ended("too_many_errors")
        return message

    def _keep(self, message: Json) -> None:
        overheard.say(len(self.messages), message)
        self.messages.append(message)
        if len(self.messages) > self._limits.max_steps:
            raise _Ended("max_steps")


class Runner(Protocol):
    """What the worker needs of a `BenchmarkRunner`; its docstrings say what each is."""

    version: str
    policy: str
    tools: Sequence[Json]
    data: Sequence[Path | str]

    def provide_data(self) -> None: ...
    def splits(self) -> Mapping[str, Sequence[str]]: ...
    def simulate(self, simulation: Simulation) -> Result: ...
    def secrets(self) -> Sequence[Json]: ...
    def reference(self, task_id: str) -> Sequence[Step]: ...


@dataclass
class Conversation:
    """A finished conversation and what it came to."""

    messages: list[Json]
    termination: str
    result: Result
    notes: list[str] = field(default_factory=list)
    """None: what a reader ought to know stands among the checks."""


class OwnBenchmark:
    """The experiment's. Make one for each process; its methods may be called from many threads."""

    def __init__(self, experiment: Experiment) -> None:
        """Raises UserError where there is no such class."""
        self._name = experiment.benchmark
        cls = _load(self._name)
        for hook in _NEEDED:
            if getattr(getattr(cls, hook), "__isabstractmethod__", False):
                raise UserError(f"benchmark: {self._name} defines no {hook}(): see docs/your-benchmark.md")
        self._code = own_class.files_of(cls)
        self._runner: Runner = cls.of(experiment)
        self._about = cls.__doc__ or ""

    def provide(self) -> None:
        """Raises UserError where its data cannot be had."""
        with self._as_mistake("provide_data()"):
            self._runner.provide_data()

    def warm_up(self, domain: str) -> None:
        """The import is all."""

    def facts(self, domain: str) -> DomainFacts:
        """Raises UserError where what the class says of itself makes no sense."""
        with self._as_mistake("splits()"):
            splits = {str(name): [str(one) for one in ids] for name, ids in self._runner.splits().items()}
        self._check_splits(splits)
        return DomainFacts(
            domain=domain,
            flavour=self._name.partition(":")[0],
            version=self._runner.version,
            data_files={name: _sha256(path) for name, path in self._files()},
            splits=splits,
            policy=self._runner.policy,
            tools=[dict(tool) for tool in self._runner.tools],
            about=self._about,
        )

    @property
    def folders(self) -> list[str]:
        """What no agent is to read: its code and its data."""
        return [str(path.absolute()) for path in [*self._code, *map(Path, self._runner.data)]]

    def material(self, domain: str) -> Json:
        """What an edit must not give away; see `Secrets.of`."""
        with self._as_mistake("secrets()"):
            tasks = [dict(one) for one in self._runner.secrets()]
        return {"databases": {}, "tasks": tasks, "policy": self._runner.policy, "tools": list(self._runner.tools)}

    def published(self, domain: str, task_ids: list[str]) -> Json:
        raise UserError(f"{self._name} is no part of tau2")

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
        """Run one simulation to its end. Raises SimulationError."""
        assert link, "controls are tau2's own"
        simulation = Simulation(self._runner, task_id, seed, limits, link, complete, user_args)
        try:
            result = self._result(simulation)
        except _Ended as end:
            return Conversation(simulation.messages, str(end), Result(0.0))
        except SimulationError as error:
            error.messages = tuple(simulation.messages)
            raise
        return Conversation(simulation.messages, FINISHED, result)

    def _result(self, simulation: Simulation) -> Result:
        """Raises what ended the simulation, EvaluationError where the benchmark itself went wrong."""
        try:
            result = _sound(self._runner.simulate(simulation))
        except Exception as error:
            if simulation.ended:
                raise simulation.ended from None
            raise EvaluationError(f"{self._name} raised {own_class.in_short(error)}") from error
        if simulation.ended:
            raise simulation.ended
        return result

    def evaluate(self, domain: str, conversation: Conversation, complete: Complete) -> Json:
        """Its reward and checks as JSON: {"reward", "checks": [{"what", "met", "why"}]}."""
        checks = [{"what": one.what, "met": one.met, "why": one.why} for one in conversation.result.checks]
        return {"reward": conversation.result.reward, "checks": checks}

    def database_diff(self, domain: str, conversation: Conversation) -> list[Json]:
        return []

    def script(self, domain: str, task_id: str) -> Script:
        """What the offline model plays from. Raises UserError where the class does not say."""
        with self._as_mistake("reference()"):
            steps = tuple(self._runner.reference(task_id))
        return Script(domain, task_id, self._runner.policy, "", steps, ())

    def _check_splits(self, splits: Mapping[str, list[str]]) -> None:
        for name in ("train", "test"):
            if not splits.get(name):
                raise UserError(f"benchmark: splits() of {self._name} gives no {name} tasks")
        for name, ids in splits.items():
            if len(set(ids)) < len(ids):
                raise UserError(f"benchmark: splits() of {self._name} has a task of {name} twice")
        if both := set(splits["train"]) & set(splits["test"]):
            raise UserError(f"benchmark: test and train have {min(both)!r} in common in splits() of {self._name}")
        if not isinstance(self._runner.policy, str) or not isinstance(self._runner.version, str):
            raise UserError(f"benchmark: policy and version of {self._name} must be texts")

    def _files(self) -> Iterator[tuple[str, Path]]:
        """All that decides what a reward is, with a name for each."""
        for path in self._code:
            inside = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            yield from ((f"code/{one.relative_to(path.parent)}", one) for one in inside)
        for path in map(Path, self._runner.data):
            inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
            yield from ((f"data/{one.relative_to(path.parent)}", one) for one in inside)

    @contextmanager
    def _as_mistake(self, what: str) -> Iterator[None]:
        """Whoever wrote the class can mend what goes wrong outside a simulation."""
        try:
            yield
        except AutoHarnessError:
            raise
        except Exception as error:
            raise UserError(f"benchmark: {what} of {self._name} raised {own_class.in_short(error)}") from error


def _load(name: str) -> Any:
    """The class behind module:Class, or behind an entry point. Raises UserError."""
    points = [point.value for point in importlib.metadata.entry_points(group=BENCHMARKS) if point.name == name]
    cls = own_class.load("benchmark", points[0] if points else name)
    if not all(hasattr(cls, method) for method in ("of", *_NEEDED)):
        raise UserError(f"benchmark: {name} is no subclass of BenchmarkRunner")
    return cls


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"benchmark: {path}: {error.strerror}; python prepare.py calls provide_data()") from error


def _sound(result: Any) -> Result:
    """Raises ValueError or TypeError where it is no result: that is the benchmark's failure, and no score."""
    if not isinstance(result, Result):
        raise TypeError(f"simulate() returned {type(result).__name__}, not Result")
    reward = float(result.reward)
    if not 0 <= reward <= 1:
        raise ValueError(f"simulate() gave reward {reward}: it lies in [0, 1]")
    checks = [Check(str(one.what), bool(one.met), str(one.why)) for one in result.checks]
    return Result(reward, checks)
