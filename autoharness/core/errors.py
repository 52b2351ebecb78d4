"""Every error the project raises on purpose, as one tree.

AutoHarnessError
  UserError               the user can fix it: one line, exit 3, nothing run
    SetupError            ... by installing or fetching something
    NotPlain              ... by putting a plain file in the place of a link
  RunLimitReached         the command may spend no more: one line, exit 2, nothing decided
  Outage                  infrastructure keeps failing: one line, exit 2, nothing decided
  SimulationError         one simulation went wrong; `status` says whose fault it was
    AgentError            the agent's: it scores 0
      AgentTimeout
      HostDied            the agent host ended, because of the agent's code
    InfrastructureError   nobody's score: reward None, run again
      ProviderError  UserSimulatorError  JudgeError  EvaluationError  WorkerDied  HostFailed  HostKilled
      ContextTooSmall
  LayerMissing            the kernel has no such part of the confinement
  TooManyLayers           ... or has it, and this process is confined too often already
  Interrupted             Ctrl-C in a run of trials: what was finished is kept, exit 130
  SharedRecordChanged     a simulation does not count, and runs again on databases of its own
  MessageTooLong          over the limit of a channel's line
  ChannelError            the other process closed its end, or sent something that is not a message
"""

from typing import Any, ClassVar

EXIT_UNDECIDED = 2
EXIT_MISUSE = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class AutoHarnessError(Exception):
    """Base class of all errors here."""


class UserError(AutoHarnessError):
    """A mistake the user can fix. The message is one line: what, where, and how to fix it."""


class SetupError(UserError):
    """A package or data file is missing or is not the one expected."""


class NotPlain(UserError):
    """A link, a pipe, a device, a folder or too large a file, where a plain file is expected."""


class LayerMissing(AutoHarnessError):
    """The kernel or the machine lacks a part of the agent host's confinement; the message says what."""


class TooManyLayers(AutoHarnessError):
    """Landlock can be stacked only 16 times. The kernel does have it, so nothing is run with less confinement."""


class Interrupted(AutoHarnessError):
    """Ctrl-C in a run of trials: what was finished is kept, and the same command runs the rest."""


class RunLimitReached(AutoHarnessError):
    """A limit is reached while simulations or edits are left; `limit` says which. What was finished is kept.

    It is no field of `Run`: nothing may be concluded from a part of the trials, and a caller could forget to look.
    """

    def __init__(self, limit: str, left: str = "") -> None:
        """`left`: what is left to do, for commands that end there."""
        super().__init__("; ".join(filter(None, (limit, left))))
        self.limit = limit


class Outage(AutoHarnessError):
    """A provider, or the coding agent, kept failing. The same command continues from there."""


class SharedRecordChanged(AutoHarnessError):
    """A tool changed a record that other simulations see: this one does not count, and runs again in `plain`."""


class ChannelError(AutoHarnessError):
    """The process at the other end is gone or does not speak the protocol."""


class MessageTooLong(AutoHarnessError, ValueError):
    """The message is over the limit of a channel's line."""


class SimulationError(AutoHarnessError):
    """One simulation could not be finished. `status` is the status it is recorded with."""

    status: ClassVar[str]
    messages: tuple[dict[str, Any], ...] = ()
    """The conversation as far as it went."""


class AgentError(SimulationError):
    """The agent's own failure; scores 0."""

    status = "agent_error"


class AgentTimeout(AgentError):
    """The agent's own code took longer than `agent_timeout_s` for one turn."""

    status = "timed_out"


class HostDied(AgentError):
    """The agent host ended, or had to be ended. `hung` says that it did not answer in time."""

    def __init__(self, message: str, hung: bool = False) -> None:
        super().__init__(message)
        self.hung = hung


class InfrastructureError(SimulationError):
    """Not the agent's failure. `retryable` is False if trying again cannot help (a wrong key)."""

    def __init__(self, message: str, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ProviderError(InfrastructureError):
    """The agent's LLM could not be reached or did not answer with a completion."""

    status = "provider_error"


class UserSimulatorError(InfrastructureError):
    """The user simulator's LLM failed, or said nothing."""

    status = "user_error"


class JudgeError(InfrastructureError):
    """The judge's LLM failed, or gave no verdict."""

    status = "judge_error"


class EvaluationError(InfrastructureError):
    """tau2's environment or evaluator itself raised."""

    status = "environment_error"


class ContextTooSmall(InfrastructureError):
    """A model's first request of a conversation is too long for it: nothing of that is the agent's."""

    status = "setup_error"


class HostFailed(InfrastructureError):
    """An agent host did not start; it had not read a line of the agent's code yet."""

    status = "setup_error"


class HostKilled(InfrastructureError):
    """Another process killed the agent host."""

    status = "setup_error"


class WorkerDied(InfrastructureError):
    """The simulation worker ended with this simulation in flight."""

    status = "setup_error"
