"""The experiment: every setting of a run, loaded once, typed and frozen, and passed down.

Precedence: command line, then `experiment_config.yaml`, then the environment (AGENT_MODEL), then the default.
Secrets are not settings; they stay in the environment or in `.env`.
"""

import difflib
import importlib.metadata
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from autoharness.endpoints import Endpoint, base_url, is_variable
from autoharness.errors import UserError

CONFIG_FILE = Path("experiment_config.yaml")
AGENT_FILE = Path("agent/agent.py")

OFFLINE = "offline/"
"""Models of our own that need no key. They play together: the clerk understands no other customer."""
REPLAY = "replay/"
"""Recordings of conversations, in place of a model."""
SIMULATED = "simulated: the models are programs (docs/offline.md); this is no benchmark result"
"""What every command prints beside the results of such models."""
_OFFLINE_ROLES = {
    "agent_model": ("offline/clerk", "offline/faultless-clerk"),
    "user_model": ("offline/customer",),
    "judge_model": ("offline/judge",),
}

SEQUENTIAL, RATCHET = "sequential", "ratchet"

SANDBOX, REQUIRED, PROCESS, NONE = "sandbox", "required", "process", "none"
PER_WORKER, PER_SIMULATION = "per_worker", "per_simulation"
BY_TAU2, PER_ROLE = "tau2", "per_role"
ROLES = ("agent", "user", "judge")

CODING_AGENTS = ("claude", "codex", "opencode", "gemini", "aider", "mini", "scripted")

HARNESS, STOCK, SOLO, ORACLE = "harness", "llm_agent", "llm_agent_solo", "llm_agent_gt"
"""Who plays the agent: our agent file, or a control, an agent of tau2's own by tau2's name for it."""

BANKING = "banking_knowledge"
RETRIEVAL = ("no_knowledge", "full_kb", "golden_retrieval", "grep_only", "bm25", "bm25_grep")

BENCHMARK = "tau-bench"
BENCHMARKS = "auto_harness.benchmarks"
"""The entry points by which an installed package offers a benchmark."""
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_NOT_SUPPORTED_YET = ("terminal-bench", "bird-interact")
_SECRETS = (
    *("api_key", "api-key", "access_key", "access_key_id", "session_token", "ad_token", "credentials", "password"),
    "authorization",
)
"""How the names of arguments end that are no settings."""
_ADDRESSES = ("base_url", "api_base")
"""Arguments that would send a model's requests, and a key, somewhere else."""
_BELOW = {"user": "agent", "judge": "user"}
"""Whose model and endpoint a role has that has none of its own."""
_ENVIRONMENT = {"agent_model": "AGENT_MODEL"}


