"""Whether the loop finds what helps: the true effects of a bank of edits, and what nights of the loop make of them.

    python perf/loop.py --effects    the true effect of each edit of examples/edits.py on the template, measured
    python perf/loop.py --nights     three nights of twelve iterations, each with a draw of its own
                                           (either takes about half an hour on two cores)

The offline model plays agent and customer on telecom's real tasks; a scripted coding agent draws from the bank. A
true rate is the mean over 20 trials of each held-out task, with seeds that no loop has. What was measured is kept in
--folder.
"""

import argparse
import math
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from checkout import Checkout  # noqa: E402
from edits import BANK  # noqa: E402

from autoharness.core.stats import mean_interval  # noqa: E402
from autoharness.engine.benchmark_runner import TauBenchRunner  # noqa: E402
from autoharness.vault.iterations import ACCEPTED, Iteration, Iterations  # noqa: E402
from autoharness.vault.ledger import Ledger  # noqa: E402
from autoharness.vault.store import Store  # noqa: E402

DOMAIN = "telecom"
TRIALS = 20
SEED = 90_000
"""The first number of the trials that measure a true rate: no loop uses these."""
ITERATIONS = 12
TEMPLATE = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
CONFIG = f"""domain: {DOMAIN}
agent_model: offline/clerk
max_concurrency: 8
coding_agent: scripted
max_iterations: {ITERATIONS}
max_without_gain: {ITERATIONS}
"""


class Truth:
    """True success rates of agent files on the held-out tasks, by many trials; what was measured is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, list[float]] = {}

    def rates(self, source: str) -> list[float]:
        """Each held-out task's mean reward."""
        if source not in self._known:
            file = self._folder / "agent.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
            runner = TauBenchRunner(
                DOMAIN,
                "offline/clerk",
                "test",
                2 * (os.cpu_count() or 1),
                SEED,
                trials=TRIALS,
                agent_file=file,
                store=Store(self._folder / "vault"),
            )
            rewards = runner.run()
            assert None not in rewards.values(), "a trial was lost: run it again"
            self._known[source] = [reward for reward in rewards.values() if reward is not None]
        return self._known[source]

    def rate(self, source: str) -> float:
        return fmean(self.rates(source))

    def effect(self, before: str, after: str) -> tuple[float, float]:
        """In points, and its standard error over the draws of the trials: these tasks are all there are."""
        rates = [self.rates(source) for source in (before, after)]
        draws = sum(rate * (1 - rate) / (TRIALS - 1) for some in rates for rate in some)
        return 100 * (fmean(rates[1]) - fmean(rates[0])), 100 * math.sqrt(draws) / len(rates[0])


@dataclass(frozen=True)
class Night:
    """What one loop came to."""

    seed: int
    gain: float
    """The final agent's true rate minus the template's, in points."""
    worst_kept: float
    """The least true effect of an edit that was kept, on the template or on the version that it was made from."""
    cheats_kept: list[str]
    score_holds: bool
    """Whether the final agent's true rate lies in the interval of val_score, its one trial of each task."""
    confirmed_holds: bool
    """... in that of the confirmation, which is the number for the morning."""
    gain_holds: bool
    """Whether its true gain over the template lies in the confirmed one's interval."""


def effects(truth: Truth) -> None:
    print(f"template: true success rate {truth.rate(TEMPLATE):.3f}  ({DOMAIN} test, {TRIALS} trials of each task)")
    for edit in BANK:
        if edit.name.startswith("cheat"):
            continue  # refused, whatever it is worth
        effect, error = truth.effect(TEMPLATE, edit.apply(TEMPLATE))
        print(f"{edit.name:26} {effect:+6.1f} points, standard error {error:.1f}", flush=True)


