"""Statistics of trials and paired differences. Rewards lie in [0, 1]; a difference is candidate minus incumbent."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, variance

from autoharness.core.outcomes import mean, passed

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)
"""The 97.5 % quantile of the standard normal distribution."""
_ROUNDING = 1e-12
_FEW_TASKS = 5
"""Fewer tell nothing of what they share."""


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the mean reward over tasks of this kind; `values`: one in [0, 1] for each task.

    Wilson's score interval, which stays inside [0, 1] and is wide enough for fractions too: no reward in [0, 1]
    varies more than a 0-or-1 one with the same mean. Source: Wilson, JASA 22 (1927), 209-212.
    """
    n, z2 = len(values), TWO_SIDED_95**2
    if not n:
        return 0.0, 1.0
    p = fmean(values)
    centre, spread = p + z2 / (2 * n), TWO_SIDED_95 * math.sqrt(max(0.0, p * (1 - p)) / n + z2 / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z2 / n)), min(1.0, (centre + spread) / (1 + z2 / n))


def score_line(rewards: Iterable[float | None], trials: int = 1) -> str:
    """Such as "0.7250  (29/40 passed, 0 infra errors), 95 % interval 0.57 to 0.84"; N/A if none was evaluated.

    `rewards`: one for each task, the mean of its `trials`: a task counts as passed if all of them did.
    If some were not, it also says what the mean would be if all of those had failed, or passed.
    """
    rewards = list(rewards)
    evaluated = [reward for reward in rewards if reward is not None]
    missing = len(rewards) - len(evaluated)
    every = f" all {trials} trials" if trials > 1 else ""
    counts = f"({sum(map(passed, evaluated))}/{len(evaluated)} passed{every}, {missing} infra errors)"
    if not evaluated:
        return f"N/A  {counts}"
    low, high = mean_interval(evaluated)
    line = f"{mean(evaluated):.4f}  {counts}, 95 % interval {low:.2f} to {high:.2f}"
    at_worst, at_best = bounds(rewards)
    return f"{line}, {at_worst:.4f} to {at_best:.4f} over all {len(rewards)}" if missing else line


def bounds(rewards: Sequence[float | None]) -> tuple[float, float]:
    """The mean if every reward that is missing were 0, and if it were 1. Needs at least one."""
    total = sum(reward for reward in rewards if reward is not None)
    return total / len(rewards), (total + rewards.count(None)) / len(rewards)