@dataclass(frozen=True)
class Experiment:
    """The settings of `experiment_config.yaml`, resolved. A setting's name there is its name here."""

    benchmark: str = BENCHMARK
    """tau-bench, or one of your own (docs/your-benchmark.md): module:Class, or the name of an entry point."""
    domain: str = "retail"
    """Of tau-bench. A benchmark of your own has one set of tasks, which goes by its name."""
    split: str = "train"
    gate_split: str = "test"
    """Its tasks are held out: they decide what is kept, and no run shows their single results.

    `train:0.4` cuts that share out of train, by seed.
    """
    gate: str = "sequential"
    """The rule by which an edit is kept; `ratchet` is the usual one."""
    max_trials: int = 8
    """Of the candidate in each held-out task, for one verdict of the sequential gate."""
    confirm_split: str | None = None
    """Touched by `report.py --confirm` alone; gate_split where not set."""
    confirm_trials: int = 4
    """Of baseline and best each, in each of its tasks."""
    agent_model: str = "gpt-5.4"
    """Any litellm model, or replay/FILE."""
    user_model: str | None = None
    """The user simulator's; the agent's model where not set."""
    judge_model: str | None = None
    """For rewards that need a judge; the user simulator's model where not set."""
    agent_url: str | None = None
    """Of a server that speaks OpenAI's protocol (docs/endpoints.md): the model's name is sent to it as it is."""
    agent_api_key_name: str | None = None
    """The environment variable with the key to that server, where it asks for one."""
    user_url: str | None = None
    """The user simulator's; the agent's where neither this nor user_model is set."""
    user_api_key_name: str | None = None
    judge_url: str | None = None
    """The judge's; the user simulator's where neither this nor judge_model is set."""
    judge_api_key_name: str | None = None
    agent: str = HARNESS
    """Who plays it; another than the harness is a control, for `benchmark.py` alone."""
    user: str | None = None
    """A user simulator of one's own, such as "users:Impatient": a class in a module (docs/tau2.md)."""
    retrieval_config: str = "bm25"
    """How the agent of banking_knowledge (tau2-bench 1.0.x) finds its documents; tau2's own default is alltools."""
    reasoning_effort: str | None = None
    agent_llm_args: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0})
    """Given to the agent, which may change them: a harness can choose its own temperature."""
    user_llm_args: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0})
    judge_llm_args: dict[str, Any] | None = None
    """Those that tau2 asks its judge with where not set: {temperature: 0.0}."""
    seed: int = 300
    """Root of the trial seeds, derived as tau2 derives them."""
    seeds: str = BY_TAU2
    """Which seed a model is asked with: the trial's, or one that is its role's and its task's own."""
    trials: int = 1
    max_concurrency: int = 3
    """Conversations in flight, over all workers."""
    executor: str = "local"
    """Where the workers are: processes on this machine, or actors of a Ray cluster."""
    ray_address: str | None = None
    """Of the cluster; where not set, the one that this machine is part of, or one of its own."""
    threshold: float = 0.8
    """The ratchet's floor for the pass rate of the regression suite."""
    max_steps: int = 200
    max_errors: int = 10
    """Failed tool calls that end a conversation."""
    max_llm_calls: int = 500
    """Of the agent, in one simulation."""
    max_simulation_cost_usd: float | None = None
    """Of the agent's LLM, in one simulation: that is what its calls may cost before another one is refused."""
    max_simulation_tokens: int | None = None
    """Likewise, of prompts and completions together."""
    max_run_llm_calls: int | None = None
    """Of agent, user simulator and judge in all new simulations of one command; see `budget`."""
    max_run_tokens: int | None = None
    max_run_cost_usd: float | None = None
    isolation: str = SANDBOX
    """How the agent's code is kept apart (docs/isolation.md); `required` is the sandbox, or no run where the kernel
    lacks a part of it."""
    fresh_host: str = PER_WORKER
    """Whether the simulations of a worker share a process for the agent's code, or each has its own."""
    agent_base_url: bool = False
    """Serve the agent's code an OpenAI base URL, for a framework that brings its own client; opens TCP."""
    agent_memory_mb: int = 2048
    """For the agent's code, all simulations of one process together."""
    agent_timeout_s: float = 60.0
    """For the agent's own code in one turn; waiting for the LLM does not count."""
    timeout_s: float | None = None
    """For the agent's own code and the tools that it calls, in one conversation; waiting for LLMs and the user
    simulator does not count."""
    llm_timeout_s: float = 300.0
    """For one LLM call."""
    llm_retries: int = 5
    """Further tries of one LLM call that failed."""
    simulation_retries: int = 2
    """Further tries of a simulation that infrastructure failed."""
    verify_sample: float = 0.0
    """The share of simulations that are scored once more on tau2's plain path, without shared databases."""
    replay_tolerance: bool = False
    """Whether tau2's replay of a conversation passes over harmless differences in answers (docs/tau2.md)."""
    llm_cache: str = "off"
    """Whether answers of LLM calls are kept, in "train" tasks or in "all": agent files that ask the same are answered
    alike."""
    prices: dict[str, Any] = field(default_factory=dict)
    """By model, where litellm knows none: {input: USD, output: USD}, for a million tokens."""
    coding_agent: str | None = None
    """Where not set, the first of them that is installed."""
    coding_agent_command: list[str] | None = None
    """Of any other; `{prompt}` stands for the prompt, `{prompt_file}` for its file; else it comes on stdin."""
    coding_agent_args: list[str] = field(default_factory=list)
    """Further arguments of its command."""
    coding_model: str | None = None
    """As the coding agent names it; its own default where not set, for mini the agent's model."""
    coding_agent_timeout_s: float = 1800.0
    """For one edit."""
    coding_agent_turns: int = 100
    """For one edit, of those agents that take such a limit."""
    coding_agent_usd: float | None = None
    """What one edit may cost: the limit of those agents that take one. The others are charged with it where they do
    not say what they spent."""
    max_iterations: int = 50
    """These four: of the loop, all its runs together."""
    max_hours: float = 12.0
    max_usd: float | None = None
    """Of coding agent, agent, user simulator and judge together."""
    max_without_gain: int = 5
    """Iterations in a row without an accepted edit."""
    tau2_data_source: str = "https://github.com/sierra-research/tau2-bench.git"
    """Where prepare fetches the data of a tau2 that comes without it: a URL or a path of a git repository."""
    tau2_data_revision: str = "fc0055dc4e0a316c3f83133267fbd6faaa770992"
    """Tag or commit there."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def simulated(self) -> bool:
        """Whether the models are programs of ours: then nothing that comes out is a benchmark result."""
        return self.agent_model.startswith(OFFLINE)

    @property
    def on_tau2(self) -> bool:
        """Whether its tasks are tau2's, and not those of a benchmark of one's own."""
        return self.benchmark == BENCHMARK

    @property
    def isolation_mode(self) -> str:
        """`required` is the sandbox, by another name where that is whole."""
        return SANDBOX if self.isolation == REQUIRED else self.isolation

    def model_of(self, role: str) -> str:
        """The model of "agent", "user" or "judge", with the fallbacks applied."""
        if self.simulated:
            return {"agent": self.agent_model, "user": "offline/customer", "judge": "offline/judge"}[role]
        user_model = self.user_model or self.agent_model
        return {"agent": self.agent_model, "user": user_model, "judge": self.judge_model or user_model}[role]

    def endpoint_of(self, role: str) -> Endpoint | None:
        """Where the model of a role is asked; None where litellm knows that by its name."""
        url = getattr(self, f"{role}_url")
        if url:
            return Endpoint(url, getattr(self, f"{role}_api_key_name"))
        falls_back = role in _BELOW and getattr(self, f"{role}_model") is None
        return self.endpoint_of(_BELOW[role]) if falls_back else None

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Of those roles that have one."""
        found = {role: self.endpoint_of(role) for role in ROLES}
        return {role: endpoint for role, endpoint in found.items() if endpoint}

    @property
    def provider_models(self) -> set[str]:
        """Its models that are asked over the network: neither recordings nor programs of ours."""
        models = {self.model_of(role) for role in ROLES}
        return {model for model in models if not model.startswith((OFFLINE, REPLAY))}

    @property
    def models_by_name(self) -> set[str]:
        """Those of them that litellm finds a provider for, by their names alone."""
        return {self.model_of(role) for role in ROLES if not self.endpoint_of(role)} & self.provider_models


