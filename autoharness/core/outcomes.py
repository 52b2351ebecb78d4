"""The outcomes of simulations: status, reward, messages, usage. Typed, frozen, and JSON on disk."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

_PASS_TOLERANCE = 1e-6

VERIFIED = "scored the same on tau2's plain path"
"""The note of an outcome that was checked (`verify_sample`)."""
PLAINLY = "run once more on tau2's plain path"
"""Beginning of the note of an outcome that needed databases of its own, not shared ones."""

ADDRESSED = "words to the simulator"
"""Beginning of the note of an outcome in which the agent speaks to the user simulator or judge, not the customer."""
CUT = "the server cuts the conversation"
"""Beginning of the note of an outcome in which a server dropped a part of what it was sent, and said nothing."""
NO_SERVER = "there is no server at this address"
"""In the detail of an outcome: a connection failed. It says nothing about the task, so it may be told of any."""
CUT_OFF = "cut off: length"
"""Beginning of the note of an outcome in which an answer of a model ended at its limit of tokens."""
OTHER_ROLES = "the chat template refuses a conversation as it is"
"""Beginning of the note of an outcome in which a model got the conversation in other roles: see `server_forms`."""
FINISHED = "finished"
"""Termination of a simulation of the user's own benchmark that no limit ended."""
REPLAYED_OTHERWISE = "replayed otherwise, harmless"
"""Beginning of the note of an outcome in which `replay_tolerance` passed over a difference."""

ROLES = ("agent", "user", "judge")
"""The roles that make LLM calls in a simulation."""

_Value = TypeVar("_Value")

Rewards = Mapping[str, float | None]
"""By task id; None if a task was not evaluated."""


class Status(StrEnum):
    """How a simulation ended. The first four are the agent's doing and carry a reward; the others carry None."""

    PASSED = "passed"
    FAILED = "failed"
    AGENT_ERROR = "agent_error"
    TIMED_OUT = "timed_out"
    USER_ERROR = "user_error"
    ENVIRONMENT_ERROR = "environment_error"
    JUDGE_ERROR = "judge_error"
    PROVIDER_ERROR = "provider_error"
    SETUP_ERROR = "setup_error"


EVALUATED = frozenset({Status.PASSED, Status.FAILED, Status.AGENT_ERROR, Status.TIMED_OUT})


@dataclass(frozen=True)
class Usage:
    """What one role's LLM calls of one simulation used."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    uncosted_calls: int = 0
    """Calls whose model has no known price: `cost_usd` leaves them out."""
    latency_s: float = 0.0
    cached_calls: int = 0
    """Calls that were answered from `llm_cache`, and cost nothing: no other field counts them."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


@dataclass(frozen=True)
class Trial:
    """One simulation to run: a task, the seed of one trial of it, and the agent file."""

    task_id: str
    number: int
    """0 for the first trial."""
    seed: int
    agent: str = ""
    """SHA-256 of the agent file."""


@dataclass(frozen=True)
class Outcome:
    """One simulation that was run."""

    trial: Trial
    status: Status
    reward: float | None
    """In [0, 1]; None if `status` is an infrastructure failure."""
    detail: str = ""
    """Why, in one line, if the status is neither passed nor failed."""
    termination: str = ""
    """tau2's termination reason, such as user_stop or max_steps."""
    reward_info: dict[str, Any] = field(default_factory=dict)
    """tau2's RewardInfo: the reward with its breakdown and every check."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """tau2's trajectory."""
    database_diff: list[dict[str, Any]] = field(default_factory=list)
    """Fields of the final database that differ from what the reference actions leave."""
    usage: dict[str, Usage] = field(default_factory=dict)
    """By role: agent, user, judge."""
    duration_s: float = 0.0
    started: str = ""
    notes: list[str] = field(default_factory=list)
    """What a reader of the result should know: what had to be tried again, and why."""
    tries: int = 1
    """1, plus 1 for each time that infrastructure failed the simulation or one of its calls."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Outcome":
        """A field that only a later version knows is left out.

        Raises KeyError, TypeError or ValueError if `data` was not written by `to_json`.
        """
        known = known_fields(cls, data)
        known["trial"] = Trial(**known_fields(Trial, known["trial"]))
        known["status"] = Status(known["status"])
        known["usage"] = {role: Usage(**known_fields(Usage, usage)) for role, usage in known["usage"].items()}
        return cls(**known)

    @property
    def cost_usd(self) -> float:
        return sum(usage.cost_usd for usage in self.usage.values())


def known_fields(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The stored fields of a dataclass that this version knows; a later one may have stored more."""
    return {one.name: given[one.name] for one in fields(kind) if one.name in given}


