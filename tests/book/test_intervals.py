"""Intervals against SciPy's own."""

from math import isfinite, isinf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from efcnbook.statistics.intervals import interval, signed, standard_error

numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
seeds = st.lists(numbers, min_size=2, max_size=6)


@given(seeds, st.floats(0.5, 0.999))
def test_the_interval_is_students(values, level):
    found = interval(values, level)
    scale = stats.sem(values)
    alike = len(set(values)) == 1
    low, high = (-np.inf, np.inf) if alike else stats.t.interval(level, len(values) - 1, np.mean(values), scale)
    np.testing.assert_allclose([found.low, found.mean, found.high], [low, np.mean(values), high], rtol=1e-9, atol=1e-9)
    assert found.n == len(values)


def test_one_seed_decides_nothing():
    found = interval([3.0])
    assert (found.mean, found.n) == (3.0, 1)
    assert isinf(found.low)
    assert isinf(found.high)
    assert found.text(100, 1, "points") == "+300.0 points (one seed)"


def test_seeds_that_agree_to_the_last_image_decide_nothing():
    share = [0.2196 - 0.2218, 0.0107 - 0.0129]  # 22 images of 10,000 in both, told apart by rounding alone
    assert share[0] != share[1]
    found = interval(share)
    assert isinf(found.low)
    assert isinf(found.high)
    assert found.text(100, 2, "points") == "−0.22 points (2 seeds alike)"
    assert found.clipped(-1, 1) == found
    assert isfinite(interval([share[0], share[1] - 1e-4]).low)  # one image more is a spread


def test_intervals_in_words():
    assert interval([1.0, 2.0, 3.0]).text(10, 1, "nats") == "+20.0 [−4.8, +44.8] nats"
    assert (signed(-0.04, 1), signed(0.0, 2), signed(-0.06, 1)) == ("+0.0", "+0.00", "−0.1")


@given(p=st.floats(0, 1), q=st.floats(0, 1), n=st.integers(1, 10**6))
def test_standard_error_of_a_difference_is_that_of_independent_coins(p, q, n):
    expected = np.hypot(np.sqrt(p * (1 - p) / n), np.sqrt(q * (1 - q) / n))
    assert standard_error(n, p, q) == pytest.approx(expected)