_TYPES = get_type_hints(Experiment)
_NOT_FOR_TEXT = ("hallucination_retries",)
_LARGEST = 10**12
_MILLION = 1_000_000
_RANGES: dict[str, tuple[float, float]] = {
    "trials": (1, 1000),
    "max_trials": (1, 50),
    "confirm_trials": (1, 50),
    "max_concurrency": (1, _LARGEST),
    "max_steps": (1, _LARGEST),
    "max_errors": (1, _LARGEST),
    "max_llm_calls": (1, _LARGEST),
    "llm_retries": (0, _LARGEST),
    "simulation_retries": (0, _LARGEST),
    "threshold": (0, 1),
    "verify_sample": (0, 1),
    "agent_timeout_s": (0.1, _LARGEST),
    "agent_memory_mb": (256, _LARGEST),
    "timeout_s": (0.1, _LARGEST),
    "llm_timeout_s": (0.1, _LARGEST),
    "max_simulation_cost_usd": (0, _LARGEST),
    "max_simulation_tokens": (1, _LARGEST),
    "max_run_llm_calls": (1, _LARGEST),
    "max_run_tokens": (1, _LARGEST),
    "max_run_cost_usd": (0, _LARGEST),
    "coding_agent_timeout_s": (1, _LARGEST),
    "coding_agent_turns": (1, _LARGEST),
    "coding_agent_usd": (0, _LARGEST),
    "max_iterations": (1, _LARGEST),
    "max_hours": (0, _LARGEST),
    "max_usd": (0, _LARGEST),
    "max_without_gain": (1, _LARGEST),
}

