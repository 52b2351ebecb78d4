"""`benchmark.py --matrix FILE`: several models, domains or other settings in one command, and a table of them.

    agent_model: [gpt-5.4, gpt-5.4-mini]     every combination of the lists is a run
    reasoning_effort: [low, high]
    trials: 4                                the same in all of them
    runs:                                    or settings that belong together, each with all combinations
      - {agent_model: gpt-5.4, user_model: gpt-4.1}
      - {agent_model: gpt-5.4-mini}

The names are those of `experiment_config.yaml`, which gives the rest; `--domain airline retail` is such a matrix too.
Each run is what the command would do alone, and its trials are stored in the same way.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autoharness.commands.scorecard import Scorecard
from autoharness.core.errors import UserError
from autoharness.core.outcomes import mean, passed
from autoharness.core.setting_checks import check_choice
from autoharness.core.setting_sources import Resolved, read_file, resolve
from autoharness.core.settings import SIMULATED, Experiment
from autoharness.core.stats import mean_interval

_RUNS = "runs"
_OF_THE_COMMAND = ("max_run_llm_calls", "max_run_tokens", "max_run_cost_usd")

Json = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One run of several."""

    resolved: Resolved
    varied: tuple[str, ...]
    """The settings that are not the same in all of them."""

    @property
    def experiment(self) -> Experiment:
        return self.resolved.experiment

    @property
    def settings(self) -> Json:
        return {name: getattr(self.experiment, name) for name in self.varied}

    @property
    def lines(self) -> list[str]:
        """Such as "agent_model: gpt-5.4"."""
        return [f"{name}: {_word(value)}" for name, value in self.settings.items()]


def cells(
    file: Path | None, typed: Json, config: Path | None, assignments: Sequence[str] | None, domains: Sequence[str]
) -> list[Cell]:
    """The runs of one command: one if neither `file` nor `domains` asks for more.

    `typed`: settings on the command line; see `setting_sources.resolve`. Raises UserError.
    """
    asked = _read(file) if file else [{}]
    if len(domains) > 1:
        asked = [one | {"domain": domain} for one in asked for domain in domains]
    elif domains:
        typed = typed | {"domain": domains[0]}
    names = list(dict.fromkeys(name for one in asked for name in one))
    for name in names:
        if file and (typed.get(name) is not None or (name == "domain" and domains)):
            raise UserError(f"command line: {name} stands in {file} already")
    source = str(file or "command line")
    resolved = [resolve(typed, config, assignments, baseline_agents=True, cell=(source, one)) for one in asked]
    _check_limits(resolved, source)
    varied = tuple(name for name in names if len({_word(getattr(one.experiment, name)) for one in resolved}) > 1)
    found = [Cell(one, varied) for one in resolved]
    for (one, settings), (other, _) in itertools.combinations(zip(found, asked, strict=True), 2):
        if one.experiment == other.experiment:
            what = ", ".join(f"{name} {_word(value)}" for name, value in settings.items())
            raise UserError(f"{source}: two runs are the same: {what}")
    return found


def _read(file: Path) -> list[Json]:
    """The settings of each run. Raises UserError."""
    if not file.is_file():
        raise UserError(f"--matrix {file}: there is no such file: lines such as agent_model: [a, b] make one")
    settings = read_file(file)
    together = settings.pop(_RUNS, [{}])
    if not isinstance(together, list) or not together or not all(isinstance(one, dict) for one in together):
        raise UserError(f"{file}: {_RUNS} must be a list of settings, such as - {{agent_model: gpt-5.4}}")
    for name in [*settings, *(name for one in together for name in one)]:
        check_choice("setting", str(name), [*(field.name for field in fields(Experiment)), _RUNS], str(file))
    twice = [name for one in together for name in one if name in settings]
    if twice:
        raise UserError(f"{file}: {twice[0]} stands in {_RUNS} and beside it")
    axes = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    if empty := [name for name, values in axes.items() if not values]:
        raise UserError(f"{file}: {empty[0]} is an empty list")
    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return [combination | one for combination in combinations for one in together]


