"""How good is the agent after a night, under this project's rule and under its peers'? A Monte-Carlo world, no LLM.

    python perf/gate_quality.py                      2,000 nights for each cell and rule
    python perf/gate_quality.py --world second       parameters drawn after the rule was frozen
    python perf/gate_quality.py --world hopeless     no edit helps
    python perf/gate_quality.py --ablation           the default with one thing changed at a time
    python perf/gate_quality.py --operating-points   one gate: how likely an edit of known gain is accepted
    python perf/gate_quality.py --constants ROOM=4   with other constants than in sequential_test.py

A night spends a budget of simulations on everything: the baseline, the proposals (each costs as much as so many
simulations), the trials of the gates, and the default's headline. It ends when the next proposal or gate cannot be
paid; a gate that is paid in part is void. The cells: 20, 40 and 114 held-out tasks times a proposal's cost.

Columns, each over all nights of a cell:

    gain      true quality of the final agent minus that of the baseline, in points, and its Monte-Carlo error
    worse     nights after which the final agent is truly worse than the baseline, in per cent
    empty     share of the acceptances that truly improve nothing, in per cent
    missed    share of the edits truly worth three points or more (scaled by the headroom left) that were rejected
    neutral   share of the edits that truly change nothing in the mean that were accepted, in per cent
    val       the recorded score of the final version minus the truth, in points
    headline  the same for the trial at the end that no verdict saw
    sims      simulations per decision, the incumbent's and those that an acceptance calls for among them
    gates     decisions in a night
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from autoharness.gate import sequential_test
from autoharness.gate.sequential_test import bar, operating_point
from perf.gate_rules import ABLATION, FIXED_SIZE, RULES, Default, Make
from perf.gate_world import WORLDS, Proposer, Simulator, World

SEED = 20261120
SAME_QUALITY = 0.005
"""Half a point: rules closer than that are of one quality."""
HONEST = 0.01
RARELY = 0.05
WORTH_FINDING = 0.03
CONSTANTS = ("START", "RISE", "ROOM", "SLOPE", "AT_THE_END")
_NO_CHANGE = 1e-9
_CHUNK = 50


class Cell(NamedTuple):
    tasks: int
    proposal_cost: int
    """In simulations."""


class Job(NamedTuple):
    """Some nights of one rule in one cell."""

    rule: str
    cell: Cell
    world: World
    budget: int
    nights: range


class Night(NamedTuple):
    """What came of one night. Gains and scores are means in [0, 1], the rest are counts."""

    gain: float
    val_error: float
    headline_error: float
    decisions: int = 0
    simulations: int = 0
    accepted: int = 0
    empty: int = 0
    worthwhile: int = 0
    missed: int = 0
    neutral: int = 0
    neutral_accepted: int = 0


class Result:
    """All nights of one rule in one cell; the properties are the columns."""

    def __init__(self, nights: list[Night]) -> None:
        self._columns = dict(zip(Night._fields, np.array(nights, float).T, strict=True))

    @property
    def gains(self) -> NDArray[np.float64]:
        return np.asarray(self._columns["gain"])

    @property
    def gain(self) -> float:
        return float(self.gains.mean())

    @property
    def worse(self) -> float:
        return float((self.gains < -_NO_CHANGE).mean())

    @property
    def headline_error(self) -> float:
        return float(self._columns["headline_error"].mean())

    @property
    def simulations(self) -> float:
        return self.ratio("simulations", "decisions")

    def ratio(self, part: str, whole: str) -> float:
        total = self._columns[whole].sum()
        return float(self._columns[part].sum() / total) if total else math.nan

    def row(self) -> str:
        val_error, decisions = self._columns["val_error"].mean(), self._columns["decisions"].mean()
        shares = (("empty", "accepted"), ("missed", "worthwhile"), ("neutral_accepted", "neutral"))
        return "  ".join(
            [
                f"{100 * self.gain:6.1f} ±{100 * _error(self.gains):4.2f}",
                f"{100 * self.worse:5.1f}",
                *(_percent(self.ratio(part, whole), "7.0f") for part, whole in shares),
                _percent(val_error, "+5.1f"),
                _percent(self.headline_error, "+8.1f"),
                f"{self.simulations:5.0f}",
                f"{decisions:5.0f}",
            ]
        )


HEADER = f"{'gain':>12}   worse    empty   missed  neutral    val  headline   sims  gates"
Results = dict[tuple[Cell, str], Result]


def _percent(value: float, form: str) -> str:
    """A dash where there is no such thing: no headline, or no edit of that kind."""
    printed = f"{100 * value:{form}}"
    return "-".rjust(len(printed)) if math.isnan(value) else printed


def _error(values: NDArray[np.float64]) -> float:
    """Monte-Carlo standard error of the mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def run_night(make: Make, world: World, cell: Cell, budget: int, seed: list[int]) -> Night:
    """Tasks, edits and trials each have a random stream of their own: every rule gets the same tasks and ideas."""
    tasks_stream, edits_stream, trials_stream = np.random.default_rng(seed).spawn(3)
    agent = baseline = world.tasks(tasks_stream, cell.tasks)
    proposer = Proposer(world, edits_stream, baseline)
    simulator = Simulator(trials_stream)
    rule = make(simulator)
    left = budget - rule.start(baseline) - (cell.tasks if rule.has_headline else 0)
    val_score, counts = rule.val_score, dict.fromkeys(Night._fields[3:], 0)
    while left >= cell.proposal_cost:
        candidate = proposer.edit(agent)
        accepted, simulations = rule.gate(candidate)
        left -= cell.proposal_cost + simulations
        if left < 0:
            break  # the gate could only be paid in part: void, as if it had never been asked
        gain = float(candidate.mean() - agent.mean())
        worthwhile = gain >= WORTH_FINDING * proposer.headroom_left(agent) - _NO_CHANGE
        _count(counts, gain, worthwhile, accepted, simulations)
        if accepted:
            agent, val_score = candidate, rule.val_score
    truth = float(agent.mean())
    headline = float(simulator.run(agent, 1).mean()) if rule.has_headline else math.nan
    return Night(truth - float(baseline.mean()), val_score - truth, headline - truth, **counts)