_URLS = {f"{role}_url" for role in ROLES}
_KEY_NAMES = {f"{role}_api_key_name" for role in ROLES}
_LLM_ARGS = "_llm_args"
_CHOICES = {
    "executor": ("local", "ray"),
    "llm_cache": ("off", "train", "all"),
    "seeds": (BY_TAU2, PER_ROLE),
    "gate": (SEQUENTIAL, RATCHET),
    "isolation": (SANDBOX, REQUIRED, PROCESS, NONE),
    "fresh_host": (PER_WORKER, PER_SIMULATION),
    "coding_agent": CODING_AGENTS,
    "agent": (HARNESS, STOCK, SOLO, ORACLE),
}


@dataclass(frozen=True)
class Resolved:
    """The experiment, and for each setting where its value came from."""

    experiment: Experiment
    sources: dict[str, str]


def resolve(
    command_line: Mapping[str, Any],
    file: Path | None = None,
    assignments: Sequence[str] | None = None,
    controls: bool = False,
    cell: tuple[str, Mapping[str, Any]] = ("", {}),
) -> Resolved:
    """Merge the four sources. `command_line` holds what was typed: a value of None was not.

    `file` must exist where it is named; the default file may be missing. `assignments`: settings by any name, each as
    NAME=VALUE; an empty value is the default, whatever the file says. `controls`: whether the command can run another
    agent than the harness. `cell`: the settings of one run of several, and where they stand. Raises UserError.
    """
    path = file or CONFIG_FILE
    from_file = read_file(path) if file or path.exists() else {}
    assigned = _assigned(assignments or ())
    twice = [name for name in assigned if command_line.get(name) is not None]
    if twice:
        raise UserError(f"command line: {twice[0]} is given twice")
    unset = {name for name, value in assigned.items() if value is None}
    below = [_environment(), (str(path), from_file)]
    kept = [(source, {name: one[name] for name in one if name not in unset}) for source, one in below]
    resolved = _merge([*kept, cell, ("command line", {**command_line, **assigned})])
    agent = resolved.experiment.agent
    if agent != HARNESS and not controls:
        run = f"run it with benchmark.py --agent {agent}"
        raise UserError(f"{_place(resolved.sources['agent'])}agent: {agent} is a control: take it out, and {run}")
    return resolved


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        option = f"--set {' '.join(name.split())[:40]}"
        if not equals:
            raise UserError(f"{option}: expected NAME=VALUE, such as --set trials=4")
        if name in values:
            raise UserError(f"{option} is given twice")
        values[name] = read_value(text, option)
    return values


def from_settings(settings: Mapping[str, Any]) -> Experiment:
    """An experiment from Python: the given settings that are not None, then the environment. Raises UserError."""
    return _merge([_environment(), ("", settings)]).experiment


def _environment() -> tuple[str, dict[str, str]]:
    found = {name: os.environ[variable] for name, variable in _ENVIRONMENT.items() if os.environ.get(variable)}
    return "environment", found


def _merge(layers: list[tuple[str, Mapping[str, Any]]]) -> Resolved:
    """The later layer wins; a value of None says nothing."""
    values: dict[str, Any] = {}
    sources = {setting.name: "default" for setting in fields(Experiment)}
    for source, settings in layers:
        for name, value in settings.items():
            checked = _checked(name, value, source)
            if value is not None:
                values[name], sources[name] = checked, source
    experiment = _with_domain(Experiment(**values), sources)
    _check_offline(experiment, sources)
    _check_endpoints(experiment, sources)
    return Resolved(experiment, sources)


