"""Writes the coding agent's diagnosis: train failures grouped by what went wrong, and what was tried before.

Everything in it comes from train tasks and from what the loop knows; of the holdout it has only the gate's reasons.
"""

import re
from collections import Counter
from collections.abc import Sequence

from autoharness.core.outcomes import FINISHED, Outcome, Status, by_task, natural_order, passed, slug
from autoharness.vault.iterations import Iteration
from autoharness.vault.workspace import render_trace

_IN_FULL = 5
_MOST_CHARS_OF_ONE = 16_000
_MOST_ITERATIONS = 30
_GIVEN_UP = "transfer_to_human_agents"
_NORMAL_ENDS = ("user_stop", "agent_stop", FINISHED, "")


def what_went_wrong(outcome: Outcome) -> str:
    """The group that a failure belongs to, in words."""
    if outcome.status in (Status.AGENT_ERROR, Status.TIMED_OUT):
        return f"the agent's own error: {_kind_of(outcome.detail)}"
    if outcome.termination not in _NORMAL_ENDS:
        return f"the conversation ended with {outcome.termination}"
    checks = outcome.reward_info.get("action_checks") or []
    reference = {check["action"]["name"] for check in checks}
    called = [call["name"] for message in outcome.messages for call in message.get("tool_calls") or []]
    if _GIVEN_UP in called and _GIVEN_UP not in reference:
        return "the customer was handed over to a human agent, which the reference does not do"
    if not_made := [check["action"]["name"] for check in checks if not check["action_match"]]:
        return f"a reference call was not made, or not so: {not_made[0]}"
    if any(not check["met"] for check in outcome.reward_info.get("communicate_checks") or []):
        return "the customer was not told what had to be said"
    if not_met := [check["what"] for check in outcome.reward_info.get("checks") or [] if not check["met"]]:
        return f"not met: {not_met[0]}"
    if outcome.database_diff:
        return "every reference call was made, and the database differs all the same"
    return "something else that was checked"


def _kind_of(detail: str) -> str:
    """The kind of an agent's error: without the line that raised it, and without the details of this one case."""
    what = re.sub(r"^\S+\.py:\d+: ", "", detail).split(":")[0][:80]
    return what if " " in what else what.rpartition(".")[2]


def groups_of(failures: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The failures by what went wrong, the largest group first."""
    found = by_task((what_went_wrong(outcome), outcome) for outcome in failures)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def worst(groups: dict[str, list[Outcome]], count: int = _IN_FULL) -> list[Outcome]:
    """One of each group in turn, the largest first."""
    queues = [sorted(some, key=lambda one: natural_order(one.trial.task_id)) for some in groups.values()]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return turns[:count]


def diagnosis(outcomes: Sequence[Outcome], earlier: Sequence[Iteration]) -> str:
    """The page. `outcomes`: the incumbent's, of train tasks; `earlier`: the iterations before this one."""
    evaluated = [one for one in outcomes if one.reward is not None]
    failures = [one for one in evaluated if not passed(one.reward)]
    groups = groups_of(failures)
    tasks = len({one.trial.task_id for one in failures})
    lines = [
        "# Diagnosis",
        "",
        f"{tasks} of {len({one.trial.task_id for one in evaluated})} train tasks failed with the kept version.",
        *_lost_line(len(outcomes) - len(evaluated)),
        "",
        "## What went wrong",
        "",
    ]
    for what, some in groups.items():
        lines += [f"### {what} ({len(some)})", ""]
        lines += [f"- `{one.trial.task_id}`  (workspace/traces/latest/{slug(one.trial.task_id)}/)" for one in some]
        lines.append("")
    lines += ["## What was tried before", "", *_history(earlier), ""]
    lines += ["## Some failures in full", ""]
    for outcome in worst(groups):
        lines += [_shortened(render_trace(outcome)), "", "---", ""]
    return "\n".join(lines)


def _lost_line(lost: int) -> list[str]:
    return [f"{lost} simulations could not be evaluated: infrastructure, nobody's failure."] if lost else []


def _history(earlier: Sequence[Iteration]) -> list[str]:
    if not earlier:
        return ["Nothing yet: this is the first edit."]
    fixed, wanted = (sum(numbers) for numbers in zip(*(one.hits for one in earlier), strict=True))
    lines = []
    for one in earlier[-_MOST_ITERATIONS:]:
        lines.append(f"- iteration {one.number}, {one.end}: {one.idea[:200]}")
        lines += [f"  - {reason}" for reason in one.reasons[:3]]
        lines += [f"  - {line}" for line in changes_lines(one)]
    if wanted:
        share = f"{fixed} of the {wanted} tasks that edits were to fix, and that were run with them, were fixed"
        lines.append(f"- predictions so far: {share}.")
    regular = Counter(task_id for one in earlier if one.end != "accepted" for task_id in one.reward_changes[1])
    often = [f"`{task_id}` ({count} times)" for task_id, count in regular.most_common(5) if count > 1]
    if often:
        lines.append(f"- broken again and again by edits that were not kept: {', '.join(often)}")
    return lines


def changes_lines(iteration: Iteration) -> list[str]:
    """Which train tasks an edit fixed and broke, and what became of its prediction."""
    fixed, broken = iteration.reward_changes
    lines = []
    if iteration.seen:
        lines.append(
            f"train: {len(fixed)} fixed, {len(broken)} broken, of {len(iteration.seen)} that were run with it"
        )
        lines += [f"  fixed: {', '.join(_quoted(fixed))}"] if fixed else []
        lines += [f"  broken: {', '.join(_quoted(broken))}"] if broken else []
    hit, wanted = iteration.hits
    if wanted:
        lines.append(f"prediction: {hit} of {wanted} tasks that it was to fix were fixed")
    unforeseen = [task_id for task_id in broken if iteration.edit and task_id not in iteration.edit.breaks]
    if unforeseen:
        lines.append(f"prediction: {len(unforeseen)} tasks broke that it did not name")
    return lines


def _quoted(task_ids: list[str], most: int = 10) -> list[str]:
    more = [f"and {len(task_ids) - most} more"] if len(task_ids) > most else []
    return [*(f"`{task_id}`" for task_id in task_ids[:most]), *more]


def _shortened(page: str) -> str:
    if len(page) <= _MOST_CHARS_OF_ONE:
        return page
    half = _MOST_CHARS_OF_ONE // 2
    return (
        f"{page[:half]}\n\n... ({len(page) - 2 * half} characters left out: see its trace.md) ...\n\n{page[-half:]}"
    )
