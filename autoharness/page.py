"""The report as a page: one HTML file that needs no network, or the live page of `report.py --serve`.

Whatever it shows was escaped by the template, or is made into text by the page's script; the page's own policy
forbids any other script. Conversations of held-out tasks are in it only where a person revealed them.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoharness import conversations, plots
from autoharness.comparison import Comparison
from autoharness.config import Experiment
from autoharness.diagnosis import changes_lines
from autoharness.errors import UserError
from autoharness.iterations import Iteration
from autoharness.overview import Attempt, Overview, change, score_of
from autoharness.results import Usage, slug
from autoharness.spending import CODER
from autoharness.store import Store, now
from autoharness.task_map import Cell, State, TaskRow, groups_by_version, task_rows
from autoharness.trials import Kept, Trials, train_tasks

_WEB = Path(__file__).with_name("web")
_MOST_DIFF_LINES = 600
_CELLS = {
    State.PASSED: ("p", ""),
    State.FAILED: ("f", "\N{MULTIPLICATION SIGN}"),
    State.FLAKY: ("k", "~"),
    State.LOST: ("l", "?"),
}
_CHANGES = {"fixed": (" x", "+"), "broken": (" b", "\N{MINUS SIGN}")}

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What a page shows, read from the vault once."""

    store: Store
    overview: Overview
    trials: Sequence[Kept]
    """Of the measure: all of them. Only totals are shown of those that are not of `tasks`."""
    tasks: Sequence[str]
    """Whose single results and conversations are shown."""
    held_out: Sequence[str]
    """Those of them that a person has revealed."""

    @classmethod
    def of(cls, store: Store, trials: Trials, reveal: bool) -> "View":
        """`trials`: kept by whoever looks again. `reveal`: held-out tasks too. Raises UserError."""
        overview = Overview.of(store)
        found = trials.of(overview.ledger)
        tasks = train_tasks(overview.ledger, [one.iteration for one in overview.attempts if one.iteration])
        others = dict.fromkeys(kept.outcome.trial.task_id for kept in found if reveal)
        held_out = [task_id for task_id in others if task_id not in tasks]
        return cls(store, overview, found, [*tasks, *held_out], held_out)

    @cached_property
    def shown(self) -> list[Kept]:
        """The trials whose conversations may be read."""
        tasks, agents = set(self.tasks), self.overview.names
        trials = [(kept, kept.outcome.trial) for kept in self.trials]
        return [kept for kept, trial in trials if trial.task_id in tasks and trial.agent in agents]

    def conversations_of(self, task: str) -> list[Json]:
        """Of one task, named by its slug; see `conversations.listed`."""
        mine = [kept for kept in self.shown if slug(kept.outcome.trial.task_id) == task]
        return conversations.listed(mine, self.overview.names)


@dataclass(frozen=True)
class _Role:
    """A row of the table of costs."""

    role: str
    calls: str
    tokens_in: str
    tokens_out: str
    cost: str
    time: str


@dataclass(frozen=True)
class _Prediction:
    """A row of the table of predictions."""

    name: str
    short: str
    named: int
    run: int
    fixed: int
    besides: int
    broken: int
    foreseen: int

    @classmethod
    def of(cls, attempt: Attempt, iteration: Iteration) -> "_Prediction":
        fixed, broken = iteration.reward_changes
        hit, run = iteration.hits
        edit = iteration.edit
        named, feared = (edit.fixes, edit.breaks) if edit else ([], [])
        foreseen = sum(task_id in feared for task_id in broken)
        return cls(attempt.name, attempt.short, len(named), run, hit, len(fixed) - hit, len(broken), foreseen)