def _with_domain(experiment: Experiment, sources: Mapping[str, str]) -> Experiment:
    """Of a benchmark of one's own: its name, since records and files go by domain."""
    if experiment.on_tau2:
        return experiment
    name = experiment.benchmark.rpartition(":")[2]
    if experiment.agent != HARNESS:
        raise UserError(f"{_place(sources['agent'])}agent: {experiment.agent} is tau2's, and plays its tasks alone")
    if sources["domain"] != "default" and experiment.domain != name:
        raise UserError(f"{_place(sources['domain'])}domain: {experiment.benchmark} has no domains: take it out")
    return replace(experiment, domain=name)


def _check_offline(experiment: Experiment, sources: Mapping[str, str]) -> None:
    """The offline models play with each other alone, each its own role."""
    if experiment.user and experiment.agent == SOLO:
        raise UserError(f"user: {experiment.user}: {SOLO} talks to nobody")
    if experiment.simulated and experiment.agent == SOLO:
        raise UserError(f"agent: {SOLO} needs a real model: {experiment.agent_model} talks to a customer")
    for name, known in _OFFLINE_ROLES.items():
        model, place = getattr(experiment, name), _place(sources[name])
        if model is None:
            continue
        if model.startswith(OFFLINE):
            check_choice(name, model, known, sources[name])
        if model.startswith(OFFLINE) != experiment.simulated:
            raise UserError(f"{place}{name}: {model} does not play with agent_model {experiment.agent_model}")


