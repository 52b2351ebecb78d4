"""Your own benchmark, as the worker runs it: a subclass of `BenchmarkRunner` behind the methods of `Tau2`.

The class is imported in the worker, which is trusted: nothing confines it there. The agent's code is in its own host,
as always; the class talks to it through a `Simulation`.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from autoharness.benchmarks import user_code
from autoharness.benchmarks.protocol import AgentLink, Complete, Limits
from autoharness.benchmarks.simulation import Check, Ended, Result, Simulation, sendable
from autoharness.core import strict_json
from autoharness.core.command_form import typed
from autoharness.core.errors import AutoHarnessError, EvaluationError, SimulationError, UserError
from autoharness.core.outcomes import FINISHED
from autoharness.core.redaction import one_line, scrubbed
from autoharness.core.settings import BENCHMARKS, Experiment
from autoharness.core.tasks import DomainFacts, Script, Step

_NEEDED = ("splits", "simulate")
_LONGEST_CHECK_CHARS = 4000
_MOST_CHECKS = 500
"""All of them fit on a channel's line, however long they are: otherwise the outcome would lose its reward."""

Json = dict[str, Any]


class _Wrong(Exception):
    """A class attribute or the result of a hook is invalid."""


class Runner(Protocol):
    """What the worker needs of a `BenchmarkRunner`, whose docstrings explain each member."""

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
    """A finished conversation and its result."""

    messages: list[Json]
    termination: str
    result: Result
    notes: list[str] = field(default_factory=list)
    """Always empty: what a reader should know is in the checks."""


class OwnBenchmark:
    """The experiment's own benchmark. Make one for each process; its methods may be called from many threads."""

    def __init__(self, experiment: Experiment) -> None:
        """Raises UserError if there is no such class."""
        self._name = experiment.benchmark
        spec = _spec(self._name)
        cls = _load(self._name, spec)
        for hook in _NEEDED:
            if getattr(getattr(cls, hook), "__isabstractmethod__", False):
                raise UserError(f"benchmark: {self._name} defines no {hook}(): see docs/your-benchmark.md")
        self._code = user_code.files_of(spec, cls)
        with self._as_mistake("a class attribute"):
            self._data = _paths(cls.data)
        self._runner: Runner = cls.of(experiment)
        self._about = cls.__doc__ or ""

    def provide(self) -> None:
        """Get its data. Raises UserError if that fails."""
        with self._as_mistake("provide_data()"):
            self._runner.provide_data()

    def warm_up(self, domain: str) -> None:
        """Nothing to do: the import is enough."""

    def facts(self, domain: str) -> DomainFacts:
        """Raises UserError if the class's attributes or splits are invalid."""
        with self._as_mistake("splits()"):
            splits = {name: _ids(name, ids) for name, ids in self._runner.splits().items()}
            _check_splits(splits)
        with self._as_mistake("a class attribute"):
            _check_texts(self._runner)
            return DomainFacts(
                domain=domain,
                flavour=self._name.partition(":")[0],
                version=self._runner.version,
                data_files={name: _sha256(path) for name, path in self._files()},
                splits=splits,
                policy=self._runner.policy,
                tools=[dict(tool) for tool in self._runner.tools],
                about=sendable(self._about),
            )

    @property
    def folders(self) -> list[str]:
        """What no agent may read: its code and its data."""
        return [str(path.absolute()) for path in [*self._code, *self._data]]

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
        assert link, "baseline agents are tau2's own"
        policy, tools = self._runner.policy, self._runner.tools
        simulation = Simulation(task_id, seed, policy, tools, limits, link, complete, user_args)
        try:
            result = self._result(simulation)
        except Ended as end:
            return Conversation(simulation.messages, str(end), Result(0.0))
        except SimulationError as error:
            error.messages = tuple(simulation.messages)
            raise
        return Conversation(simulation.messages, FINISHED, result)

    def _result(self, simulation: Simulation) -> Result:
        """Raises what ended the simulation, EvaluationError if the benchmark itself went wrong."""
        try:
            result = _sound(self._runner.simulate(simulation))
        except user_code.STOPS as error:
            if simulation.ended:
                raise simulation.ended from None
            raise EvaluationError(f"{self._name} raised {user_code.in_short(error)}") from error
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
        """What the offline model plays from. Raises UserError if the class does not provide it."""
        with self._as_mistake("reference()"):
            steps = tuple(self._runner.reference(task_id))
        return Script(domain, task_id, self._runner.policy, "", steps, ())

    def _files(self) -> Iterator[tuple[str, Path]]:
        """All files that decide a reward, with a name for each."""
        yield from ((f"code/{name}", file) for name, file in user_code.sources(self._code))
        for path in self._data:
            inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
            yield from ((f"data/{one}", one) for one in inside)

    @contextmanager
    def _as_mistake(self, what: str) -> Iterator[None]:
        """An error outside a simulation is a UserError: the author of the class can fix it."""
        try:
            yield
        except AutoHarnessError:
            raise
        except _Wrong as wrong:
            raise UserError(f"benchmark: {what} of {self._name}: {one_line(str(wrong))}") from None
        except user_code.STOPS as error:
            raise UserError(f"benchmark: {what} of {self._name} raised {user_code.in_short(error)}") from error


