"""The experiment: every setting of a run, loaded once (`setting_sources`), typed and frozen, and passed down.

Each setting declares which values it takes and what it affects. Its checks, the keys of trials and the settings
identity (`trial_keys`) are made from that. Secrets are not settings; they stay in the environment or in `.env`.
"""

import copy
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from autoharness.core import setting_checks
from autoharness.core.endpoints import Endpoint
from autoharness.core.setting_checks import LARGEST, Check

CONFIG_FILE = Path("experiment_config.yaml")
AGENT_FILE = Path("agent/agent.py")

OFFLINE = "offline/"
"""Built-in models that need no key. They play together: the clerk understands no other customer."""
REPLAY = "replay/"
"""Recordings of conversations, in place of a model."""
SIMULATED = "simulated: the models are programs (docs/offline.md); this is no benchmark result"
"""What every command prints beside the results of offline models."""
SEQUENTIAL, RATCHET = "sequential", "ratchet"

SANDBOX, REQUIRED, PROCESS, NONE = "sandbox", "required", "process", "none"
PER_WORKER, PER_SIMULATION = "per_worker", "per_simulation"
PER_TASK, BY_TAU2, PER_ROLE = "per_task", "tau2", "per_role"
ROLES = ("agent", "user", "judge")

CODING_AGENTS = ("claude", "codex", "opencode", "gemini", "aider", "mini", "scripted")

HARNESS, STOCK, SOLO, ORACLE = "harness", "llm_agent", "llm_agent_solo", "llm_agent_gt"
"""Who plays the agent: the agent file, or a baseline agent of tau2, by tau2's name for it."""

BANKING = "banking_knowledge"
_NO_OTHERS = "embeddings, rerankers and shells pass by the gateway or the sandbox"
RETRIEVAL = ("no_knowledge", "full_kb", "golden_retrieval", "grep_only", "bm25", "bm25_grep")

BENCHMARK = "tau-bench"
BENCHMARKS = "auto_harness.benchmarks"
"""The group of entry points by which an installed package offers a benchmark."""
_BELOW = {"user": "agent", "judge": "user"}
"""If a role has no model and endpoint of its own: the role whose it uses."""


class Affects(StrEnum):
    """What changes if a setting is changed."""

    OUTCOME = "outcome"
    """How a simulation can end. It is in the key of every trial, and so in the settings identity."""
    GATE = "gate"
    """How the gate decides, from the same trials. It is in the settings identity alone."""
    NOTHING = "nothing"
    """Neither: what is run, where, how fast, how often again, for how much, what confirms it, who edits."""


OUTCOME, GATE, NOTHING = Affects


@dataclass(frozen=True)
class Setting:
    """What a setting declares, besides its name, type and default."""

    affects: Affects
    choices: tuple[str, ...] = ()
    """Empty if it takes any value."""
    why: str = ""
    """Why there are no other choices."""
    least: float = -LARGEST
    most: float = LARGEST
    check: Check | None = None
    """A further check of its value."""
    stored: str = ""
    """The part of a key, or "id", that has held it since the first vaults (`trial_keys`); those of one part are
    listed in the order in which they stand here. A new setting needs none: it goes by its own name, if it is not at
    its default."""
    counts_with: str = ""
    """The setting without which this one affects nothing."""
    once_left_out: bool = False
    """Whether older versions left it out of keys although it affects them: see `trial_keys.left_out`."""


def setting(default: Any, *, affects: Affects, **says: Any) -> Any:
    """A field of `Experiment`. `says`: fields of `Setting`."""
    metadata = {_SETTING: Setting(affects, **says)}
    if isinstance(default, dict | list):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


_SETTING = "setting"


