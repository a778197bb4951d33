"""Intervals against SciPy's own, verdicts against their definitions written out."""

from math import isfinite, isinf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from efcnbook.statistics.intervals import (
    FAILS,
    HOLDS,
    UNDECIDED,
    against,
    both,
    everywhere,
    interval,
    somewhere,
    throughout,
    within,
)

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
    for judge in (everywhere, somewhere):
        assert judge({0: [3.0], 5: [2.0]}).verdict == UNDECIDED
    assert within([0.97], 0.96, 0.98)[0] == UNDECIDED


def test_seeds_that_agree_to_the_last_image_decide_nothing():
    share = [0.2196 - 0.2218, 0.0107 - 0.0129]  # 22 images of 10,000 in both, told apart by rounding alone
    assert share[0] != share[1]
    found = interval(share)
    assert isinf(found.low)
    assert isinf(found.high)
    assert found.text(100, 2, "points") == "−0.22 points (2 seeds alike)"
    assert found.clipped(-1, 1) == found
    for judge in (everywhere, somewhere):
        assert judge({0: share}).verdict == UNDECIDED
    assert isfinite(interval([share[0], share[1] - 1e-4]).low)  # one image more is a spread


def test_intervals_in_words():
    assert interval([1.0, 2.0, 3.0]).text(10, 1, "nats") == "+20.0 [−4.8, +44.8] nats"


@given(st.dictionaries(st.integers(0, 100), seeds, min_size=1, max_size=5), numbers)
def test_verdicts_on_all_and_on_some(values, bound):
    strict = 1 - 0.05 / len(values)

    def ends(level, of):
        scale = stats.sem(of)
        return (-np.inf, np.inf) if len(set(of)) == 1 else stats.t.interval(level, len(of) - 1, np.mean(of), scale)

    lows, highs = zip(*(ends(0.95, of) for of in values.values()), strict=True)
    strict_lows, strict_highs = zip(*(ends(strict, of) for of in values.values()), strict=True)
    margin = min(abs(end - bound) for end in (*lows, *highs, *strict_lows, *strict_highs))
    if margin < 1e-9:
        return  # decided by rounding
    all_, some = everywhere(values, bound), somewhere(values, bound)
    expected = HOLDS if min(lows) > bound else FAILS if min(strict_highs) < bound else UNDECIDED
    assert all_.verdict == expected
    expected = HOLDS if max(strict_lows) > bound else FAILS if max(highs) < bound else UNDECIDED
    assert some.verdict == expected
    for judged in (all_, some):  # what is shown is what decides
        shown = judged.interval
        np.testing.assert_allclose((shown.low, shown.high), ends(shown.level, values[judged.tw]), atol=1e-9)
        assert (shown.low > bound) == (judged.verdict == HOLDS)
        assert judged.verdict != FAILS or shown.high < bound
        assert set(judged.each) == set(values)
    below = ends(0.95, values[all_.tw])[1] < bound  # and yet undecided: what is shown reaches the bound
    assert all_.interval.level == pytest.approx(strict if all_.verdict == FAILS or below else 0.95)
    assert all_.verdict != UNDECIDED or all_.interval.high >= bound
    assert some.interval.level == pytest.approx(0.95 if some.verdict == FAILS else strict)


several = st.integers(1, 3).flatmap(
    lambda times: st.dictionaries(
        st.sampled_from(["control", "lowered", "elcn"]),
        st.fixed_dictionaries({tw: seeds for tw in range(times)}),
        min_size=1,
    )
)


