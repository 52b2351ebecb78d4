"""The messages between a command and its workers: typed here, one JSON object each on the channel.

To a worker: `Setup` first, then questions, `UseAgents`, `RunTrial`, `Limited`. From it: `Started`; `Ready` if it can
be given work, an `Answer` to each question, `Said` and `TrialEnded` of trials, and what it notices meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from autoharness.core.channel import Channel

Json = dict[str, Any]

_KIND = "is"


@dataclass(frozen=True)
class Setup:
    experiment: Json
    agents: dict[str, str]
    """Agent files, by SHA-256."""
    threads: int
    layers: dict[str, str] | None
    """What confines the agent hosts of the first worker, and has to confine those of this one."""
    secret: str
    folder: str = ""
    """Where agent hosts have theirs. This and the rest are paths of the worker's machine (`on_this_machine`)."""
    private: list[str] = field(default_factory=list)
    """Paths that no agent host may read."""
    llm_cache: str = ""
    """The folder with kept answers; empty without."""


@dataclass(frozen=True)
class UseAgents:
    """Be ready for trials of these agent files, and end the hosts of others."""

    agents: dict[str, str]


@dataclass(frozen=True)
class AskFacts:
    domain: str


@dataclass(frozen=True)
class AskMissingKeys:
    models: list[str]


@dataclass(frozen=True)
class AskUnpriced:
    models: list[str]


@dataclass(frozen=True)
class AskServers:
    """Ask each model a few short questions: see `llm.server_check`."""

    domain: str


@dataclass(frozen=True)
class AskLeaks:
    """What an edit gives away: the agent file before and after it, and the baseline's."""

    domain: str
    before: str
    after: str
    baseline: str


@dataclass(frozen=True)
class AskPublished:
    domain: str
    tasks: list[str]


@dataclass(frozen=True)
class Provide:
    """Have the benchmark fetch its data."""


@dataclass(frozen=True)
class RunTrial:
    job: int
    trial: Json
    diagnose: bool
    """Whether its failure is to be explained."""
    say: bool
    """Whether its messages are to be sent as they come."""
    unfinished: str
    """The file of its earlier tries; empty without."""


@dataclass(frozen=True)
class Limited:
    """A provider's rate limit was met: calls of this model pause. In both directions."""

    model: str
    pause_s: float


@dataclass(frozen=True)
class Started:
    pid: int


@dataclass(frozen=True)
class Ready:
    pass


@dataclass(frozen=True)
class Beat:
    """Sent every few seconds by a worker that is not stuck."""


@dataclass(frozen=True)
class Answer:
    """To the question that was asked last."""

    value: Any = None


@dataclass(frozen=True)
class Mistake:
    """A mistake of the user's that only a worker can see, as one line."""

    line: str


@dataclass(frozen=True)
class Said:
    """One message of a conversation; its place counts from 0."""

    job: int
    place: int
    message: Json


@dataclass(frozen=True)
class TrialEnded:
    job: int
    outcome: Json


@dataclass(frozen=True)
class Down:
    """A model answers nothing; `for_good`: waiting cannot change that. See `circuit_breaker`."""

    model: str
    why: str
    for_good: bool = False


@dataclass(frozen=True)
class Up:
    model: str


Question = AskFacts | AskMissingKeys | AskUnpriced | AskServers | AskLeaks | AskPublished | Provide
ToWorker = Setup | UseAgents | Question | RunTrial | Limited
FromWorker = Started | Ready | Beat | Answer | Mistake | Said | TrialEnded | Limited | Down | Up
Message = ToWorker | FromWorker

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in Message.__args__}


def encoded(message: Message) -> Json:
    """As it is sent. What is inside stays as it is: outcomes are large."""
    return {_KIND: type(message).__name__, **{one.name: getattr(message, one.name) for one in fields(message)}}


def decoded(received: Mapping[str, Any]) -> Message:
    """Raises KeyError or TypeError for what is no message: a worker is trusted, so that is a bug."""
    given = dict(received)
    return _KINDS[given.pop(_KIND)](**given)


def send(channel: Channel, message: Message) -> None:
    """Raises ChannelError."""
    channel.send(encoded(message))
