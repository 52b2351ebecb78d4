"""`python optimize.py`: start the loop in the evening, read the result in the morning.

The same command goes on where the last one ended, however that was. Ctrl-C once, or a file workspace/STOP, lets the
simulations in flight finish and ends it; Ctrl-C twice ends it now. SIGTERM is Ctrl-C once, and a minute later twice,
since docker and systemd send SIGKILL some time after it.
"""

import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from autoharness.commands.cli import Parser, run_door
from autoharness.commands.end_signals import SIGTERM
from autoharness.core.command_form import typed
from autoharness.core.endpoints import check_keys
from autoharness.core.errors import EXIT_INTERRUPTED, Interrupted, Outage, UserError
from autoharness.core.redaction import guard
from autoharness.core.setting_sources import resolve
from autoharness.core.settings import SIMULATED, Experiment
from autoharness.core.stats import score_line
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.score_identity import Measure
from autoharness.gate.record import check_repository
from autoharness.loop.coding_agent import Coder
from autoharness.loop.coding_agents.choice import chosen
from autoharness.loop.coding_agents.scripted import SCRIPTED
from autoharness.loop.loop import Loop
from autoharness.loop.patience import PATIENCE_S
from autoharness.loop.status import (
    LOOP_LOCK,
    Phase,
    clean_up,
    not_enforced_lines,
    note_end,
    note_limits,
    note_phase,
    noted,
    status_lines,
    summary,
)
from autoharness.report.dashboard import dashboard, watch
from autoharness.vault import code_digest
from autoharness.vault.iterations import ACCEPTED, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import reveal_lines
from autoharness.vault.spending import spent
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import WORKSPACE, set_aside_edited

__all__ = ["main", "run_door"]

_STOP_FILE = WORKSPACE / "STOP"
_ONE_PRESS_S = 0.3
"""`docker compose run` passes a signal on twice."""
_LONGEST_END_S = 60
"""After SIGTERM; less than `stop_grace_period` in docker-compose.yml."""
_LIMITS = ("max_iterations", "max_hours", "max_usd", "max_without_gain")
_OF_THE_LOOP = (*_LIMITS, "coding_agent", "coding_model")


def main(arguments: list[str]) -> int:
    """Exit code 0 if a limit or the file STOP ended it, 130 after Ctrl-C. Raises Outage and UserError."""
    options = _parser().parse_args(arguments)
    store = Store(default_vault())
    if options.status:
        print("\n".join(status_lines(store)))
        return 0
    if options.watch:
        return watch(store)
    settings = {name: getattr(options, name) for name in _OF_THE_LOOP}
    if options.no_waiting:
        settings["max_outage_s"] = 0.0
    experiment = resolve(settings, options.config, options.set).experiment
    guard(experiment.endpoints.values())
    with store.lock(), store.lock(LOOP_LOCK), Stop() as stop, BenchmarkRunner.of(experiment).workers() as workers:
        clean_up(store)
        note_limits(store, {name: getattr(experiment, name) for name in _LIMITS})
        measure = _ready(experiment, store, workers)
        coder = Coder(chosen(experiment), experiment, measure.facts["folders"])
        coder.settle_traces()
        note_phase(store, 0, Phase.STARTING)
        for line in [_headline(coder, experiment), *(f"not enforced: {line}" for line in coder.not_enforced)]:
            print(f"[optimize] {line}", file=sys.stderr, flush=True)
        patience_s = () if options.no_waiting else PATIENCE_S
        try:
            with dashboard(store) as progress:
                reason = Loop(measure, store, coder, workers, stop.reason, patience_s, progress).run()
        except (Outage, UserError) as error:
            note_end(store, str(error))
            raise
        except (Interrupted, KeyboardInterrupt):
            reason, iteration = SIGTERM if stop.by == SIGTERM else "Ctrl-C twice", noted(store).iteration
        else:
            iteration = 0
        note_end(store, reason, iteration)
        print("\n".join(_result(store, measure, reason)))
        return EXIT_INTERRUPTED if stop.signals else 0


class Stop:
    """A user's request to stop. Use as a context manager: it listens for signals until it is left."""

    def __init__(self) -> None:
        self.signals, self.by, self._file = 0, "", ""
        self._last_s = -_ONE_PRESS_S
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reason(self) -> str:
        """Why nothing more may begin; "" if it may."""
        if self.signals:
            return self.by
        if _STOP_FILE.exists():
            _STOP_FILE.unlink()  # it is for this run alone
            self._file = f"the file {_STOP_FILE}"
        return self._file

    def _take(self, number: int, frame: FrameType | None) -> None:
        last_s, self._last_s = self._last_s, time.monotonic()
        if (number == signal.SIGTERM and self.signals) or self._last_s - last_s < _ONE_PRESS_S:
            return
        self.signals += 1
        if self.signals > 1:
            raise KeyboardInterrupt
        self.by = "Ctrl-C" if number == signal.SIGINT else SIGTERM
        again = "Ctrl-C again ends it now"
        if number == signal.SIGTERM:
            signal.alarm(_LONGEST_END_S)
            again = f"it ends now in {_LONGEST_END_S} s"
        print(f"[optimize] finishing what is in flight; {again}", file=sys.stderr, flush=True)


