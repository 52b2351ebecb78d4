"""The report as a page: one HTML file that needs no network, or the live page of `report.py --serve`.

The template escapes everything that it shows, or the page's script makes it into text; the page's own policy forbids
any other script. Conversations of held-out tasks are in it only if a person revealed them.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoharness.core.command_form import python_command, serving
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Usage, dollars, slug
from autoharness.core.settings import RATCHET, SIMULATED, Experiment
from autoharness.gate.comparison import Comparison, sides_of
from autoharness.report import conversations, plots, task_table
from autoharness.report.costs import Costs
from autoharness.report.overview import Attempt, Overview, change, score_of
from autoharness.report.task_map import TaskMap
from autoharness.report.visible_trials import Kept, Trials
from autoharness.report.watch import Now
from autoharness.vault.spending import CODER
from autoharness.vault.store import Store, now

_WEB = Path(__file__).with_name("web")
_MOST_DIFF_LINES = 600
_MOST_NAMED = 12
_RUNS_LOOKED_AT = 50

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What a page shows, read from the vault once."""

    store: Store
    overview: Overview
    trials: Sequence[Kept]
    """All trials of the settings identity. Of tasks that are not in `tasks` only totals are shown."""
    train: Sequence[str]
    held_out: Sequence[str]
    """Those that a person has revealed."""

    @classmethod
    def of(cls, store: Store, trials: Trials, reveal: bool) -> "View":
        """`trials`: kept by a caller that reads again. `reveal`: held-out tasks too. Raises UserError."""
        overview = Overview.of(store)
        found = trials.of(overview.ledger)
        others = dict.fromkeys(kept.outcome.trial.task_id for kept in found if reveal)
        held_out = [task_id for task_id in others if task_id not in overview.train]
        return cls(store, overview, found, overview.train, held_out)

    @property
    def tasks(self) -> list[str]:
        """The tasks whose single results and conversations are shown."""
        return [*self.train, *self.held_out]

    @cached_property
    def shown(self) -> list[Kept]:
        """The trials whose conversations may be read."""
        tasks, agents = set(self.tasks), self.overview.names
        trials = [(kept, kept.outcome.trial) for kept in self.trials]
        return [kept for kept, trial in trials if trial.task_id in tasks and trial.agent in agents]

    @cached_property
    def map(self) -> TaskMap:
        return TaskMap(self.overview, self.trials, self.train, self.held_out)

    def conversations_of(self, task: str) -> list[Json]:
        """The conversations of one task, named by its slug; see `conversations.listed`."""
        mine = [kept for kept in self.shown if slug(kept.outcome.trial.task_id) == task]
        return conversations.listed(mine, self.overview.names)


def page(view: View, live: Now | None = None, version: str = "") -> str:
    """The whole page. `live`: for one that follows the loop; it carries no conversations, it asks for them.

    `version` names the state that it was made from.
    """
    script = _web("report.js")
    frame = {
        "policy": _policy(script),
        "style": _web("report.css"),
        "script": script,
        "live": live is not None,
        "now": live,
        "version": version,
        "made": now(),
        "overview": view.overview,
        "python": python_command(),
        "serving": serving(),
    }
    parts = (_headline(view), _attempts(view), _tasks(view, live is not None), _failures(view), _origin(view))
    html = str(
        _template("report.html.j2").render(**frame, **{name: one for part in parts for name, one in part.items()})
    )
    return html.encode(errors="backslashreplace").decode()  # halves of a surrogate pair are no text


def live_part(present: Now) -> str:
    """The section of the live page that changes every second."""
    return str(_template("live.html.j2").render(now=present))


def _headline(view: View) -> Json:
    overview = view.overview
    row, confirmation, experiment = overview.baseline.row, overview.confirmation, Experiment(**overview.settings)
    costs = Costs.of(overview, view.trials, view.tasks, view.store)
    return {
        "user_model": experiment.model_of("user") if experiment.on_tau2 else "",  # other benchmarks may not ask it
        "simulated": SIMULATED if row.simulated else "",
        "ratchet": overview.settings.get("gate") == RATCHET,
        "baseline": score_of(overview.baseline),
        "best": score_of(overview.best),
        "confirmation": confirmation,
        "confirmed": Comparison.confirmed_by(confirmation) if confirmation else None,
        "confirm_trials": min(map(len, sides_of(confirmation)[1].values()), default=0) if confirmation else 0,
        "reveals": view.store.reveals(overview.settings.get("domain", "")),
        "ends": Counter(one.end for one in overview.finished),
        "work": _duration(sum(one.iteration.seconds for one in overview.attempts if one.iteration)),
        "costs": costs,
        "roles": _roles(costs),
    }


def _attempts(view: View) -> Json:
    return {
        "attempts": [_attempt(one, view) for one in view.overview.attempts],
        "predictions": view.map.predictions,
        "score_plot": plots.scores(view.overview),
        "question_plot": plots.questions(view.overview),
        "cost_plot": plots.costs(view.overview.attempts),
        "time_plot": plots.seconds(view.overview.attempts),
        "holdout": view.store.holdout_log(view.overview.settings.get("domain", "")),
    }


