"""The experiment: every setting of a run, loaded once (`settings`), typed and frozen, and passed down.

Secrets are not settings; they stay in the environment or in `.env`.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoharness.endpoints import Endpoint
from autoharness.errors import UserError

CONFIG_FILE = Path("experiment_config.yaml")
AGENT_FILE = Path("agent/agent.py")

OFFLINE = "offline/"
"""Models of our own that need no key. They play together: the clerk understands no other customer."""
REPLAY = "replay/"
"""Recordings of conversations, in place of a model."""
SIMULATED = "simulated: the models are programs (docs/offline.md); this is no benchmark result"
"""What every command prints beside the results of such models."""
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
_BELOW = {"user": "agent", "judge": "user"}
"""Whose model and endpoint a role has that has none of its own."""


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


def check_choice(name: str, value: str, choices: Sequence[str], source: str = "") -> None:
    """Raises UserError, with the nearest right spelling, where `value` is not one of `choices`."""
    if value not in choices:
        raise UserError(f"{place(source)}{name}: {value!r} is unknown{nearest(value, choices)}")


_MILLION = 1_000_000


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


def place(source: str) -> str:
    return f"{source}: " if source else ""


def nearest(value: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(choices))}"