@dataclass(frozen=True)
class Experiment:
    """The settings of `experiment_config.yaml`, resolved. A setting's name there is its name here."""

    benchmark: str = setting(
        BENCHMARK, affects=OUTCOME, check=setting_checks.benchmark(BENCHMARK, BENCHMARKS), stored="benchmark"
    )
    """tau-bench, or one of your own (docs/your-benchmark.md): module:Class, or the name of an entry point."""
    domain: str = setting("retail", affects=OUTCOME, stored="benchmark")
    """A domain of tau-bench. Your own benchmark has one set of tasks, which goes by its name."""
    split: str = setting("train", affects=NOTHING)
    gate_split: str = setting("test", affects=GATE, stored="id")
    """Its tasks are held out: they decide what is kept. A run shows their single results only with --reveal-held-out.

    `train:0.4` cuts that share out of train, by seed.
    """
    gate: str = setting("sequential", affects=GATE, choices=(SEQUENTIAL, RATCHET), stored="id")
    """The rule that decides whether an edit is kept; `ratchet` is the usual one."""
    max_trials: int = setting(8, affects=GATE, least=1, most=50, stored="id")
    """Trials of the candidate in each held-out task, for one verdict of the sequential gate."""
    confirm_split: str | None = setting(None, affects=NOTHING)
    """Used by `report.py --confirm` alone; default: gate_split."""
    confirm_trials: int = setting(4, affects=NOTHING, least=1, most=50)
    """Trials in each of its tasks, of baseline and best each."""
    agent_model: str = setting("gpt-5.4", affects=OUTCOME, stored="models")
    """Any litellm model, or replay/FILE."""
    user_model: str | None = setting(None, affects=OUTCOME, stored="models")
    """The user simulator's model; default: the agent's."""
    judge_model: str | None = setting(None, affects=OUTCOME, stored="models")
    """The model for rewards that need a judge; default: the user simulator's."""
    agent_url: str | None = setting(None, affects=OUTCOME, check=setting_checks.url, stored="endpoints")
    """Base URL of an OpenAI-compatible server (docs/endpoints.md): the model's name is sent to it unchanged."""
    agent_api_key_name: str | None = setting(None, affects=NOTHING, check=setting_checks.variable)
    """The environment variable with the key to that server, if it needs one."""
    user_url: str | None = setting(None, affects=OUTCOME, check=setting_checks.url, stored="endpoints")
    """The user simulator's server; the agent's if neither this nor user_model is set."""
    user_api_key_name: str | None = setting(None, affects=NOTHING, check=setting_checks.variable)
    judge_url: str | None = setting(None, affects=OUTCOME, check=setting_checks.url, stored="endpoints")
    """The judge's server; the user simulator's if neither this nor judge_model is set."""
    judge_api_key_name: str | None = setting(None, affects=NOTHING, check=setting_checks.variable)
    agent: str = setting(HARNESS, affects=OUTCOME, choices=(HARNESS, STOCK, SOLO, ORACLE), stored="control")
    """Who plays the agent: the harness, or a baseline agent, for `benchmark.py` alone."""
    user: str | None = setting(None, affects=OUTCOME, check=setting_checks.user_class, stored="user")
    """Your own user simulator, such as "users:Impatient": a class in a module (docs/tau2.md)."""
    retrieval_config: str = setting(
        "bm25", affects=OUTCOME, choices=RETRIEVAL, why=_NO_OTHERS, stored="retrieval_config"
    )
    """How the agent of banking_knowledge (tau2-bench 1.0.x) finds its documents; tau2's own default is alltools."""
    agent_llm_args: dict[str, Any] = setting(
        {"temperature": 0.0}, affects=OUTCOME, check=setting_checks.llm_args, stored="arguments"
    )
    """Arguments given to the agent, which may change them: a harness can choose its own temperature. Those that no
    agent may choose (top_k, extra_body, ...) are added to its requests."""
    user_llm_args: dict[str, Any] = setting(
        {"temperature": 0.0}, affects=OUTCOME, check=setting_checks.llm_args, stored="arguments"
    )
    reasoning_effort: str | None = setting(None, affects=OUTCOME, stored="arguments")
    judge_llm_args: dict[str, Any] | None = setting(None, affects=OUTCOME, check=setting_checks.llm_args)
    """Default: the arguments that tau2 itself uses for its judge, {temperature: 0.0}."""
    seed: int = setting(300, affects=OUTCOME, stored="seeds")
    """Root of the trial seeds, derived as tau2 derives them."""
    seeds: str | None = setting(None, affects=OUTCOME, choices=(PER_TASK, BY_TAU2, PER_ROLE), stored="seeds")
    """Which seed an LLM call has: its own for each task, trial and role, or the trial's for all tasks, as in tau2.

    Default: per_task; in a vault that an earlier version began, tau2. `per_role` is the per_task of earlier versions.
    """
    trials: int = setting(1, affects=GATE, least=1, most=1000, stored="id")
    max_concurrency: int = setting(3, affects=NOTHING, least=1)
    """Conversations in flight, over all workers."""
    executor: str = setting("local", affects=NOTHING, choices=("local", "ray"))
    """Where the workers are: processes on this machine, or actors of a Ray cluster."""
    ray_address: str | None = setting(None, affects=NOTHING)
    """Address of the cluster; default: the cluster that this machine is part of, otherwise one of its own."""
    threshold: float = setting(0.8, affects=GATE, least=0, most=1, stored="id")
    """The ratchet's floor for the pass rate of the regression suite."""
    max_steps: int = setting(200, affects=OUTCOME, least=1, stored="limits")
    max_errors: int = setting(10, affects=OUTCOME, least=1, stored="limits")
    """Failed tool calls that end a conversation."""
    max_llm_calls: int = setting(500, affects=OUTCOME, least=1, stored="limits")
    """LLM calls of the agent in one simulation."""
    max_simulation_cost_usd: float | None = setting(None, affects=OUTCOME, least=0, stored="limits")
    """Cost of the agent's LLM calls in one simulation: once it is reached, another call is refused."""
    max_simulation_tokens: int | None = setting(None, affects=OUTCOME, least=1, stored="limits")
    """Likewise, for prompt and completion tokens together."""
    max_run_llm_calls: int | None = setting(None, affects=NOTHING, least=1)
    """LLM calls of agent, user simulator and judge in all new simulations of one command; see `run_budget`."""
    max_run_tokens: int | None = setting(None, affects=NOTHING, least=1)
    max_run_cost_usd: float | None = setting(None, affects=NOTHING, least=0)
    isolation: str = setting(SANDBOX, affects=OUTCOME, choices=(SANDBOX, REQUIRED, PROCESS, NONE), stored="isolation")
    """How the agent's code is isolated (docs/isolation.md); `required` is the sandbox, or no run if the kernel lacks
    a part of it."""
    fresh_host: str = setting(PER_WORKER, affects=OUTCOME, choices=(PER_WORKER, PER_SIMULATION), stored="isolation")
    """Has no effect any more: each simulation has its own process. Keys of trials still tell the values apart."""
    agent_base_url: bool = setting(False, affects=OUTCOME, stored="isolation")
    """Serve the agent's code an OpenAI base URL, for a framework that brings its own client; opens TCP."""
    agent_memory_mb: int = setting(2048, affects=OUTCOME, least=256, stored="isolation")
    """Memory limit for the agent's code, all simulations of one process together."""
    agent_timeout_s: float = setting(60.0, affects=OUTCOME, least=0.1, stored="limits")
    """Time limit for the agent's own code in one turn; waiting for the LLM does not count."""
    timeout_s: float | None = setting(None, affects=OUTCOME, least=10)
    """Time limit for the agent's own code and the tools that it calls, in one conversation; waiting for LLMs and the
    user simulator does not count."""
    llm_timeout_s: float = setting(300.0, affects=OUTCOME, least=0.1, once_left_out=True)
    """Time limit for one LLM call. If an answer takes longer again and again while other requests get theirs, that
    is the agent's failure."""
    llm_retries: int = setting(5, affects=NOTHING, least=0)
    """Further tries of one LLM call that failed."""
    simulation_retries: int = setting(2, affects=NOTHING, least=0)
    """Further tries of a simulation that infrastructure failed."""
    max_outage_s: float = setting(3600.0, affects=NOTHING, least=0)
    """How long a command waits for a model that answers nothing; then it ends with exit code 2."""
    verify_sample: float = setting(0.0, affects=NOTHING, least=0, most=1)
    """The fraction of simulations that are scored again with unmodified tau2, without shared databases."""
    replay_tolerance: bool = setting(False, affects=OUTCOME)
    """Whether tau2's replay of a conversation passes over harmless differences in answers (docs/tau2.md)."""
    llm_cache: str = setting("off", affects=OUTCOME, choices=("off", "train", "all"))
    """Whether answers of LLM calls are kept, in "train" tasks or in "all": agent files that send the same request get
    the same answer."""
    prices: dict[str, Any] = setting(
        {}, affects=OUTCOME, check=setting_checks.prices, counts_with="max_simulation_cost_usd", once_left_out=True
    )
    """Prices by model, if litellm knows none: {input: USD, output: USD}, for a million tokens; with cached_input: USD
    if cached tokens cost less. They decide where a limit in dollars cuts a conversation."""
    coding_agent: str | None = setting(None, affects=NOTHING, choices=CODING_AGENTS)
    """Default: the first of them that is installed."""
    coding_agent_command: list[str] | None = setting(None, affects=NOTHING)
    """Command of any other coding agent; `{prompt}` stands for the prompt, `{prompt_file}` for its file; otherwise it
    comes on stdin."""
    coding_agent_args: list[str] = setting([], affects=NOTHING)
    """Further arguments of its command."""
    coding_model: str | None = setting(None, affects=NOTHING)
    """The coding agent's name for its model; default: its own default, for mini the agent's model."""
    coding_agent_timeout_s: float = setting(1800.0, affects=NOTHING, least=1)
    """Time limit for one edit."""
    coding_agent_turns: int = setting(100, affects=NOTHING, least=1)
    """Turns for one edit, for coding agents that take such a limit."""
    coding_agent_usd: float | None = setting(None, affects=NOTHING, least=0)
    """What one edit may cost, for coding agents that take such a limit. The others are charged this much if they do
    not say what they spent."""
    max_iterations: int = setting(50, affects=NOTHING, least=1)
    """These four limit the loop, all its runs together."""
    max_hours: float = setting(12.0, affects=NOTHING, least=0)
    max_usd: float | None = setting(None, affects=NOTHING, least=0)
    """Cost of coding agent, agent, user simulator and judge together."""
    max_without_gain: int = setting(5, affects=NOTHING, least=1)
    """Iterations in a row without an accepted edit."""
    tau2_data_source: str = setting("https://github.com/sierra-research/tau2-bench.git", affects=NOTHING)
    """Where prepare fetches the data of a tau2 that comes without it: a URL or a path of a git repository. Only the
    checksum of the data counts, not where it came from."""
    tau2_data_revision: str = setting("fc0055dc4e0a316c3f83133267fbd6faaa770992", affects=NOTHING)
    """Tag or commit there."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def simulated(self) -> bool:
        """Whether the models are programs of ours: then no result is a benchmark result."""
        return self.agent_model.startswith(OFFLINE)

    @property
    def on_tau2(self) -> bool:
        """Whether its tasks are tau2's, and not those of the user's own benchmark."""
        return self.benchmark == BENCHMARK

    @property
    def shares_seeds(self) -> bool:
        """Whether real models get one seed for all tasks of a trial, at a temperature over 0: luck is shared."""
        arguments = [self.agent_llm_args, *([self.user_llm_args] if self.on_tau2 else [])]
        draws = any(one.get("temperature") != 0 for one in arguments)
        return draws and bool(self.provider_models) and self.seeds not in (PER_TASK, PER_ROLE)

    @property
    def isolation_mode(self) -> str:
        """`required` is another name for the sandbox if that is complete."""
        return SANDBOX if self.isolation == REQUIRED else self.isolation

    def model_of(self, role: str) -> str:
        """The model of "agent", "user" or "judge", with the fallbacks applied."""
        if self.simulated:
            return {"agent": self.agent_model, "user": "offline/customer", "judge": "offline/judge"}[role]
        user_model = self.user_model or self.agent_model
        return {"agent": self.agent_model, "user": user_model, "judge": self.judge_model or user_model}[role]

    def endpoint_of(self, role: str) -> Endpoint | None:
        """The server of a role's model; None if litellm knows it by the model's name."""
        url = getattr(self, f"{role}_url")
        if url:
            return Endpoint(url, getattr(self, f"{role}_api_key_name"))
        falls_back = role in _BELOW and getattr(self, f"{role}_model") is None
        return self.endpoint_of(_BELOW[role]) if falls_back else None

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """By role, for the roles that have one."""
        found = {role: self.endpoint_of(role) for role in ROLES}
        return {role: endpoint for role, endpoint in found.items() if endpoint}

    @property
    def provider_models(self) -> set[str]:
        """Its models that are called over the network: neither recordings nor programs of ours."""
        models = {self.model_of(role) for role in ROLES}
        return {model for model in models if not model.startswith((OFFLINE, REPLAY))}

    @property
    def models_by_name(self) -> set[str]:
        """Those of them whose provider litellm finds by their names alone."""
        return {self.model_of(role) for role in ROLES if not self.endpoint_of(role)} & self.provider_models


SETTINGS: dict[str, Setting] = {one.name: one.metadata[_SETTING] for one in fields(Experiment)}
"""By name, in order."""