def page(view: View, live: str = "", version: str = "", now_facts: Any = None) -> str:
    """The whole page.

    `live`: "yes" for one that follows the loop: it carries no conversations, it asks for them. `version` names what
    it was made from; `now_facts` are those of `live.html.j2`.
    """
    overview, style, script = view.overview, _web("report.css"), _web("report.js")
    carried = [] if live else conversations.chosen(view.shown, _what_matters(overview), conversations.MOST_BYTES)
    packs = conversations.packed(carried, overview.names)
    rows = task_rows(overview, view.trials, view.tasks)
    groups = groups_by_version(overview, view.trials, view.tasks)
    run = next(iter(view.store.runs(newest=1)), {})
    predictions = [
        _Prediction.of(one, one.iteration) for one in overview.attempts if _predicts(one) and one.iteration
    ]
    domain = overview.settings.get("domain", "")
    html = _template("report.html.j2").render(
        policy=_policy(script),
        style=style,
        script=script,
        live=live,
        version=version,
        now=now_facts,
        made=now(),
        overview=overview,
        user_model=Experiment(**overview.settings).model_of("user"),
        baseline=score_of(overview.baseline),
        best=score_of(overview.best),
        confirmed=Comparison.confirmed_by(overview.confirmation) if overview.confirmation else None,
        reveals=view.store.reveals(domain),
        revealed=bool(view.held_out),
        ends=Counter(one.end for one in overview.finished),
        work_s=sum(one.iteration.seconds for one in overview.attempts if one.iteration),
        hours=_hours,
        run=run,
        plots=_plots(overview, groups),
        attempts=[_attempt(one, view.store) for one in overview.attempts],
        rows=[_row(row) for row in rows],
        counts={
            "failing": sum(row.now in (State.FAILED, State.FLAKY) for row in rows),
            "flipped": sum(row.flipped for row in rows),
            "flaky": sum(row.flaky for row in rows),
        },
        columns=list(_columns(overview)),
        left_out=0 if live else len(view.shown) - len(carried),
        groups=groups,
        predictions=predictions,
        predicted={
            "wanted": sum(one.run for one in predictions),
            "fixed": sum(one.fixed for one in predictions),
            "unforeseen": sum(one.broken - one.foreseen for one in predictions),
        },
        roles=_roles(view),
        holdout=view.store.holdout_log(domain),
        layers=run.get("layers", {}),
        not_enforced=list(
            dict.fromkeys(line for one in overview.attempts if one.iteration for line in one.iteration.not_enforced)
        ),
        evaluator=overview.ledger.evaluator[:12] or "not noted",
        settings=_settings(overview, run),
        packs={slug(task_id): pack for task_id, pack in packs.items()},
    )
    return str(html)


def live_part(now_facts: Any) -> str:
    """The section of the live page that changes every second."""
    return str(_template("live.html.j2").render(now=now_facts))


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["when"] = _when
    return environment.get_template(name)