def night(seed: int, folder: Path, truth: Truth) -> Night:
    """Runs the loop, or goes on with it where it was left, and looks at what it kept."""
    bank = ROOT / "examples" / "edits.py"
    config = f"{CONFIG}coding_agent_args: ['--bank', '{bank}', '--seed', '{seed}']\n"
    checkout = Checkout(folder) if folder.exists() else Checkout.make(folder, config)
    started = time.monotonic()
    for door in ("prepare.py", "optimize.py"):
        done = checkout.run(door)
        assert done.returncode == 0, done.stderr
    print(f"\nnight {seed}: {time.monotonic() - started:.0f} s; {ITERATIONS} iterations")
    store = Store(checkout.vault)
    iterations, best = Iterations(store).all(), Ledger(store).best
    for iteration in iterations:
        print(f"  {_line(iteration, store, truth)}", flush=True)
    kept = [one for one in iterations if one.end == ACCEPTED]
    final = store.agent_source(best.row.agent)
    true, rewards = truth.rate(final), [reward or 0.0 for reward in best.row.held_out.values()]
    low, high = mean_interval(rewards)
    print(f"  final agent: true rate {true:.3f}, reported {fmean(rewards):.3f} ({low:.2f} to {high:.2f})")
    confirmed = _confirmed(checkout)
    print("\n".join(f"  {name}: {line}" for name, line in confirmed.items()), flush=True)
    gain = 100 * (true - truth.rate(TEMPLATE))
    return Night(
        seed=seed,
        gain=gain,
        worst_kept=min((effect for one in kept for effect in _effects(one, store, truth)), default=0.0),
        cheats_kept=[_name(one) for one in kept if _name(one).startswith("cheat")],
        score_holds=low <= true <= high,
        confirmed_holds=_lies_in(true, confirmed["best"]),
        gain_holds=_lies_in(gain, confirmed["difference"]),
    )


def _line(iteration: Iteration, store: Store, truth: Truth) -> str:
    line = f"{iteration.number:2} {_name(iteration):26} {iteration.end:9}"
    if iteration.end == ACCEPTED:
        on_incumbent, on_template = _effects(iteration, store, truth)
        return f"{line} worth {on_incumbent:+.1f} points on what it was made from, {on_template:+.1f} on the template"
    return f"{line} {'; '.join(iteration.reasons[:2])[:110]}"


def _effects(iteration: Iteration, store: Store, truth: Truth) -> tuple[float, float]:
    """The true effect of a kept edit on the version it was made from, and on the template."""
    assert iteration.edit
    before, after = (store.agent_source(agent) for agent in (iteration.incumbent, iteration.edit.agent))
    edit = next(edit for edit in BANK if edit.name == _name(iteration))
    return truth.effect(before, after)[0], truth.effect(TEMPLATE, edit.apply(TEMPLATE))[0]


def _name(iteration: Iteration) -> str:
    return iteration.edit.note.partition(":")[0] if iteration.edit else "?"


def _confirmed(checkout: Checkout) -> dict[str, str]:
    """The lines of the confirmation."""
    printed = checkout.run("report.py", "--confirm").stdout
    return dict(re.findall(r"^(baseline|best|difference|confirmed): (.+)", printed, re.MULTILINE))


def _lies_in(value: float, line: str) -> bool:
    low, high = re.findall(r"interval ([+-]?[\d.]+) to ([+-]?[\d.]+)", line)[0]
    return float(low) <= value <= float(high)


def nights(seeds: list[int], folder: Path, truth: Truth) -> None:
    found = [night(seed, folder / f"night-{seed}", truth) for seed in seeds]
    print("\nlies the truth in the interval of ...                                 val_score  confirmed  difference")
    for one in found:
        facts = (
            f"gain {one.gain:+.1f} points, worst edit kept {one.worst_kept:+.1f}, cheats kept {len(one.cheats_kept)}"
        )
        holds = ["yes" if held else "no" for held in (one.score_holds, one.confirmed_holds, one.gain_holds)]
        print(f"seed {one.seed}: {facts:62} {holds[0]:9}  {holds[1]:9}  {holds[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--effects", action="store_true", help="the true effect of each edit on the template")
    parser.add_argument("--nights", action="store_true", help="nights of the loop, and what they kept")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of the draws from the bank")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where what was measured is kept")
    options = parser.parse_args()
    truth = Truth(options.folder / "truth")
    if options.effects:
        effects(truth)
    if options.nights:
        nights(options.seeds, options.folder, truth)


if __name__ == "__main__":
    main()