def _tasks(view: View, live: bool) -> Json:
    rows = [task_table.row(task_id, view.map) for task_id in view.tasks]
    chosen = [] if live else conversations.chosen(view.shown, _what_matters(view.overview), conversations.MOST_BYTES)
    packs = conversations.packed(chosen, view.overview.names)
    return {
        "rows": rows,
        "counts": Counter(kind for row in rows for kind in row["kinds"].split()),
        "columns": list(task_table.columns(view.overview)),
        "revealed": bool(view.held_out),
        "repeated": view.map.repeated,
        "left_out": 0 if live else len(view.shown) - len(chosen),
        "packs": {slug(task_id): pack for task_id, pack in packs.items()},
    }


def _failures(view: View) -> Json:
    kept = {version.row.agent: version for version in view.overview.ledger.versions}
    shown = [kept[agent] for agent in view.map.complete]
    return {
        "groups": view.map.groups,
        "group_versions": shown,
        "incomplete": [version.name for version in view.overview.ledger.versions if version not in shown],
        "failure_plot": plots.failures([str(version.iteration) for version in shown], view.map.groups),
    }


def _origin(view: View) -> Json:
    """What isolation was in force, and what everything was made with."""
    overview = view.overview
    domain = overview.settings.get("domain")
    runs = [one for one in view.store.runs(newest=_RUNS_LOOKED_AT) if _of_domain(one, domain)]
    run = runs[-1] if runs else {}
    layers = run.get("layers")
    not_enforced = [line for one in overview.attempts if one.iteration for line in one.iteration.not_enforced]
    return {
        "isolation": run.get("isolation", "not noted"),
        "layers": layers if isinstance(layers, dict) else {},
        "not_enforced": list(dict.fromkeys(not_enforced)),
        "evaluator": overview.ledger.evaluator[:12] or "not noted",
        "settings": _settings(overview, run),
    }


def _of_domain(run: Json, domain: str | None) -> bool:
    settings = run.get("experiment")
    return isinstance(settings, dict) and settings.get("domain") == domain


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["when"] = _when
    return environment.get_template(name)


def _when(text: str) -> str:
    """The text with its times as "2026-11-26 01:40 UTC"."""
    return re.sub(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00", r"\1 \2 UTC", text)


def _web(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """The content security policy: the page may run this one script, and ask the server that it came from."""
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{sha256}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def _what_matters(overview: Overview) -> list[str]:
    """Agent files, those first whose conversations a reader wants most: best, baseline, then the newest."""
    kept = [overview.best.row.agent, overview.baseline.row.agent]
    return list(dict.fromkeys([*kept, *(one.agent for one in reversed(overview.attempts) if one.agent)]))


def _attempt(attempt: Attempt, view: View) -> Json:
    """What its part of the page shows beside the attempt itself."""
    iteration, edit = attempt.iteration, attempt.iteration.edit if attempt.iteration else None
    try:
        diff = change(view.store, attempt.incumbent, attempt.agent)
    except (UserError, UnicodeDecodeError) as error:
        diff = f" {error}"
    facts = [f"agent file {attempt.agent[:12]}" if attempt.agent else ""]
    if iteration:
        facts += [f"coding agent {iteration.coding_agent}", _duration(iteration.seconds)]
        facts += [attempt.spent.sum, f"{len(attempt.spent.simulations_usd)} new simulations"]
        facts += [f"commit {iteration.commit[:12]}" if iteration.commit else "", iteration.started]
    better, worse = view.map.changes(attempt)
    return {
        "attempt": attempt,
        "note": edit.note.strip() if edit else "",
        "remarks": edit.remarks if edit else [],
        "changes": [f"{what} in {_named(tasks)}" for what, tasks in (("better", better), ("worse", worse)) if tasks],
        "facts": " · ".join(filter(None, facts)),
        "diff": list(_diff_lines(diff)),
    }


def _named(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - _MOST_NAMED} more" if len(tasks) > _MOST_NAMED else ""
    return f"{len(tasks)} task{'s' if len(tasks) > 1 else ''}: {', '.join(tasks[:_MOST_NAMED])}{more}"


def _diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    lines = diff.splitlines()
    for line in lines[:_MOST_DIFF_LINES]:
        kind = {"+": "add", "-": "del", "@": "at"}.get(line[:1], "same")
        yield "at" if line.startswith(("+++ ", "--- ")) else kind, line
    if len(lines) > _MOST_DIFF_LINES:
        yield "at", f"... {len(lines) - _MOST_DIFF_LINES} lines more"


@dataclass(frozen=True)
class _Role:
    """A row of the table of costs."""

    role: str
    calls: str
    tokens: str
    cost: str
    time: str


def _roles(costs: Costs) -> list[_Role]:
    coding, names = costs.coding, {"user": "user simulator"}
    coder = _Role(
        CODER, f"{coding.edits} edits", f"{coding.tokens:,}", f"${coding.usd:.4f}", _duration(coding.seconds)
    )
    return [coder, *(_role(names.get(role, role), usage) for role, usage in costs.usage.items())]


def _role(name: str, usage: Usage) -> _Role:
    cached = f" + {usage.cached_calls:,} from the cache" if usage.cached_calls else ""
    tokens = f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out"
    return _Role(name, f"{usage.calls:,}{cached}", tokens, dollars(usage), _duration(usage.latency_s))


def _settings(overview: Overview, run: Json) -> Json:
    packages = run.get("packages")
    named = {f"package {name}": one for name, one in packages.items()} if isinstance(packages, dict) else {}
    known: Json = {name: run[name] for name in ("python", "tau2", "benchmark", "git_commit") if name in run}
    return overview.settings | known | named


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