def _parser() -> Parser:
    parser = Parser(
        prog="optimize.py",
        description="Drive the loop: a coding agent edits agent/agent.py, the gate decides, again and again.",
        epilog="All limits count over all runs of this experiment. Exit codes: 0 a limit or workspace/STOP ended it, "
        "2 infrastructure kept failing, 3 misuse, 130 interrupted. The same command goes on.",
    )
    parser.add_argument("--status", action="store_true", help="say where the loop is, also while it runs elsewhere")
    parser.add_argument("--watch", action="store_true", help="follow a loop that runs elsewhere, until it ends")
    parser.add_argument("--max-iterations", type=int, metavar="N", help="stop after N iterations")
    parser.add_argument("--max-hours", type=float, metavar="H", help="stop after H hours of work")
    parser.add_argument("--max-usd", type=float, metavar="USD", help="begin nothing that could spend more than this")
    parser.add_argument(
        "--max-without-gain", type=int, metavar="N", help="stop after N iterations in a row without a gain"
    )
    parser.add_argument(
        "--coding-agent", metavar="NAME", help="claude, codex, opencode, gemini, aider, mini, scripted"
    )
    parser.add_argument("--coding-model", metavar="MODEL", help="as the coding agent names it")
    parser.add_argument("--no-waiting", action="store_true", help="if infrastructure fails, give up at once")
    parser.add_settings()
    return parser


def _ready(experiment: Experiment, store: Store, workers: LocalExecutor) -> Measure:
    """The measure. Raises UserError if something is missing that would stop the loop later."""
    check_repository()
    look = BenchmarkRunner.of(experiment).look(workers)
    check_keys(experiment.endpoints, look.missing_keys)
    ledger = Ledger(store, look.measure.id)
    if not ledger.versions:
        raise UserError(f"no baseline for {look.measure.words} as it is configured now: {typed('prepare.py')}")
    look.measure.check_splits()
    code_digest.check(store, ledger.evaluator)
    _check_prices(experiment, look.unpriced)
    for line in set_aside_edited(Ledger(store)):
        print(f"[optimize] {line}", file=sys.stderr)
    return look.measure


def _check_prices(experiment: Experiment, unpriced: Sequence[str]) -> None:
    """A cap in dollars needs to know what everything costs."""
    if experiment.max_usd is None:
        return
    for model in unpriced:
        raise UserError(
            f"max_usd: no price is known for {model}: set prices: {{{model!r}: {{input: USD, output: USD}}}} (for a "
            "million tokens) in experiment_config.yaml, or take max_usd out"
        )
    if chosen(experiment).name != SCRIPTED and experiment.coding_agent_usd is None:
        raise UserError("max_usd: set coding_agent_usd too, what one edit of the coding agent may cost")


def _headline(coder: Coder, experiment: Experiment) -> str:
    most = f", {experiment.max_usd:g} USD" if experiment.max_usd is not None else ""
    model = f" with {experiment.coding_model}" if experiment.coding_model else ""
    limits = f"{experiment.max_iterations} iterations, {experiment.max_hours:g} hours{most}"
    return f"coding agent {coder.agent.name}{model}; at most {limits}"


def _result(store: Store, measure: Measure, reason: str) -> list[str]:
    ledger = Ledger(store, measure.id)
    iterations = Iterations(store).all(measure.id)
    finished = [one for one in iterations if one.finished]
    kept = [one for one in finished if one.end == ACCEPTED]
    best = ledger.best
    lines = [
        *(f"  {summary(one)}" for one in finished),
        f"iterations: {len(finished)} finished, {len(kept)} accepted",
        f"best: {best.name}  ({best.row.measured})",
        f"val_score: {score_line(best.row.held_out.values(), measure.experiment.trials)}",
        f"baseline: {score_line(ledger.versions[0].row.held_out.values(), measure.experiment.trials)}",
        f"gate_runs: {ledger.questions}",
        f"questions: {ledger.questions} asked of the holdout",  # as earlier versions said it
        f"spent: {spent(store).line}",
        f"isolation: {measure.isolation}",
        *not_enforced_lines(iterations),
        *reveal_lines(best.row),
        *ledger.evaluator_lines,
        f"stopped: {reason}",
        f"next: {typed('report.py --confirm')}" if kept else f"next: read {WORKSPACE / 'learnings.md'}",
    ]
    return [*lines, SIMULATED] if best.row.simulated else lines