def _count(counts: dict[str, int], gain: float, worthwhile: bool, accepted: bool, simulations: int) -> None:
    neutral = abs(gain) <= _NO_CHANGE
    counts["decisions"] += 1
    counts["simulations"] += simulations
    counts["accepted"] += accepted
    counts["empty"] += accepted and gain <= _NO_CHANGE
    counts["worthwhile"] += worthwhile
    counts["missed"] += worthwhile and not accepted
    counts["neutral"] += neutral
    counts["neutral_accepted"] += neutral and accepted


def set_constants(constants: list[tuple[str, float]]) -> None:
    """In this process: the default walks by these."""
    for name, value in constants:
        setattr(sequential_test, name, value)


def run_job(job: Job) -> list[Night]:
    make = (RULES | ABLATION)[job.rule]
    return [run_night(make, job.world, job.cell, job.budget, [SEED, *job.cell, night]) for night in job.nights]


def measure(pool: ProcessPoolExecutor, rule: str, cell: Cell, world: World, budget: int, replications: int) -> Result:
    chunks = [range(i, min(i + _CHUNK, replications)) for i in range(0, replications, _CHUNK)]
    jobs = [Job(rule, cell, world, budget, chunk) for chunk in chunks]
    return Result([night for nights in pool.map(run_job, jobs) for night in nights])


def goals(results: Results) -> Iterator[str]:
    """The goals, each with its figures. All read the results alone."""
    cells = sorted({cell for cell, _ in results})
    rules = [name for name in RULES if (cells[0], name) in results]
    if len(rules) > 1:
        yield from _best_quality(results, [cell for cell in cells if cell.proposal_cost >= 40], rules)
    honest = {cell: results[cell, "default"].headline_error for cell in cells}
    yield _verdict(
        f"headline within {100 * HONEST:.0f} point of the truth",
        all(abs(error) <= HONEST for error in honest.values()),
        [f"{_name(cell)} {100 * error:+.2f}" for cell, error in honest.items()],
    )
    worse = {cell: results[cell, "default"].worse for cell in cells}
    yield _verdict(
        f"worse than the baseline after at most {100 * RARELY:.0f} % of the nights",
        all(share <= RARELY for share in worse.values()),
        [f"{_name(cell)} {100 * share:.1f} %" for cell, share in worse.items()],
    )
    if len(rules) > 1:
        yield from _cheapest(results, cells, rules)


