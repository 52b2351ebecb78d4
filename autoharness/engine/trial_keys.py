"""Trial keys and the settings identity: which trials are the same, and which scores compare.

Each setting says what it affects (`settings`). The parts below date from the first vaults and keep their
words, whatever is printed today: if one of them changes, every trial that was paid for is run again. A later setting
is added under its own name if it is not at its default. So a new setting changes no key of a vault that does not use
it, and needs no code here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.files import locked, write_json
from autoharness.core.outcomes import digest
from autoharness.core.settings import (
    BANKING,
    BY_TAU2,
    GATE,
    HARNESS,
    NOTHING,
    OFFLINE,
    OUTCOME,
    PER_ROLE,
    PER_SIMULATION,
    PER_TASK,
    REPLAY,
    ROLES,
    SEQUENTIAL,
    SETTINGS,
    Affects,
    Experiment,
)
from autoharness.llm.offline import BEHAVIOUR
from autoharness.llm.replay import checksum
from autoharness.vault.ledger_chain import read
from autoharness.vault.store import Store

Json = dict[str, Any]
LeftOut = Mapping[str, list[Any]]
"""By setting: the values under which a vault has trials whose keys do not name that setting."""

_FILE = "left-out.json"
_LAYERS = ("network", "limits", "privileges", "files", "tcp", "signals", "calls")
"""The order in which keys name the layers, whatever the order in which they are put in force."""


def outcome_key(experiment: Experiment, facts: Json, left_out: LeftOut) -> Json:
    """All that a trial's outcome depends on, except the trial itself. `facts`: see `Measure`."""
    always: Json = {
        "tau2" if experiment.on_tau2 else "benchmark": {
            name: facts[name] for name in ("flavour", "version", "data_checksum")
        },
        "domain": experiment.domain,
        "models": {role: _model(experiment.model_of(role)) for role in ROLES},
        "arguments": _listed(experiment, "arguments"),
        "limits": _listed(experiment, "limits"),
        "isolation": [_isolation(experiment, facts["layers"]), experiment.agent_memory_mb],
    }
    return always | _if_used(experiment, facts) | _by_name(experiment, OUTCOME, left_out)


def _if_used(experiment: Experiment, facts: Json) -> Json:
    """The parts of the first vaults that a key has only if the experiment uses them."""
    parts: Json = {}
    if servers := {role: endpoint.url for role, endpoint in experiment.endpoints.items()}:
        parts["endpoints"] = servers  # another server may serve another model under the same name
    if experiment.agent != HARNESS:
        parts["control"] = experiment.agent
    if experiment.user:
        parts["user"] = [experiment.user, facts["user_sha256"]]
    if experiment.domain == BANKING:
        parts["retrieval_config"] = experiment.retrieval_config
    if seeds := drawn_by(experiment):
        parts["seeds"] = seeds
    return parts


def drawn_by(experiment: Experiment) -> list[Any]:
    """What the seeds of LLM calls depend on, besides the trial and its seed; empty if they are the trial's."""
    if experiment.seeds == PER_ROLE:
        return [PER_ROLE, experiment.seed]
    return [PER_TASK] if experiment.seeds == PER_TASK else []


def measure_id(experiment: Experiment, key: Json, gate_tasks: list[str]) -> str:
    """A digest that is equal for experiments whose held-out scores and verdicts compare. `key`: `outcome_key`."""
    rule: list[Any] = ["ratchet", experiment.threshold]
    if experiment.gate == SEQUENTIAL:
        rule = ["sequential", experiment.max_trials]
    since_the_first = [key, gate_tasks, experiment.seed, experiment.trials, rule]
    later = _by_name(experiment, GATE, {})
    return digest([*since_the_first, later] if later else since_the_first)


def changed(now: Experiment, then: Json) -> list[str]:
    """Names of the settings that count and have changed. `then`: the settings of a run or a row."""
    before = Experiment().to_json() | {"seeds": BY_TAU2} | then
    counting = [name for name, says in SETTINGS.items() if says.affects is not NOTHING]
    return [name for name in counting if getattr(now, name) != before[name]]


def left_out(store: Store, experiment: Experiment) -> LeftOut:
    """Values of settings that older versions left out of keys although they affect the outcome.

    See `Setting.once_left_out`. The trials of an older vault may have been run under any value that its runs and rows
    have or, if all of them were killed, under the present one. Under these values the setting stays out of the key,
    so that no trial is run again; under others it is in the key. This is settled once, when a version that knows the
    setting first opens the vault.
    """
    path, names = store.folder / _FILE, [name for name, says in SETTINGS.items() if says.once_left_out]
    if (known := _read(path)).keys() >= set(names):
        return known
    with locked(store.vault):  # two commands may begin at once
        known = _read(path)
        is_older = store.trial_files() or any((store.folder / "unfinished").glob("*"))
        had = [*_experiments(store), experiment.to_json()] if is_older else []
        for name in set(names) - known.keys():
            known[name] = _distinct(one[name] for one in had if name in one)
        write_json(path, known)
    return known


def _read(path: Path) -> dict[str, list[Any]]:
    """Raises UserError if the file is damaged: it tells under which keys trials are kept."""
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_bytes())
        if all(isinstance(values, list) for values in known.values()):
            return dict(known)
    except (ValueError, AttributeError, RecursionError):
        pass
    raise UserError(f"{path} is damaged: restore it; without it trials would be looked for under other keys")


def _experiments(store: Store) -> Iterator[Json]:
    """The settings of all runs and rows in the vault."""
    for run in store.runs():
        yield run.get("experiment", {})
    for row in read(store):
        yield row.experiment


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _by_name(experiment: Experiment, affects: Affects, left_out: LeftOut) -> Json:
    default = Experiment()
    found: Json = {}
    for name, says in SETTINGS.items():
        value = getattr(experiment, name)
        if says.affects is not affects or says.stored or value in [getattr(default, name), *left_out.get(name, ())]:
            continue
        if not says.counts_with or getattr(experiment, says.counts_with) is not None:
            found[name] = value
    return found


def _model(name: str) -> str:
    """A recording is named by its contents, the offline model by its behaviour."""
    if name.startswith(REPLAY):
        return f"{REPLAY}{checksum(Path(name.removeprefix(REPLAY)))}"
    return f"{name} {BEHAVIOUR}" if name.startswith(OFFLINE) else name


def _listed(experiment: Experiment, part: str) -> list[Any]:
    return [getattr(experiment, name) for name, says in SETTINGS.items() if says.stored == part]


def _isolation(experiment: Experiment, layers: dict[str, str]) -> str:
    """The text was once the printed one. It stays as it is, whatever is printed now; `required` is the sandbox."""
    lacks = [layer for layer, why in layers.items() if why]
    lacks.sort(key=lambda layer: _LAYERS.index(layer) if layer in _LAYERS else len(_LAYERS))
    text = experiment.isolation_mode
    text += f" without {', '.join(lacks)}" if lacks else ""
    text += ", with a base URL" if experiment.agent_base_url else ""
    text += ", a fresh host for each simulation" if experiment.fresh_host == PER_SIMULATION else ""
    return text
