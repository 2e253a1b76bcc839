"""Proportions and paired differences: against scipy's exact intervals, hand-worked values and independent formulas."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from analysis.statistics.paired import compare_paired, detectable_difference
from analysis.statistics.proportions import proportion_interval, ratio_interval

TRUTHS = st.lists(st.booleans(), min_size=2, max_size=60)


@given(TRUTHS, st.sampled_from([0.8, 0.95]))
def test_truths_have_the_exact_interval(right, level):
    expected = binomtest(sum(right), len(right)).proportion_ci(level, method="exact")
    assert proportion_interval(right, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_shares_that_differ_less_count_as_more_units():
    """By hand: mean 1/2, variance 1/15 of .25 .75 .25 .75 ...; of 16 units as many as (1/4) / (1/15) x 16 = 60."""
    shares = [0.25, 0.75] * 8
    for_few = (norm.ppf(0.975) / student.ppf(0.975, 15)) ** 2
    units = 60 * for_few
    low, high = proportion_interval(shares)
    tail = brentq(lambda p: beta_tail(units / 2, units, p) - 0.025, 1e-6, 0.5)
    assert low == pytest.approx(tail, abs=1e-6) and low + high == pytest.approx(1)
    wide = proportion_interval([False, True] * 8)
    assert wide[0] < low and proportion_interval([0.5] * 16) == pytest.approx(wide)  # equal shares claim no more


def beta_tail(right, units, p):
    """P(X >= right) of units trials with chance p, for numbers that are not whole: the beta distribution's integral."""
    a, b = right, units - right + 1
    x = np.linspace(0, p, 20001)[1:]
    density = np.exp(
        (a - 1) * np.log(x) + (b - 1) * np.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    )
    return float(np.trapezoid(density, x))


@given(TRUTHS)
def test_an_interval_of_a_proportion_is_never_a_point(right):
    low, high = proportion_interval(right)
    assert 0 <= low < np.mean(right) + 1e-12 and np.mean(right) - 1e-12 < high <= 1 and high - low > 0.05


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=40))
def test_the_ratio_turned_round_has_the_inverse_interval(pairs):
    above, below = np.array(pairs).T / 4
    low, high = ratio_interval(above, below)
    other_low, other_high = ratio_interval(below, above)
    assert 0 <= low <= high
    if below.any():
        assert low - 1e-9 <= above.mean() / below.mean() <= high + 1e-9
    for one, other in ((low, other_high), (other_low, high)):
        assert (one == 0 and other == np.inf) or one * other == pytest.approx(1)


def test_a_ratio_without_spread_below_is_that_of_the_interval_above():
    """With many equal-ish units below, the ends are those of the first share, divided by the second."""
    rng = np.random.default_rng(0)
    above, below = rng.random(4000) < 0.2, 0.5 + 1e-4 * rng.standard_normal(4000)
    ends = np.array(proportion_interval(above)) / below.mean()
    assert ratio_interval(above, below) == pytest.approx(tuple(ends), rel=1e-4)


def test_wrong_shares_are_refused():
    for wrong, said in (
        ([0.5, 1.2], r"\[0, 1\]; got 0.5 to 1.2"),
        ([], "at least one"),
        ([np.nan, 1], "finite numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            proportion_interval(np.array(wrong))
    with pytest.raises(ValueError, match="every unit must have both shares; got 2 and 3"):
        ratio_interval([0.5, 0.5], [0.5, 0.5, 0.1])


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 40))
def test_truths_have_mcnemars_p_and_bonett_and_prices_ends(better, worse, level):
    """The p by counting: all ways in which the discordant questions could have fallen, as fractions."""
    n, of = better + worse + level, better + worse
    found = compare_paired(np.repeat([1.0, -1.0, 0.0], [better, worse, level]), "truth")
    at_most = sum(Fraction(math.comb(of, k), 2**of) for k in range(min(better, worse) + 1))
    assert found.p == pytest.approx(min(1.0, float(2 * at_most))) and (found.better, found.worse) == (better, worse)
    if n > 1:
        p, q = (better + 1) / (n + 2), (worse + 1) / (n + 2)
        half = norm.ppf(0.975) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
        assert (found.low, found.high) == pytest.approx((max(-1, p - q - half), min(1, p - q + half)))
        assert found.low < found.high and found.low <= found.difference <= found.high


def test_five_discordant_pairs_are_no_finding():
    """Five of 120 questions that only one method answers: "+.04 [.01, .08]" by a percentile bootstrap."""
    found = compare_paired([1.0] * 5 + [0.0] * 115, "truth")
    assert found.p == pytest.approx(1 / 16) and found.low < 0.002


def test_shares_have_the_same_interval_and_its_test():
    shares = np.array([0.5, 0.25, -0.25, 0.0, 1.0, 0.75, 0.5, 0.5])
    found = compare_paired(shares, "share")
    more = np.array([*shares, 1, -1])
    error = np.sqrt(np.mean(more**2) - np.mean(more) ** 2) / np.sqrt(10)
    assert found.error == pytest.approx(error) and found.low == pytest.approx(more.mean() - 1.959964 * error)
    assert found.p == pytest.approx(2 * norm.sf(more.mean() / error)) and (found.better, found.worse) == (6, 1)


def power_of_mcnemar(n, better, worse):
    """The chance of p < .05, over all outcomes."""
    total, p = 0.0, {}
    for b in range(n + 1):
        of_b = math.comb(n, b) * better**b * (1 - better) ** (n - b)
        for c in range(min(n - b, int(n * worse + 8 * math.sqrt(n * worse + 1))) + 1) if of_b > 1e-9 else ():
            key = (min(b, c), b + c)
            p[key] = p[key] if key in p else binomtest(key[0], key[1]).pvalue if key[1] else 1.0
            share = worse / (1 - better)
            total += (p[key] < 0.05) * of_b * math.comb(n - b, c) * share**c * (1 - share) ** (n - b - c)
    return total


@pytest.mark.parametrize(("n", "discordant"), [(60, 0.2), (120, 0.1), (200, 0.2)])
def test_the_detectable_difference_is_found_with_the_power_that_is_said(n, discordant):
    half = round(n * discordant / 2)
    found = compare_paired(np.repeat([1.0, -1.0, 0.0], [half, half, n - 2 * half]), "truth")
    detectable = detectable_difference(found)
    assert detectable < discordant
    power = power_of_mcnemar(n, (discordant + detectable) / 2, (discordant - detectable) / 2)
    assert power == pytest.approx(0.8, abs=0.08)
