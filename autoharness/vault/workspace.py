"""Exports `workspace/`, the files that the coding agent reads; nothing in it decides anything.

    domain/policy.md tools.json              what the agent is given
    train_results.json                       {"split", "timestamp", "results": {task_id: reward}}, and what changed
    suite.json                               {"tasks", "threshold", "last_results"}: the regression suite
    results.tsv                              one row for each version that was kept
    learnings.md                             the coding agent's log; the one file here that is not exported
    traces/latest/TASK/ traces/baseline/TASK/  trace.json  result.json  trace.md

Only train tasks come here. `latest` is the newest run of each task, `baseline` the one that
prepare made. A coding agent may have written here: no link is followed below the folder, nor if the folder itself is
one (`files`).
"""

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoharness.core.errors import NotPlain
from autoharness.core.files import MOST_TEXT_BYTES, read_plain, remove_others, set_aside, write_json, write_text
from autoharness.core.outcomes import CUT_OFF, Outcome, Rewards, by_task, is_cut_off, natural_order, passed, slug
from autoharness.core.redaction import cut
from autoharness.core.settings import Experiment
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Version
from autoharness.vault.store import now

WORKSPACE = Path("workspace")
_MOST_CHARS = 1500
_LOG = re.compile(r" \(log: [^)]*\)")
"""The log's path of a worker that died: names in the vault are not shown here (`location`)."""

Json = dict[str, Any]


_RESULT_COLUMNS = [
    *("iteration", "val_score", "commit", "evals_passed", "evals_total", "timestamp"),
    *("agent", "measured", "revealed"),  # columns that the reference does not have stand to the right
]


@dataclass(frozen=True)
class Changes:
    """Train tasks that were fixed or broken, against the last version that was kept."""

    compared_with: str
    fixed: list[str]
    broken: list[str]

    @classmethod
    def between(cls, name: str, before: Rewards, after: Rewards) -> "Changes":
        """`name` says what `before` was."""
        both = [task_id for task_id in after if after[task_id] is not None and before.get(task_id) is not None]
        fixed = [task_id for task_id in both if passed(after[task_id]) and not passed(before[task_id])]
        broken = [task_id for task_id in both if passed(before[task_id]) and not passed(after[task_id])]
        return cls(name, sorted(fixed, key=natural_order), sorted(broken, key=natural_order))

    @property
    def lines(self) -> list[str]:
        """For a person, and for grep."""
        head = (
            f"changes: {len(self.fixed)} fixed, {len(self.broken)} broken  (train tasks, since {self.compared_with})"
        )
        fixed = [f"  FIXED  {task_id}" for task_id in self.fixed]
        return [head, *fixed, *(f"  BROKEN  {task_id}" for task_id in self.broken)]


def export_domain(policy: str, tools: list[Json], folder: Path = WORKSPACE) -> None:
    write_text(folder / "domain" / "policy.md", policy, folder.parent)
    write_json(folder / "domain" / "tools.json", tools, folder.parent)


def export_train_results(results: Rewards, changes: Changes | None, folder: Path = WORKSPACE) -> None:
    """Write the results of a run over train tasks."""
    document: Json = {"split": "train", "timestamp": now(), "results": results}
    write_json(folder / "train_results.json", document | (asdict(changes) if changes else {}), folder.parent)


def export_traces(
    outcomes: list[Outcome], kind: str = "latest", folder: Path = WORKSPACE, train: Collection[str] | None = None
) -> None:
    """Write a folder for each of the outcomes' tasks; `kind` is "latest" or "baseline".

    With several trials a task's folder shows its worst one: that is the one to learn from. `train`: the ids of all
    train tasks; folders of others, of another domain or split, are removed.
    """
    traces = folder / "traces" / kind
    if train is not None:
        remove_others(traces, {slug(task_id) for task_id in train}, folder.parent)
    for task_id, trials in by_task((outcome.trial.task_id, outcome) for outcome in outcomes).items():
        worst = min(trials, key=lambda trial: 2.0 if trial.reward is None else trial.reward)
        worst = replace(worst, detail=_LOG.sub("", worst.detail))
        result, place = worst.to_json(), traces / slug(task_id)
        write_json(place / "trace.json", result.pop("messages"), folder.parent)
        write_json(place / "result.json", result, folder.parent)
        write_text(place / "trace.md", render_trace(worst), folder.parent)


def export_ledger(ledger: Ledger, folder: Path = WORKSPACE) -> None:
    """Write `suite.json`, and `results.tsv` with one row for each version that was kept."""
    for name, text in _exports(ledger).items():
        write_text(folder / name, text, folder.parent)


def set_aside_edited(ledger: Ledger, folder: Path = WORKSPACE) -> list[str]:
    """Set aside each export that differs from the ledger, and write it again; returns a line for each."""
    edited = []
    for name, text in _exports(ledger).items():
        path = folder / name
        if not _says(path, text, folder.parent):
            kept = set_aside(path, folder.parent)
            write_text(path, text, folder.parent)
            edited.append(f"{path} is not what the ledger says: kept as {kept.name}, and made anew")
    return edited


