"""The present state of the loop and its runs, in words, for the live page and the terminal."""

from dataclasses import dataclass
from pathlib import Path

from autoharness.engine.live_runs import Going, going
from autoharness.loop.status import LOOP_LOCK, noted, noted_limits
from autoharness.vault.spending import spent
from autoharness.vault.store import Store


@dataclass(frozen=True)
class Now:
    """The present state of a vault."""

    loop: str
    """Such as "iteration 7, gate since 2026-11-26T01:40:36+00:00"."""
    running: bool
    """Whether the loop runs."""
    spent: str
    """In all, by role, and against the cap if there is one."""
    limits: str
    rate_limits: list[str]
    runs: list[Going]

    @classmethod
    def of(cls, store: Store) -> "Now":
        running, limits, runs = store.is_locked(LOOP_LOCK), noted_limits(store), going(store)
        spending, most = spent(store), limits.get("max_usd")
        cap = f" of at most ${most:g}" if most is not None else ""
        total, space, roles = spending.line.partition(" (")
        waits = "".join(f"; {run.waits}" for run in runs if run.waits)
        return cls(
            loop=noted(store).words(running) + waits,
            running=running,
            spent=f"{total}{cap}{space}{roles}",
            limits=", ".join(f"{name} {value:g}" for name, value in limits.items()),
            rate_limits=[
                f"{model}: met {one.times} times, the last at {one.at}, for {one.pause_s:.1f} s"
                for run in runs
                for model, one in run.rate_limits.items()
            ],
            runs=runs,
        )


def made_of(store: Store) -> str:
    """A name for the present state of the vault: it changes with every step of the loop and every run, not with
    every simulation."""
    files = [store.folder / name for name in ("ledger.jsonl", "holdout.jsonl")]
    files += sorted((store.folder / "iterations").glob("*/iteration.json"))
    stamps = [_stamp(file) for file in files]
    return f"{hash(tuple(stamps)):x}"


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