def usage_by_role(outcomes: Iterable[Outcome]) -> dict[str, Usage]:
    """What the LLM calls of these simulations used, by role; without roles that made none."""
    found = dict.fromkeys(ROLES, Usage())
    for outcome in outcomes:
        for role, usage in outcome.usage.items():
            found[role] = found.get(role, Usage()) + usage
    return {role: usage for role, usage in found.items() if usage != Usage()}


def dollars(usage: Usage, digits: int = 4) -> str:
    """Such as "$0.1234", or "$0.1234 + 3 calls of unknown price", or "price unknown"."""
    return priced(usage.cost_usd, usage.uncosted_calls, digits)


def priced(usd: float, uncosted_calls: int, digits: int = 4) -> str:
    """The same for a sum: `uncosted_calls` are not in it."""
    if uncosted_calls and not usd:
        return "price unknown"
    calls = "call" if uncosted_calls == 1 else "calls"
    unknown = f" + {uncosted_calls:,} {calls} of unknown price" if uncosted_calls else ""
    return f"${usd:.{digits}f}{unknown}"


def known_cost(usages: Iterable[Usage]) -> float | None:
    """In US dollars; None if some call's model has no known price."""
    usages = list(usages)
    return None if any(usage.uncosted_calls for usage in usages) else sum(usage.cost_usd for usage in usages)


def passed(reward: float | None) -> bool:
    return reward is not None and reward >= 1 - _PASS_TOLERANCE


def is_cut_off(message: Mapping[str, Any]) -> bool:
    """Whether a message of a conversation ended at a limit of its model's tokens."""
    return message.get("finish_reason") == "length"


def is_addressed(outcome: Outcome) -> bool:
    """Whether the agent's words were meant for the user simulator or the judge."""
    return any(note.startswith(ADDRESSED) for note in outcome.notes)


def rewards_by_task(outcomes: Iterable[Outcome]) -> dict[str, float | None]:
    """Each task's mean reward over its evaluated trials; None if no trial could be evaluated."""
    rewards = by_task((outcome.trial.task_id, outcome.reward) for outcome in outcomes)
    return {task_id: mean(some) for task_id, some in rewards.items()}


def settled_rewards(outcomes: Iterable[Outcome]) -> dict[str, float | None]:
    """Each task's mean reward, for decisions: see `settled`."""
    return settled((outcome.trial.task_id, outcome.reward) for outcome in outcomes)


def settled(trials: Iterable[tuple[str, float | None]]) -> dict[str, float | None]:
    """Each task's mean reward: None if any of its trials was not evaluated.

    Otherwise a lost trial could raise the mean. `trials`: task ids and rewards.
    """
    return {task_id: None if None in rewards else mean(rewards) for task_id, rewards in by_task(trials).items()}


def by_task(pairs: Iterable[tuple[str, _Value]]) -> dict[str, list[_Value]]:
    """The values of each task, in order. `pairs`: task ids and values."""
    found: dict[str, list[_Value]] = {}
    for task_id, value in pairs:
        found.setdefault(task_id, []).append(value)
    return found


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None  # the same in any order


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def exact_digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value with its keys in order: a model writes in the order of a schema's keys."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def slug(task_id: str) -> str:
    """A folder name for a task id: readable, safe in every file system, and unique by its hash."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", task_id).strip("-")[:48] or "task"
    return f"{readable}-{hashlib.sha256(task_id.encode()).hexdigest()[:8]}"


def natural_order(task_id: str) -> tuple[int, int, str]:
    """Sorts 2 before 10, and numbers before names."""
    return (0, int(task_id), "") if task_id.isdecimal() else (1, 0, task_id)
