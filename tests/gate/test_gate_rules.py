"""The rules in perf/gate_rules.py against verdicts worked out by hand, and the benchmark itself, small."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from autoharness.gate.sequential_test import bar
from perf.gate_quality import Cell, Night, main, run_night
from perf.gate_rules import (
    ABLATION,
    RULES,
    Counts,
    Default,
    EProcess,
    Make,
    Ratchet,
    Stored,
    e_process,
    until_majority,
)
from perf.gate_world import Rates, Simulator, World

_SIMULATOR = Simulator(np.random.default_rng(0))


def _counts(passed: Sequence[int], trials: int | Sequence[int]) -> Counts:
    return Counts(np.array(passed), np.broadcast_to(trials, len(passed)))


@pytest.mark.parametrize(
    ("rule", "candidate", "incumbent", "accepted"),
    [
        pytest.param("ratchet", _counts([1, 1, 0, 1], 1), _counts([1, 0, 1, 1], 1), True, id="3/4 >= 3/4"),
        pytest.param("ratchet", _counts([1, 1, 0, 0], 1), _counts([1, 0, 1, 1], 1), False, id="2/4 < 3/4"),
        # differences 1 1 0 0: mean 1/2, sd = sqrt((4/4)/3) = 0.577, SE = 0.577/2 = 0.289
        pytest.param("1 SE, 1 trial", _counts([1, 1, 1, 0], 1), _counts([0, 0, 1, 0], 1), True, id="0.5 > 0.289"),
        # differences 1 0 0 0: mean 1/4, sd = sqrt((9/16 + 3/16)/3) = 1/2, SE = 1/4: not more than one of it
        pytest.param(
            "1 SE, 1 trial", _counts([1, 0, 1, 0], 1), _counts([0, 0, 1, 0], 1), False, id="not 0.25 > 0.25"
        ),
        pytest.param("0.2 SE, 1 trial", _counts([1, 0, 1, 0], 1), _counts([0, 0, 1, 0], 1), True, id="0.25 > 0.05"),
        # differences 2/3 -2/3 1/3 0: mean 1/12, squares sum to 1, sd = sqrt((1 - 4/144)/3) = 0.569, SE = 0.285
        pytest.param(
            "0.2 SE, 3 trials", _counts([3, 0, 2, 1], 3), _counts([1, 2, 1, 1], 3), True, id="0.083 > 0.057"
        ),
        pytest.param("1 SE, 3 trials", _counts([3, 0, 2, 1], 3), _counts([1, 2, 1, 1], 3), False, id="0.083 < 0.285"),
        pytest.param("1 SE, 1 trial", _counts([1, 1], 1), _counts([0, 0], 1), True, id="SE 0 and a gain"),
        pytest.param("1 SE, 1 trial", _counts([1, 0], 1), _counts([1, 0], 1), False, id="SE 0 and no gain"),
        # 2 and 0 of 3: expected 2*3/6 = 1, V = 3*3*2*4/(36*5) = 0.4; 3 and 1 of 3: expected 2, V = 9*4*2/180 = 0.4
        # ahead 1 + 1 of sqrt(0.8): z = 2.236, p = 0.013
        pytest.param("CMH, 3 trials", _counts([2, 3], 3), _counts([0, 1], 3), True, id="p = 0.013"),
        # 2 and 1 of 3: expected 1.5, V = 9*3*3/180 = 0.45: z = 0.5/0.671 = 0.745, p = 0.228
        pytest.param("CMH, 3 trials", _counts([2], 3), _counts([1], 3), False, id="p = 0.228"),
        # 3 of 3 and 1 of 4: expected 3*4/7 = 1.714, V = 12*4*3/(49*6) = 0.490: z = 1.286/0.7 = 1.837, p = 0.033
        pytest.param("CMH, majority of 5", _counts([3], [3]), _counts([1], [4]), True, id="unequal arms, p = 0.033"),
        # 1.5 ahead of sqrt(3 * 0.45 = 1.35): z = 1.291, p = 0.098; one stratum 1:1 more, of sqrt(1.75): p = 0.128
        pytest.param("CMH, 3 trials", _counts([2] * 3, 3), _counts([1] * 3, 3), True, id="p = 0.098"),
        pytest.param("CMH, 3 trials", _counts([2, 2, 2, 1], 3), _counts([1] * 4, 3), False, id="p = 0.128"),
        pytest.param("CMH, 3 trials", _counts([3, 0], 3), _counts([3, 0], 3), False, id="nothing differs"),
    ],
)
def test_a_peers_verdict_is_the_one_worked_out_by_hand(
    rule: str, candidate: Counts, incumbent: Counts, accepted: bool
) -> None:
    made = RULES[rule](_SIMULATOR)
    assert isinstance(made, Stored)
    assert made.accepts(candidate, incumbent) is accepted


def test_a_task_gets_no_trial_more_once_its_majority_is_decided() -> None:
    rewards = np.array([[1, 1, 1, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]], bool).T
    counts = until_majority(rewards)
    assert counts.passed.tolist() == [3, 2, 1]
    assert counts.trials.tolist() == [3, 5, 4]


@pytest.mark.parametrize(
    ("ahead", "ended"),
    [
        pytest.param([1] * 9, (True, 8), id="1.5^7 = 17.1, 1.5^8 = 25.6"),
        pytest.param([0, 1, 0] * 9, (True, 23), id="pairs that are equal say nothing"),
        pytest.param([-1] + [1] * 9, (False, 10), id="0.5 * 1.5^9 = 19.2"),
        pytest.param([-1] + [1] * 10, (True, 11), id="0.5 * 1.5^10 = 28.8"),
        pytest.param([-1] * 50, (False, 50), id="no early end for a bad candidate"),
    ],
)
def test_the_e_process_commits_at_twenty(ahead: list[int], ended: tuple[bool, int]) -> None:
    assert e_process(np.array(ahead)) == ended


def test_pace_pays_for_each_trial_once() -> None:
    rule, none, all_ = EProcess(_SIMULATOR, 3), np.zeros(10), np.ones(10)
    assert rule.start(none) == 30
    assert rule.gate(all_) == (True, 30)
    assert rule.gate(none) == (False, 30)
    assert rule.val_score == 1.0


def test_the_default_pays_for_pairs_the_incumbents_trials_and_the_score() -> None:
    """Seven tasks, an incumbent that fails all of them, a candidate that passes all.

    Five pairs reach the bar of 5; with four in flight that is trial 0 of seven tasks and trial 1 of two. For trial 0
    the incumbent lacks one trial in each task (its score trial is there), for trial 1 one more: 9 + 7 + 2, and 7 for
    the new score. A bad candidate then falls behind by three at once: 7 pairs, and 7 trials of the new incumbent;
    those are there when the next comes.
    """
    rule, none, all_ = Default(_SIMULATOR), np.zeros(7), np.ones(7)
    assert rule.start(none) == 7
    assert rule.gate(all_) == (True, 9 + 7 + 2 + 7)
    assert rule.gate(none) == (False, 7 + 7)
    assert rule.gate(none) == (False, 7)
    assert rule.val_score == 1.0


def test_the_default_asks_more_of_the_second_candidate() -> None:
    """No difference in 20 tasks: the line rejects after 100 pairs (104 are paid, and as many of the incumbent's). The
    bar then stands at 5.5: six pairs, four in flight, and the new score."""
    rule, none, all_ = Default(_SIMULATOR), np.zeros(20), np.ones(20)
    rule.start(none)
    assert rule.gate(none) == (False, 104 + 104)
    assert bar(1) == 5.5
    assert rule.gate(all_) == (True, 6 + 4 + 20)


class _Scripted(Simulator):
    """The incumbent passes one of two tasks, in its trial 1; a candidate passes all or none."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(0))

    def run(self, rates: Rates, trials: int) -> NDArray[np.bool_]:
        rewards = np.full((trials, 2), rates[0] == 1)
        rewards[1:2, 0] = True
        return rewards

    def orders(self, tasks: int, trials: int) -> NDArray[np.int64]:
        return np.tile(np.arange(tasks), (trials, 1))


def test_the_default_compares_with_the_mean_of_one_trial_more_than_the_candidates() -> None:
    """1 - 1/2, 1 - 0 | 1 - 1/3, 1 | 1 - 1/4, 1 | 1 - 1/5: at 5.72 after seven pairs; 11 are paid, trial 5 of one task
    among them, so that the incumbent needs 7 and 6 trials, of which its score trial gave 2."""
    rule = Default(_Scripted())
    rule.start(np.zeros(2))
    assert rule.gate(np.ones(2)) == (True, 11 + (7 + 6 - 2) + 2)


def _nights(rule: Make, world: World, count: int = 12) -> list[Night]:
    return [run_night(rule, world, Cell(40, 40), 3000, [7, night]) for night in range(count)]


def test_a_budget_is_spent_to_the_last_gate_that_can_be_paid() -> None:
    """3000 = 40 for the baseline + 37 times 80."""
    night = _nights(Ratchet, World(), 1)[0]
    assert (night.decisions, night.simulations) == (37, 37 * 40)


def test_where_every_edit_helps_the_agent_gets_better() -> None:
    nights = _nights(Default, World(neutral=0, helpful=1, gain_low=0.15, gain_high=0.15))
    assert min(night.gain for night in nights) > 0.2


def test_where_every_edit_harms_hardly_one_is_accepted() -> None:
    nights = _nights(Default, World(neutral=0, helpful=0))
    accepted, decisions = (sum(getattr(night, name) for night in nights) for name in ("accepted", "decisions"))
    assert accepted < 0.05 * decisions


def test_the_trial_after_the_verdicts_is_no_better_than_the_truth() -> None:
    errors = [night.headline_error for night in _nights(Default, World(), 60)]
    assert abs(float(np.mean(errors))) < 4 * 0.07 / 60**0.5


NIGHT = ["--replications", "4", "--budget", "1200", "--tasks", "20", "--costs", "40"]


def test_the_benchmark_prints_a_row_for_each_rule_and_the_goals(capsys: pytest.CaptureFixture[str]) -> None:
    main([*NIGHT, "--ablation", "--rules", "default", "ratchet"])
    printed = capsys.readouterr().out
    assert sum(line.startswith("   20    40  ") for line in printed.splitlines()) == 2 + len(ABLATION)
    assert sum(line.startswith(("met", "NOT MET")) for line in printed.splitlines()) == 4


def test_the_benchmark_walks_by_other_constants_where_told(capsys: pytest.CaptureFixture[str]) -> None:
    main([*NIGHT, "--rules", "default", "--constants", "START=1000"])
    printed = capsys.readouterr().out
    assert "START 1000" in printed
    assert "default                      0.0 ±0.00" in printed  # nobody gets that far ahead
    assert bar(0) < 1000


def test_the_benchmark_prints_what_one_gate_does(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--operating-points"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 9
