"""Loads and validates an experiment's settings from the command line, the configuration file and the environment.

Precedence: command line, then `experiment_config.yaml`, then the environment (AGENT_MODEL), then the default. Unknown
or invalid settings are rejected with one line that names their source.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.exhausted import line_of
from autoharness.core.setting_checks import LARGEST, check_choice, check_no_secret, check_range, nearest, place
from autoharness.core.settings import (
    CONFIG_FILE,
    HARNESS,
    OFFLINE,
    REPLAY,
    ROLES,
    SETTINGS,
    SOLO,
    Experiment,
)

_OFFLINE_ROLES = {
    "agent_model": ("offline/clerk", "offline/faultless-clerk"),
    "user_model": ("offline/customer",),
    "judge_model": ("offline/judge",),
}

_ENVIRONMENT = {"agent_model": "AGENT_MODEL"}
_TYPES = get_type_hints(Experiment)
_NOT_FOR_TEXT = ("hallucination_retries",)


@dataclass(frozen=True)
class Resolved:
    """The experiment, and for each setting where its value came from."""

    experiment: Experiment
    sources: dict[str, str]


def resolve(
    command_line: Mapping[str, Any],
    file: Path | None = None,
    assignments: Sequence[str] | None = None,
    baseline_agents: bool = False,
    cell: tuple[str, Mapping[str, Any]] = ("", {}),
) -> Resolved:
    """Merge the four sources. `command_line` holds what was typed; None means that it was not typed.

    `file` must exist if it is named; the default file may be missing. `assignments`: any settings, each as
    NAME=VALUE; an empty value means the default, whatever the file says. `baseline_agents`: whether the command can
    run those. `cell`: the source and the settings of one run of several. Raises UserError.
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
    if agent != HARNESS and not baseline_agents:
        run = f"run it with: {typed(f'benchmark.py --agent {agent}')}"
        raise UserError(
            f"{place(resolved.sources['agent'])}agent: {agent} is a baseline agent: take it out, and {run}"
        )
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
    """A later layer wins; a value of None is ignored."""
    values: dict[str, Any] = {}
    sources = {setting.name: "default" for setting in fields(Experiment)}
    for source, settings in layers:
        for name, value in settings.items():
            checked = _checked(name, value, source)
            if value is not None:
                values[name], sources[name] = checked, source
    experiment = _with_domain(Experiment(**values), sources)
    _check_roles(experiment, sources)
    _check_endpoints(experiment, sources)
    return Resolved(experiment, sources)


def _with_domain(experiment: Experiment, sources: Mapping[str, str]) -> Experiment:
    """Set the domain of the user's own benchmark to its name, since records and files are sorted by domain."""
    if experiment.on_tau2:
        return experiment
    name = experiment.benchmark.rpartition(":")[2]
    if experiment.agent != HARNESS:
        raise UserError(f"{place(sources['agent'])}agent: {experiment.agent} is tau2's, and plays its tasks alone")
    if sources["domain"] != "default" and experiment.domain != name:
        raise UserError(f"{place(sources['domain'])}domain: {experiment.benchmark} has no domains: take it out")
    return replace(experiment, domain=name)


def _check_roles(experiment: Experiment, sources: Mapping[str, str]) -> None:
    """The solo agent has no user simulator, and offline models play only with each other."""
    if experiment.user and experiment.agent == SOLO:
        raise UserError(f"user: {experiment.user}: {SOLO} talks to nobody")
    if experiment.simulated and experiment.agent == SOLO:
        raise UserError(f"agent: {SOLO} needs a real model: {experiment.agent_model} talks to a customer")
    for name, known in _OFFLINE_ROLES.items():
        model, where = getattr(experiment, name), place(sources[name])
        if model is None:
            continue
        if model.startswith(OFFLINE):
            check_choice(name, model, known, sources[name])
        if model.startswith(OFFLINE) != experiment.simulated:
            role = name.removesuffix("_model")
            how = f"take {name} out: the {role}'s model is then {experiment.model_of(role)}"
            if not experiment.simulated:
                how = f"set {name} to a model that is asked over the network, or take it out: it is the agent's then"
            pair = f"{model} does not play with agent_model {experiment.agent_model}"
            raise UserError(f"{where}{name}: {pair}: programs play with programs alone; {how}")


def _check_endpoints(experiment: Experiment, sources: Mapping[str, str]) -> None:
    """A key belongs to a server, and a server to a model that is asked over the network."""
    for role in ROLES:
        url, key_name, model = f"{role}_url", f"{role}_api_key_name", experiment.model_of(role)
        if getattr(experiment, url) is None:
            if getattr(experiment, key_name) is not None:
                raise UserError(f"{place(sources[key_name])}{key_name}: set {url} too, whose key it is")
        elif model.startswith((OFFLINE, REPLAY)):
            no_url = f"take it out, or add --set {url}= to the command"
            raise UserError(f"{place(sources[url])}{url}: {model} is asked on no server: {no_url}")


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a configuration file. Raises UserError."""
    try:
        settings = read_value(path.read_bytes(), str(path))
    except PermissionError as error:
        raise UserError(line_of(error)) from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; start from: cp experiment_config.yaml.template {path}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected lines of the form 'setting: value', not {settings!r:.40}")
    if check := SETTINGS["benchmark"].check:
        check("benchmark", settings.get("benchmark"), str(path))  # first: another benchmark has other settings
    return settings


def read_value(text: str | bytes, source: str) -> Any:
    """YAML, and so JSON too. Raises UserError."""
    import yaml

    try:
        return yaml.safe_load(text.decode() if isinstance(text, bytes) else text)
    except Exception as error:  # besides its own errors, yaml raises what int() or date() raise for a value
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())[:200]}") from error


def _checked(name: str, value: Any, source: str) -> Any:
    if name in _NOT_FOR_TEXT:
        raise UserError(f"{place(source)}{name}: tau2 has it for voice alone, and here all conversations are text")
    if name not in SETTINGS:
        raise UserError(f"{place(source)}unknown setting {str(name)!r}{nearest(str(name), list(SETTINGS))}")
    if value is None:
        return None  # an empty line in the file: the default
    value, says = _of_its_type(name, value, source), SETTINGS[name]
    if isinstance(value, int | float):
        check_range(name, value, says.least, says.most, source)
    if isinstance(value, dict):
        check_no_secret(name, value, source)
    if says.check:
        value = says.check(name, value, source)
    if says.choices:
        check_choice(name, value, says.choices, source, says.why)
    return value


def _of_its_type(name: str, value: Any, source: str) -> Any:
    kinds = _kinds(name)
    if type(value) is int and float in kinds:
        value = float(value) if abs(value) < LARGEST else math.inf
    if isinstance(value, dict) and dict in kinds and not _is_plain(value):
        raise UserError(f"{place(source)}{name}: names must be texts, and values what JSON has, not {value!r:.80}")
    if type(value) not in kinds or not _is_plain(value):
        wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise UserError(f"{place(source)}{name} must be {wanted}, not {value!r:.80}")
    if isinstance(value, list) and not all(isinstance(word, str) and word for word in value):
        raise UserError(f"{place(source)}{name} must be a list of words, not {value!r:.80}")
    return value


def _is_plain(value: Any) -> bool:
    """Whether a value can be written as JSON and is not an empty text."""
    try:
        return bool(value != "" and json.loads(json.dumps(value, allow_nan=False)) == value)
    except (ValueError, TypeError, RecursionError):
        return False


def _kinds(name: str) -> tuple[type, ...]:
    """The plain types that a setting takes."""
    hint = _TYPES[name]
    hints = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(one) or one for one in hints)