def _best_quality(results: Results, cells: list[Cell], rules: list[str]) -> Iterator[str]:
    """With the standard error of the difference, over nights with the same tasks and ideas."""
    figures, met = [], True
    for cell in cells:
        gains = {rule: results[cell, rule].gain for rule in rules}
        best = max(gains, key=gains.__getitem__)
        behind = results[cell, best].gains - results[cell, "default"].gains
        met &= bool(behind.mean() <= SAME_QUALITY)
        figures.append(
            f"{_name(cell)} {-100 * behind.mean():+.2f} ±{100 * _error(behind):.2f} ({best})"
            if best != "default"
            else f"{_name(cell)} highest"
        )
    if cells:
        title = f"gain the highest, or within {100 * SAME_QUALITY} points of it, where a proposal costs 40 or more"
        yield _verdict(title, met, figures)


def _cheapest(results: Results, cells: list[Cell], rules: list[str]) -> Iterator[str]:
    figures, met = [], True
    for cell, rule in product(cells, [rule for rule in rules if rule in FIXED_SIZE]):
        default, peer = results[cell, "default"], results[cell, rule]
        if peer.gain >= default.gain - SAME_QUALITY:
            met &= default.simulations < peer.simulations
            figures.append(f"{_name(cell)} {default.simulations:.0f} against {peer.simulations:.0f} ({rule})")
    title = "fewer simulations per decision than every rule of fixed size with its quality"
    yield _verdict(title, met, figures or ["no rule of fixed size has its quality"])


def _name(cell: Cell) -> str:
    return f"{cell.tasks}/{cell.proposal_cost}:"


def _verdict(title: str, met: bool, figures: list[str]) -> str:
    return "\n".join([f"{'met    ' if met else 'NOT MET'}  {title}", *(f"           {figure}" for figure in figures)])


def operating_points() -> Iterator[str]:
    """One gate, calculated exactly, in the first world; as if each pair had one trial of the incumbent to itself."""
    rates = World().tasks(np.random.default_rng(SEED), 100_000)
    differing = float((2 * rates * (1 - rates)).mean())
    yield f"share of pairs that differ: {differing:.2f}; probability of acceptance / expected pairs"
    yield "tasks  questions  bar   no change   +3 points   +5 points  +10 points"
    for tasks, questions in product((20, 40, 114), (0, 3, 15)):
        level = bar(questions)
        points = (operating_point(level, tasks * Default.TRIALS, differing, gain) for gain in (0, 0.03, 0.05, 0.10))
        yield f"{tasks:5} {questions:10} {level:4.1f}" + "".join(f"  {p:4.2f} /{n:4.0f}" for p, n in points)


def run(options: argparse.Namespace) -> None:
    world, rules = WORLDS[options.world], [*options.rules, *(ABLATION if options.ablation else [])]
    print(f"world {options.world}: {world.describe()}")
    constants = "".join(f"  {name} {value:g}" for name, value in options.constants)
    print(f"replications: {options.replications}  budget: {options.budget} simulations{constants}\n")
    print(f"{'tasks':>5}  {'cost':>4}  {'rule':26}{HEADER}")
    results: Results = {}
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, initializer=set_constants, initargs=(options.constants,)) as pool:
        for cell in (Cell(*pair) for pair in product(options.tasks, options.costs)):
            for rule in rules:
                result = measure(pool, rule, cell, world, options.budget, options.replications)
                results[cell, rule] = result
                print(f"{cell.tasks:5}  {cell.proposal_cost:4}  {rule:26}{result.row()}", flush=True)
            print()
    if world.helpful and "default" in rules:
        print("GOALS (tasks/cost of a proposal; points)", *goals(results), sep="\n")


def _constant(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in CONSTANTS:
        raise argparse.ArgumentTypeError(f"{text}: NAME=VALUE, NAME one of {', '.join(CONSTANTS)}")
    return name, float(value)


def main(arguments: list[str] | None = None) -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=2000, help="nights for each cell and rule")
    parser.add_argument("--budget", type=int, default=6000, help="simulations in a night")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="RULE")
    parser.add_argument("--world", choices=WORLDS, default="first")
    parser.add_argument("--tasks", type=int, nargs="+", default=[20, 40, 114])
    parser.add_argument("--costs", type=int, nargs="+", default=[0, 40, 200], help="of a proposal, in simulations")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--constants", nargs="+", type=_constant, default=[], metavar="NAME=VALUE", help="ROOM=4")
    parser.add_argument("--operating-points", action="store_true")
    options = parser.parse_args(arguments)
    if options.budget < 10 * max(options.tasks):
        parser.error("--budget: at least ten simulations for each task, or not even the baselines can be paid")
    if options.operating_points:
        set_constants(options.constants)
        print(*operating_points(), sep="\n")
    else:
        run(options)


if __name__ == "__main__":
    main()
