"""What a worker sends to the door."""

import socket

from simulations import TASK

from autoharness.core.channel import MAX_LINE_BYTES, Channel
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.engine.messages import TrialEnded, decoded
from autoharness.engine.worker import Worker


def test_an_outcome_that_cannot_be_sent_is_not_waited_for_in_vain() -> None:
    ours, theirs = socket.socketpair()
    bad = Outcome(Trial(TASK, 0, 1), Status.FAILED, 0.0, reward_info={"reward": float("nan")})
    Worker(Channel(ours))._send_outcome(7, bad)
    message = decoded(Channel(theirs).receive() or {})
    assert isinstance(message, TrialEnded) and (message.job, message.outcome["status"]) == (7, "setup_error")


def test_an_outcome_that_is_too_long_keeps_its_reward() -> None:
    """Otherwise a failing agent would call tools until its outcome cannot be sent: no reward, and another try."""
    ours, theirs = socket.socketpair()
    long = Outcome(Trial(TASK, 0, 1), Status.FAILED, 0.0, messages=[{"content": "x" * MAX_LINE_BYTES}])
    Worker(Channel(ours))._send_outcome(7, long)
    message = decoded(Channel(theirs).receive() or {})
    assert isinstance(message, TrialEnded)
    sent = Outcome.from_json(message.outcome)
    assert (sent.status, sent.reward, sent.messages) == (Status.FAILED, 0.0, [])
    assert "without its conversation" in sent.notes[0]


def test_an_outcome_that_is_too_long_even_without_its_conversation_is_an_error_that_says_so() -> None:
    ours, theirs = socket.socketpair()
    long = Outcome(Trial(TASK, 0, 1), Status.FAILED, 0.0, reward_info={"note": "x" * MAX_LINE_BYTES})
    Worker(Channel(ours))._send_outcome(7, long)
    message = decoded(Channel(theirs).receive() or {})
    assert isinstance(message, TrialEnded)
    sent = Outcome.from_json(message.outcome)
    assert sent.status == Status.SETUP_ERROR and "the outcome cannot be sent" in sent.detail