def _check_limits(resolved: Sequence[Resolved], source: str) -> None:
    for name in _OF_THE_COMMAND:
        if len({getattr(one.experiment, name) for one in resolved}) > 1:
            raise UserError(f"{source}: {name} bounds all runs of the command together: give it one value")


Done = Sequence[tuple[Cell, Scorecard]]


def table(done: Done) -> list[str]:
    """The runs as aligned text, one to a line."""
    rows = [cell.settings | _figures(card) for cell, card in done]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_word(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _figures(card: Scorecard) -> Json:
    """The figures of one run; none for a part of a held-out split."""
    rewards = list(card.result.scored.values())
    scores = [reward for reward in rewards if reward is not None]
    score, (low, high), dollars = mean(scores), mean_interval(scores), card.cost_usd
    return {
        "val_score": None if score is None else f"{score:.4f}",
        "interval_95": None if score is None else f"{low:.2f}-{high:.2f}",
        "passed": f"{sum(map(passed, scores))}/{len(scores)}",
        "errors": len(rewards) - len(scores),
        **{name: None if value is None else f"{value:.4f}" for name, value in card.repeats.to_json().items()},
        "cost_usd": "unknown" if dollars is None else f"{dollars:.4f}",
    }


@dataclass(frozen=True)
class MacroAverage:
    """The plain mean over domains, however many tasks each has."""

    domains: tuple[str, ...]
    settings: Json
    """What else is varied."""
    figures: dict[str, float | None]
    """val_score, pass^1 and so on; None if a domain has none."""

    @property
    def lines(self) -> list[str]:
        """Such as "macro_average: 0.7500  (airline, retail, telecom)"."""
        of = ", ".join(self.domains)
        beside = "".join(f"; {name} {_word(value)}" for name, value in self.settings.items())
        names = {name: "macro_average" if name == "val_score" else f"macro_{name}" for name in self.figures}
        return [
            f"{names[name]}: {'N/A' if value is None else f'{value:.4f}'}  ({of}{beside})"
            for name, value in self.figures.items()
        ]

    def to_json(self) -> Json:
        return {"domains": list(self.domains), "settings": self.settings, **self.figures}


def macro_averages(done: Done, planned: Sequence[Cell]) -> list[MacroAverage]:
    """One for each set of runs that differ in their domain alone, once all of them are done."""
    groups: dict[str, list[tuple[Cell, Scorecard]]] = {}
    for cell, card in done:
        groups.setdefault(_beside_domain(cell), []).append((cell, card))
    whole = [some for key, some in groups.items() if len(some) == sum(_beside_domain(one) == key for one in planned)]
    return [_macro_average(some) for some in whole if len(some) > 1]


def _beside_domain(cell: Cell) -> str:
    return json.dumps({name: value for name, value in cell.settings.items() if name != "domain"})


def _macro_average(group: Done) -> MacroAverage:
    cell, cards = group[0][0], [card for _, card in group]
    figures = [{"val_score": card.result.val_score, **card.repeats.to_json()} for card in cards]
    means = {
        name: None if any(one.get(name) is None for one in figures) else mean(one[name] for one in figures)
        for name in figures[0]
    }
    settings = {name: value for name, value in cell.settings.items() if name != "domain"}
    return MacroAverage(tuple(cell.experiment.domain for cell, _ in group), settings, means)


def _word(value: Any) -> str:
    """A value as it is printed: a text as it is, None as -."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def lines(done: Done, planned: Sequence[Cell]) -> list[str]:
    """The table, and the means over domains."""
    simulated = any(cell.experiment.simulated for cell, _ in done)
    macro = [line for one in macro_averages(done, planned) for line in one.lines]
    return [*table(done), *macro, *([SIMULATED] if simulated else [])]


def as_json(done: Done, planned: Sequence[Cell]) -> Mapping[str, Any]:
    """One document: each run's settings with its results, and the means over domains."""
    return {
        "runs": [{"settings": cell.settings, **card.to_json()} for cell, card in done],
        "macro_averages": [one.to_json() for one in macro_averages(done, planned)],
        "left": len(planned) - len(done),
    }