@given(several, numbers)
def test_one_is_ahead_at_some_relax_time_only_if_it_is_ahead_of_every_rival(values, bound):
    times = range(len(next(iter(values.values()))))

    def ends(name, tw, looks):
        of, level = values[name][tw], 1 - 0.05 / looks
        scale = stats.sem(of)
        return (-np.inf, np.inf) if len(set(of)) == 1 else stats.t.interval(level, len(of) - 1, np.mean(of), scale)

    lows = {tw: {name: ends(name, tw, len(times))[0] for name in values} for tw in times}
    highs = {tw: {name: ends(name, tw, len(values))[1] for name in values} for tw in times}
    if min(abs(end - bound) for of in (lows, highs) for at in of.values() for end in at.values()) < 1e-9:
        return  # decided by rounding
    ahead = any(all(low > bound for low in at.values()) for at in lows.values())
    behind = all(any(high < bound for high in at.values()) for at in highs.values())
    judged = against(values, bound)
    assert judged.verdict == (FAILS if behind else HOLDS if ahead else UNDECIDED)
    assert judged.rival in values
    shown = judged.interval
    assert shown.mean == pytest.approx(np.mean(values[judged.rival][judged.tw]))
    assert (shown.low > bound) == (judged.verdict == HOLDS)
    assert judged.verdict != FAILS or shown.high < bound


@given(several, numbers)
def test_one_is_ahead_of_every_rival_throughout_or_surely_behind_one_at_a_level_raised_for_all_pairs(values, bound):
    pairs = [(name, tw) for name, times in values.items() for tw in times]

    def ends(pair, level):
        of = values[pair[0]][pair[1]]
        scale = stats.sem(of)
        return (-np.inf, np.inf) if len(set(of)) == 1 else stats.t.interval(level, len(of) - 1, np.mean(of), scale)

    lows = [ends(pair, 0.95)[0] for pair in pairs]
    highs = [ends(pair, 1 - 0.05 / len(pairs))[1] for pair in pairs]
    if min(abs(end - bound) for end in (*lows, *highs)) < 1e-9:
        return  # decided by rounding
    judged = throughout(values, bound)
    assert judged.verdict == (HOLDS if min(lows) > bound else FAILS if min(highs) < bound else UNDECIDED)
    shown, decided = judged.interval, (judged.rival, judged.tw)
    raised = judged.verdict == FAILS or ends(decided, 0.95)[1] < bound
    level = 1 - 0.05 / len(pairs) if raised else 0.95
    np.testing.assert_allclose((shown.low, shown.high), ends(decided, level), atol=1e-9)
    assert (shown.low > bound) == (judged.verdict == HOLDS)
    assert judged.verdict != FAILS or shown.high < bound
    assert set(judged.each) == {tw for _, tw in pairs}
    if judged.verdict == UNDECIDED:  # the lowest mean of those that are not surely passed
        means = [np.mean(values[n][t]) for (n, t), low in zip(pairs, lows, strict=True) if low <= bound]
        assert shown.mean == pytest.approx(min(means))
        assert shown.high >= bound


def test_a_rival_that_is_surely_ahead_is_the_one_that_is_shown():
    """Not the one with the lowest mean, whose seeds differ more."""
    wild, sure = [-9.0, -4.0, 3.0], [-1.01, -1.0, -0.99]
    judged = throughout({"elcn": {0: wild, 20: wild}, "control": {0: wild, 20: sure}})
    assert (judged.verdict, judged.tw, judged.rival) == (FAILS, 20, "control")


def test_what_is_shown_is_what_decides_where_the_highest_mean_does_not():
    wild, sure = [0.5, 3.0, 6.0], [0.9, 1.0, 1.1]
    assert (somewhere({21: sure, 40: wild}).tw, somewhere({21: sure, 40: wild}).verdict) == (21, HOLDS)
    assert (everywhere({21: sure, 40: wild}).tw, everywhere({21: sure, 40: wild}).verdict) == (40, UNDECIDED)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.969, 0.971, 0.970], HOLDS), ([0.5, 0.51, 0.52], FAILS), ([0.97, 0.97, 0.6], UNDECIDED)],
)
def test_within_bounds(values, expected):
    assert within(values, 0.96, 0.98)[0] == expected


def test_a_claim_of_several_parts():
    assert both(HOLDS, HOLDS) == HOLDS
    assert both(HOLDS, UNDECIDED) == UNDECIDED
    assert both(UNDECIDED, FAILS, HOLDS) == FAILS
