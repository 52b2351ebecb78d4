"""Keeps a conversation's messages in the order in which they were said.

tau2 sorts them by the local time at which each was made. If the clock goes back - at the end of summer time, or
because somebody sets it - answers of tools come before their calls: then a replay raises, or a check fails.
"""

from functools import wraps
from typing import Any


def install(orchestrator_class: Any) -> None:
    """Once for each process."""
    trajectory_in = orchestrator_class.get_trajectory

    @wraps(trajectory_in)
    def get_trajectory(self: Any) -> Any:
        latest = ""
        for message in self.trajectory:
            message.timestamp = latest = max(latest, message.timestamp or "")
        return trajectory_in(self)

    orchestrator_class.get_trajectory = get_trajectory
