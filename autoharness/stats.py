"""Statistics of paired trials."""

import math


def sign_test(better: int, worse: int) -> float:
    """The two-sided p-value of the exact sign test (for rewards of 0 and 1: McNemar's exact test).

    `better` and `worse` count the pairs that differ, by direction; equal ones carry no information. Source: Conover,
    Practical Nonparametric Statistics, 3rd ed. 1999, section 3.4.
    """
    pairs = better + worse
    tail: float = sum(math.comb(pairs, k) for k in range(min(better, worse) + 1)) / 2**pairs
    return min(1.0, 2 * tail)