def _check_endpoints(experiment: Experiment, sources: Mapping[str, str]) -> None:
    """A key belongs to a server, and a server to a model that is asked over the network."""
    for role in ROLES:
        url, key_name, model = f"{role}_url", f"{role}_api_key_name", experiment.model_of(role)
        if getattr(experiment, url) is None:
            if getattr(experiment, key_name) is not None:
                raise UserError(f"{_place(sources[key_name])}{key_name}: set {url} too, whose key it is")
        elif model.startswith((OFFLINE, REPLAY)):
            no_url = f"take it out, or add --set {url}= to the command"
            raise UserError(f"{_place(sources[url])}{url}: {model} is asked on no server: {no_url}")


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a configuration file. Raises UserError."""
    try:
        settings = read_value(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; start from: cp experiment_config.yaml.template {path}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected lines of the form 'setting: value', not {settings!r:.40}")
    _check_benchmark(settings.get("benchmark"), str(path))  # first: another benchmark has other settings
    return settings


def read_value(text: str | bytes, source: str) -> Any:
    """YAML, and so JSON too. Raises UserError."""
    import yaml

    try:
        return yaml.safe_load(text.decode() if isinstance(text, bytes) else text)
    except Exception as error:  # besides its own errors, yaml raises what int() or date() raise for a value
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())[:200]}") from error


def check_choice(name: str, value: str, choices: Sequence[str], source: str = "") -> None:
    """Raises UserError, with the nearest right spelling, where `value` is not one of `choices`."""
    if value not in choices:
        raise UserError(f"{_place(source)}{name}: {value!r} is unknown{_nearest(value, choices)}")


def _check_benchmark(value: Any, source: str) -> None:
    """Whether there is a class behind module:Class, a worker finds out."""
    if value is None or _CLASS.fullmatch(str(value)):
        return
    if value in _NOT_SUPPORTED_YET:
        own = "or bring it yourself (docs/your-benchmark.md)"
        raise UserError(f"{source}: benchmark {value} is not supported yet; set benchmark: {BENCHMARK}, {own}")
    offered = [point.name for point in importlib.metadata.entry_points(group=BENCHMARKS)]
    check_choice("benchmark", str(value), [BENCHMARK, *offered], source)


def _checked(name: str, value: Any, source: str) -> Any:
    if name in _NOT_FOR_TEXT:
        raise UserError(f"{_place(source)}{name}: tau2 has it for voice alone, and here all conversations are text")
    if name not in _TYPES:
        raise UserError(f"{_place(source)}unknown setting {str(name)!r}{_nearest(str(name), list(_TYPES))}")
    if value is None:
        return None  # an empty line in the file: the default
    kinds = _kinds(name)
    if type(value) is int and float in kinds:
        value = float(value) if abs(value) < _LARGEST else math.inf
    if type(value) not in kinds or not _is_plain(value):
        wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise UserError(f"{_place(source)}{name} must be {wanted}, not {value!r:.80}")
    low, high = _RANGES.get(name, (-_LARGEST, _LARGEST))
    if isinstance(value, int | float) and not low <= value <= high:
        bound = f"at least {low:g}" if value < low else f"at most {high:g}"
        raise UserError(f"{_place(source)}{name} must be {bound}, not {str(value)[:40]}")
    if name == "benchmark":
        _check_benchmark(value, source)
    if isinstance(value, list) and not all(isinstance(word, str) and word for word in value):
        raise UserError(f"{_place(source)}{name} must be a list of words, not {value!r:.80}")
    if isinstance(value, dict):
        _check_no_secret(name, value, source)
    if name in _URLS:
        return _checked_url(name, value, source)
    if name in _KEY_NAMES and not is_variable(value):
        what = "the name of an environment variable, in capitals, such as MY_API_KEY"
        raise UserError(f"{_place(source)}{name} must be {what}; the key itself belongs into .env")
    if name == "prices":
        _check_prices(value, source)
    if name == "user" and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value):
        raise UserError(
            f"{_place(source)}user: must be such as 'users:Impatient', a class in a module, not {value!r:.80}"
        )
    if name == "retrieval_config":
        _check_retrieval(value, source)
    if name in _CHOICES:
        check_choice(name, value, _CHOICES[name], source)
    return value


def _check_no_secret(name: str, value: Mapping[str, Any], source: str) -> None:
    """Settings stand in every record, report and export."""
    for argument, inner in value.items():
        if argument.lower().endswith(_SECRETS):
            raise UserError(f"{_place(source)}{name}: {argument} would be written down everywhere: put it into .env")
        if name.endswith(_LLM_ARGS) and argument in _ADDRESSES:
            role = name.removesuffix(_LLM_ARGS)
            raise UserError(f"{_place(source)}{name}: {argument}: set {role}_url instead (docs/endpoints.md)")
        if isinstance(inner, dict):
            _check_no_secret(name, inner, source)


def _checked_url(name: str, value: str, source: str) -> str:
    try:
        return base_url(value)
    except ValueError as error:
        raise UserError(f"{_place(source)}{name} {error}") from None


def _check_retrieval(value: str, source: str) -> None:
    """What asks an embedding service or a reranker goes past the gateway; a shell runs beside keys and answers."""
    if value not in RETRIEVAL:
        why = "embeddings, rerankers and shells pass by the gateway or the sandbox"
        offered = ", ".join(RETRIEVAL)
        raise UserError(f"{_place(source)}retrieval_config: {value!r} is not offered ({why}); there is {offered}")


def _check_prices(prices: Mapping[str, Any], source: str) -> None:
    for model, price in prices.items():
        sound = isinstance(price, dict) and set(price) == {"input", "output"}
        if not sound or not all(type(usd) in (int, float) and 0 <= usd < _LARGEST for usd in price.values()):
            wanted = "{input: 1.25, output: 10.0}, in USD for a million tokens"
            raise UserError(f"{_place(source)}prices: {model}: must be such as {wanted}, not {price!r:.60}")


def litellm_prices(prices: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The prices of the configuration, in USD for a million tokens, as litellm takes them."""
    return {
        model: {
            "input_cost_per_token": price["input"] / _MILLION,
            "output_cost_per_token": price["output"] / _MILLION,
            "litellm_provider": model.partition("/")[0] if "/" in model else "openai",
            "mode": "chat",
        }
        for model, price in prices.items()
    }


def _is_plain(value: Any) -> bool:
    """Whether a value can be written down as JSON and says something."""
    try:
        return bool(value != "" and json.loads(json.dumps(value, allow_nan=False)) == value)
    except (ValueError, TypeError, RecursionError):
        return False


def _kinds(name: str) -> tuple[type, ...]:
    """The plain types that a setting takes."""
    hint = _TYPES[name]
    hints = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(one) or one for one in hints)


def _place(source: str) -> str:
    return f"{source}: " if source else ""


def _nearest(value: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(choices))}"