def difference_interval(differences: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the mean of paired differences in [-1, 1].

    Two pairs that cancel are added, one half of a win and of a loss among them, so that few or equal pairs do not
    give an interval of no width. Source: Agresti and Min, Statistics in Medicine 24 (2005), 729-740.
    """
    n, total = len(differences) + 2, sum(differences)
    variance = (sum(d * d for d in differences) + 1 - total * total / n) / (n * n)
    spread = TWO_SIDED_95 * math.sqrt(max(0.0, variance))
    return max(-1.0, total / n - spread), min(1.0, total / n + spread)


def widened(interval: tuple[float, float], means: Sequence[float]) -> tuple[float, float]:
    """The interval of a mean in [-1, 1] over tasks, if each trial has luck of its own; `means`: over each trial.

    The spread of few means is Student's. Both spreads are added as variances are: that of one task and trial is in
    both, so the interval is rather too wide. One trial alone tells nothing of its luck.
    """
    if len(means) < 2:
        return -1.0, 1.0
    by_trial = f_quantile(0.95, 1, len(means) - 1) * variance(means) / len(means)
    middle, by_task = sum(interval) / 2, (interval[1] - interval[0]) / 2
    spread = math.sqrt(by_task**2 + by_trial)
    return max(-1.0, middle - spread), min(1.0, middle + spread)


def in_points(difference: float, interval: tuple[float, float]) -> str:
    """Such as "+30.0 points, 95 % interval +11.4 to +45.8"."""
    low, high = interval
    return f"{100 * difference:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def sign_test(better: int, worse: int) -> float:
    """The two-sided p-value of the exact sign test (for rewards of 0 and 1: McNemar's exact test).

    `better` and `worse` count the pairs that differ, by direction; equal ones carry no information. Source: Conover,
    Practical Nonparametric Statistics, 3rd ed. 1999, section 3.4.
    """
    pairs = better + worse
    tail: float = sum(math.comb(pairs, k) for k in range(min(better, worse) + 1)) / 2**pairs
    return min(1.0, 2 * tail)


def at_least(count: int, probabilities: Sequence[float]) -> float:
    """The exact probability that at least `count` of independent events happen; each has its own probability.

    Source: the Poisson binomial distribution; Le Cam, Pacific Journal of Mathematics 10 (1960), 1181-1197.
    """
    exactly = [1.0]
    """exactly[k]: the probability of k events among those looked at."""
    for p in probabilities:
        exactly = [a * (1 - p) + b * p for a, b in zip([*exactly, 0.0], [0.0, *exactly], strict=True)]
    return min(1.0, sum(exactly[count:])) if count > 0 else 1.0


def more_often(count: int, of: int, others: int, of_others: int) -> float:
    """The chance that at least `count` of `of` fall on this side, if the same happens on both sides alike.

    Fisher's exact test, one-sided: the counts of both sides together are taken as given. Source: Fisher, Statistical
    Methods for Research Workers, 5th ed. 1934, section 21.02.
    """
    together, everything = count + others, of + of_others
    ways = sum(math.comb(of, k) * math.comb(of_others, together - k) for k in range(count, min(of, together) + 1))
    return ways / math.comb(everything, together)


@dataclass(frozen=True)
class Dependence:
    """How far the tasks of one trial share their luck, beyond what makes a task easy or hard."""

    correlation: float
    """The intraclass correlation of two tasks of a trial: 0 if they are independent, 1 if all flip together."""
    low: float
    high: float
    """Its 95 % interval."""
    tasks: int
    trials: int

    @property
    def words(self) -> str:
        """Such as "intraclass correlation 0.02, 95 % interval -0.01 to 0.30, ..." and what it was measured in."""
        interval = f"95 % interval {self.low:.2f} to {self.high:.2f}"
        between = f"between {self.tasks} tasks of a trial ({self.trials} trials)"
        return f"intraclass correlation {self.correlation:.2f}, {interval}, {between}"

    @property
    def is_seen(self) -> bool:
        """Whether it is more than chance explains."""
        return self.low > 0

    @property
    def worth(self) -> float:
        """How many independent tasks say as much about a mean as one trial of all these."""
        return self.tasks / (1 + (self.tasks - 1) * max(0.0, self.correlation))


def dependence(rewards: Sequence[Sequence[float]]) -> Dependence | None:
    """`rewards`: for each task those of the same trials, in the same order. None for fewer than five tasks, and
    if nothing varies.

    Two-way analysis of variance (tasks and trials), with the F interval. Source: McGraw and Wong, Psychological
    Methods 1 (1996), 30-46, ICC(C,1), with trials as the subjects.
    """
    tasks, trials = len(rewards), len(rewards[0]) if rewards else 0
    if tasks < _FEW_TASKS or trials < 2:
        return None
    by_trial, overall = [fmean(one) for one in zip(*rewards, strict=True)], fmean(map(fmean, rewards))
    between = tasks * sum((mean - overall) ** 2 for mean in by_trial) / (trials - 1)
    everything = sum((reward - fmean(some)) ** 2 for some in rewards for reward in some)
    within = (everything - (trials - 1) * between) / ((trials - 1) * (tasks - 1))
    if everything < _ROUNDING:
        return None
    ratio = between / within if within > _ROUNDING else math.inf
    freedom = trials - 1, (trials - 1) * (tasks - 1)
    quantiles = [f_quantile(p, *freedom) for p in (0.975, 0.025)]
    found, low, high = (_correlation(ratio / over, tasks) for over in (1.0, *quantiles))
    return Dependence(found, low, high, tasks, trials)


def _correlation(ratio: float, tasks: int) -> float:
    return (ratio - 1) / (ratio + tasks - 1) if ratio < math.inf else 1.0


@cache
def f_quantile(p: float, above: int, below: int) -> float:
    """The `p` quantile of the F distribution with these degrees of freedom, 1 or more."""
    low, high = 0.0, 1.0
    for _ in range(50):  # bisection, for the share x = F above / (F above + below), which has a beta distribution
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_cdf(middle, above / 2, below / 2) < p else (low, middle)
    return below * low / (above * (1 - low))


def _beta_cdf(x: float, a: float, b: float) -> float:
    """By Simpson's rule in the angle: x = sin(angle)^2 leaves no singularity for a, b of one half or more."""
    middle, reach = math.asin(math.sqrt(a / (a + b))), 6 / math.sqrt(a + b)  # twelve standard deviations
    begin, end = max(0.0, middle - reach), min(math.asin(math.sqrt(x)), middle + reach)
    if end <= begin:
        return 0.0
    steps = 400
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)  # logarithms: powers of large a, b overflow
    weights = (1, *[4, 2] * (steps // 2 - 1), 4, 1)

    def height(angle: float) -> float:
        at_0 = 0.0 if a == 0.5 else -math.inf
        powers = (2 * a - 1) * math.log(math.sin(angle)) if angle else at_0
        return 2 * math.exp(scale + powers + (2 * b - 1) * math.log(max(math.cos(angle), 1e-300)))

    heights = (height(begin + (end - begin) * step / steps) for step in range(steps + 1))
    return (end - begin) / steps / 3 * sum(weight * one for weight, one in zip(weights, heights, strict=True))