def _says(path: Path, text: str, root: Path) -> bool:
    """Whether the file has this text, or is missing; False if it is not a plain file."""
    try:
        return read_plain(path, MOST_TEXT_BYTES, root) == text.encode()
    except FileNotFoundError:
        return True
    except NotPlain:
        return False


def _exports(ledger: Ledger) -> dict[str, str]:
    settings = next((row.experiment for row in reversed(ledger.rows) if row.experiment), {})
    suite = {
        "tasks": list(ledger.suite),
        "threshold": settings.get("threshold", Experiment.threshold),
        "last_results": ledger.last_suite_results,
    }
    lines = [_RESULT_COLUMNS, *(list(_columns(version).values()) for version in ledger.all_versions)]
    return {
        "suite.json": json.dumps(suite, indent=1),
        "results.tsv": "".join("\t".join(line) + "\n" for line in lines),
    }


def begin_learnings(folder: Path = WORKSPACE) -> None:
    """Create the coding agent's log; once it exists, only the coding agent writes it."""
    if not (folder / "learnings.md").is_symlink() and not (folder / "learnings.md").exists():
        begun = "# Learnings\n\nWhat was tried, what came of it, and what to try next.\n"
        write_text(folder / "learnings.md", begun, folder.parent)


def _columns(version: Version) -> dict[str, str]:
    row = version.row
    return {
        "iteration": str(version.iteration),
        "val_score": f"{row.val_score:.4f}",
        "commit": version.commit[:12],
        "evals_passed": str(sum(map(passed, row.suite.values()))),
        "evals_total": str(len(row.suite)),
        "timestamp": version.time,
        "agent": row.agent[:12],
        "measured": row.measured,
        "revealed": str(row.reveals),
    }


def render_trace(outcome: Outcome) -> str:
    """The trial as a page for a reader who wants to know what went wrong."""
    reward = "none" if outcome.reward is None else f"{outcome.reward:.2f}"
    head = [
        f"# Task {outcome.trial.task_id}",
        "",
        f"{outcome.status}, reward {reward}. {outcome.detail}".strip(),
    ]
    if outcome.termination:
        head.append(f"The conversation ended with: {outcome.termination}.")
    head += [f"- {note}" for note in outcome.notes]
    calls = [(message["role"], call) for message in outcome.messages for call in message.get("tool_calls") or []]
    sections = [
        ("What was checked", _checks(outcome.reward_info)),
        ("Reference tool calls", _actions(outcome.reward_info)),
        ("Tool calls made", [f"- {role}: {_called(call)}" for role, call in calls]),
        ("How the final database differs", _differences(outcome.database_diff)),
        ("Conversation", _conversation(outcome.messages)),
    ]
    return (
        "\n".join(head + [line for title, lines in sections if lines for line in ["", f"## {title}", "", *lines]])
        + "\n"
    )


def what_was_checked(outcome: Outcome) -> list[str]:
    """A line for each check of the reward, each reference call, and each difference of the final database."""
    info = outcome.reward_info
    return [*_checks(info), *_actions(info), *_differences(outcome.database_diff)]


def _checks(info: Json) -> list[str]:
    """The parts of the reward, then one line for each check."""
    lines = [f"- {basis}: {reward:g}" for basis, reward in (info.get("reward_breakdown") or {}).items()]
    for check in info.get("communicate_checks") or []:
        lines.append(f"- {_met(check['met'])} the agent tells the user: {check['info']}")
    for check in info.get("env_assertions") or []:
        assertion = check["env_assertion"]
        call = f"{assertion['func_name']}({_short(assertion['arguments'])})"
        lines.append(f"- {_met(check['met'])} {assertion['env_type']}: {call} is {assertion['assert_value']}")
    for check in info.get("nl_assertions") or []:
        lines.append(f"- {_met(check['met'])} {check['nl_assertion']} ({check['justification']})")
    for check in info.get("checks") or []:  # of the user's own benchmark
        lines.append(f"- {_met(check['met'])} {check['what']}" + (f" ({check['why']})" if check["why"] else ""))
    return lines


def _actions(info: Json) -> list[str]:
    lines = []
    for check in info.get("action_checks") or []:
        action = check["action"]
        made = "made" if check["action_match"] else "NOT made"
        lines.append(f"- {made}: {action['requestor']}: {_called(action)}")
    return lines


def _differences(differences: list[Json]) -> list[str]:
    return [f"- {one['path']}: expected {_short(one['expected'])}, is {_short(one['actual'])}" for one in differences]


def _conversation(messages: list[Json]) -> list[str]:
    lines = []
    for number, message in enumerate(messages):
        who = "tool, with an error" if message.get("error") else message["role"]
        lines += [f"**{number} {who}:** {_text(message.get('content'))}".rstrip(), ""]
        lines += [f"    ({CUT_OFF})", ""] if is_cut_off(message) else []
        for call in message.get("tool_calls") or []:
            lines += [f"    {_called(call)}", ""]
    return lines


def _called(call: Json) -> str:
    return f"{call['name']}({_short(call['arguments'])})"


def _met(met: bool) -> str:
    return "met:" if met else "NOT met:"


def _short(value: Any) -> str:
    return _text(json.dumps(value, ensure_ascii=False))


def _text(text: str | None) -> str:
    return cut(text or "", _MOST_CHARS)