def _spec(name: str) -> str:
    """module:Class, also if `name` is the name of an entry point."""
    points = [point.value for point in importlib.metadata.entry_points(group=BENCHMARKS) if point.name == name]
    return points[0] if points else name


def _load(name: str, spec: str) -> Any:
    """Raises UserError if the class is not a benchmark."""
    cls = user_code.load("benchmark", spec)
    if not all(hasattr(cls, method) for method in ("of", *_NEEDED)):
        raise UserError(f"benchmark: {name} is no subclass of BenchmarkRunner")
    if user_code.is_loose(cls):
        raise UserError(
            f"benchmark: {name} is one installed file: put it into the checkout's root, or into a package"
        )
    return cls


def _paths(data: Any) -> list[Path]:
    if not isinstance(data, list | tuple) or not all(isinstance(one, str | Path) for one in data):
        raise _Wrong(f"data is a list of paths, not {data!r:.80}")
    return [Path(one) for one in data]


def _ids(split: Any, ids: Any) -> list[str]:
    if not isinstance(split, str) or isinstance(ids, str | bytes):
        raise _Wrong(f"each split is a name with a list of task ids, not {split!r:.40}: {ids!r:.40}")
    found = list(ids)
    for one in found:
        if not isinstance(one, str) or not one.isprintable() or one != one.strip() or not one:
            raise _Wrong(f"a task id is a text that can be printed, not {one!r:.40}")
    return found


def _check_splits(splits: Mapping[str, list[str]]) -> None:
    for name in ("train", "test"):
        if not splits.get(name):
            raise _Wrong(f"there are no {name} tasks")
    for name, ids in splits.items():
        if len(set(ids)) < len(ids):
            raise _Wrong(f"a task of {name} is in it twice")
    if both := set(splits["train"]) & set(splits["test"]):
        raise _Wrong(f"test and train have {min(both)!r} in common")


def _check_texts(runner: Runner) -> None:
    """Raises now what other processes would raise later, without showing whose mistake it is."""
    if not isinstance(runner.policy, str) or not isinstance(runner.version, str):
        raise _Wrong("policy and version are texts")
    for tool in runner.tools:
        if not isinstance(tool, dict) or not isinstance(tool.get("function", {}).get("name"), str):
            raise _Wrong(f"a tool is such as {{'type': 'function', 'function': {{'name': ...}}}}, not {tool!r:.60}")
    strict_json.dumps({"policy": runner.policy, "tools": list(runner.tools)})


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"benchmark: {path}: {error.strerror}; {typed('prepare.py')} calls provide_data()") from error


def _sound(result: Any) -> Result:
    """Raises ValueError or TypeError if it is not a result: that is the benchmark's failure, and not a score."""
    if not isinstance(result, Result):
        raise TypeError(f"simulate() returned {type(result).__name__}, not Result")
    reward = float(result.reward)
    if not 0 <= reward <= 1:
        raise ValueError(f"simulate() gave reward {reward}: it lies in [0, 1]")
    checks = [Check(_short(one.what), bool(one.met), _short(one.why)) for one in islice(result.checks, _MOST_CHECKS)]
    return Result(reward, checks)


def _short(text: Any) -> str:
    return sendable(scrubbed(str(text)[:_LONGEST_CHECK_CHARS]))