def _when(text: str) -> str:
    """With times such as "2026-11-26 01:40 UTC" in it."""
    return re.sub(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00", r"\1 \2 UTC", text)


def _web(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """What the page may do: run this one script, and ask the server that it came from."""
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{sha256}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def _what_matters(overview: Overview) -> list[str]:
    """Agent files, those first whose conversations a reader wants most: best, baseline, then the newest."""
    kept = [overview.best.row.agent, overview.baseline.row.agent]
    return list(dict.fromkeys([*kept, *(one.agent for one in reversed(overview.attempts) if one.agent)]))


def _plots(overview: Overview, groups: Mapping[str, Sequence[int]]) -> dict[str, str]:
    return {
        "scores": plots.scores(overview),
        "questions": plots.questions(overview),
        "failures": plots.failures([version.name for version in overview.ledger.versions], groups),
        "costs": plots.costs(overview.attempts),
        "seconds": plots.seconds(overview.attempts),
    }


def _attempt(attempt: Attempt, store: Store) -> Json:
    """What its part of the page shows beside the attempt itself."""
    iteration, edit = attempt.iteration, attempt.iteration.edit if attempt.iteration else None
    try:
        diff = change(store, attempt.incumbent, attempt.agent)
    except UserError as error:
        diff = f" {error}"
    facts = [f"agent file {attempt.agent[:12]}" if attempt.agent else ""]
    if iteration:
        facts += [f"coding agent {iteration.coding_agent}", _hours(iteration.seconds), f"${attempt.spent.total:.4f}"]
        facts += [f"{len(attempt.spent.simulations_usd)} new simulations"]
        facts += [f"commit {iteration.commit[:12]}" if iteration.commit else "", iteration.started]
    return {
        "attempt": attempt,
        "note": edit.note.strip() if edit else "",
        "remarks": edit.remarks if edit else [],
        "changes": [line.strip() for line in changes_lines(iteration)] if iteration else [],
        "facts": " · ".join(filter(None, facts)),
        "diff": list(_diff_lines(diff)),
    }


def _diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    lines = diff.splitlines()
    for line in lines[:_MOST_DIFF_LINES]:
        kind = {"+": "add", "-": "del", "@": "at"}.get(line[:1], "same")
        yield "at" if line.startswith(("+++ ", "--- ")) else kind, line
    if len(lines) > _MOST_DIFF_LINES:
        yield "at", f"... {len(lines) - _MOST_DIFF_LINES} lines more"


def _columns(overview: Overview) -> Iterator[Json]:
    yield {
        "short": "0",
        "name": "the baseline",
        "end": "baseline",
        "agent": overview.baseline.row.agent,
        "incumbent": "",
    }
    for one in overview.attempts:
        yield {"short": one.short, "name": one.name, "end": one.end, "agent": one.agent, "incumbent": one.incumbent}


def _row(row: TaskRow) -> Json:
    from markupsafe import Markup

    kinds = {"failing": row.now in (State.FAILED, State.FLAKY), "flipped": row.flipped, "flaky": row.flaky}
    return {
        "task_id": row.task_id,
        "slug": slug(row.task_id),
        "kinds": " ".join(kind for kind, holds in kinds.items() if holds),
        "wrong": "; ".join(row.wrong),
        "cells": Markup("".join(map(_cell, row.cells))),  # of our own words alone, and there may be 34,000
    }


def _cell(cell: Cell) -> str:
    name, mark = _CELLS.get(cell.state, ("n", ""))
    change_name, change_mark = _CHANGES.get(cell.change, ("", ""))
    classes = f'"{name}{change_name}"' if change_name else name
    trials = f' data-trials="{cell.passes} of {cell.trials}"' if cell.trials > 1 else ""
    return f"<td class={classes}{trials}>{change_mark or mark}</td>"


def _predicts(attempt: Attempt) -> bool:
    return bool(attempt.iteration and attempt.iteration.edit and attempt.iteration.seen)


def _roles(view: View) -> list[_Role]:
    totals = {role: Usage() for role in ("agent", "user", "judge")}
    for kept in view.trials:
        for role, usage in kept.outcome.usage.items():
            totals[role] = totals.get(role, Usage()) + usage
    edits = [one.iteration.edit for one in view.overview.attempts if one.iteration and one.iteration.edit]
    coder = _Role(
        CODER,
        f"{len(edits)} edits",
        "",
        f"{sum(edit.tokens for edit in edits):,}",
        f"${view.overview.spent.usd.get(CODER, 0.0):.4f}",
        _hours(sum(edit.seconds for edit in edits)),
    )
    names = {"user": "user simulator"}
    return [coder, *(_role(names.get(role, role), usage) for role, usage in totals.items())]


def _role(name: str, usage: Usage) -> _Role:
    cached = f" + {usage.cached_calls:,} from the cache" if usage.cached_calls else ""
    unknown = f" + {usage.uncosted_calls:,} calls of unknown price" if usage.uncosted_calls else ""
    return _Role(
        name,
        f"{usage.calls:,}{cached}",
        f"{usage.prompt_tokens:,}",
        f"{usage.completion_tokens:,}",
        f"${usage.cost_usd:.4f}{unknown}",
        _hours(usage.latency_s),
    )


def _settings(overview: Overview, run: Json) -> Json:
    packages = {f"package {name}": version for name, version in run.get("packages", {}).items()}
    known: Json = {name: run[name] for name in ("python", "tau2", "git_commit") if name in run}
    return overview.settings | known | packages


def _hours(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
