"""Simulated studies of which the truth is known: how often a verdict is false, and how often an effect is found."""

from collections import Counter
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from efcnbook.claims import effects, verdicts
from efcnbook.claims.effects import Differences

TIMES = (0, 1, 3, 11, 21, 40)
DEVIATIONS = (0.028, 0.010, 0.021, 0.0055, 0.0025, 0.005)  # as those of the narrow SGD study
DRAWS, IMAGES = 1000, 10_000
TOLERANCE = 2 * sqrt(0.05 * 0.95 / DRAWS)


def differences(values, error=0.0037, times=TIMES):
    """As from a study: ``values`` [relax times, seeds]."""
    frame = pd.DataFrame(values, index=pd.Index(times, name="tw")).rename_axis(columns="seed")
    return Differences(frame.stack().dropna(), dict.fromkeys(times, error), IMAGES)


def drawn(generator, seeds, effect=0.0, deviations=DEVIATIONS, correlation=0.3):
    """A study's differences: whole images, relax times of a seed correlated."""
    common, own = generator.standard_normal((1, seeds)), generator.standard_normal((len(deviations), seeds))
    noise = sqrt(correlation) * common + sqrt(1 - correlation) * own
    values = np.broadcast_to(np.asarray(effect), (len(deviations),))[:, None] + np.array(deviations)[:, None] * noise
    return differences(np.round(values * IMAGES) / IMAGES)


def rates(**how):
    """The shares of draws with each verdict on every relax time, and on some."""
    generator = np.random.default_rng(0)
    sides = [effects.effects(drawn(generator, **how), TIMES).sides() for _ in range(DRAWS)]
    verdict = verdicts.everywhere, verdicts.somewhere
    return [{name: n / DRAWS for name, n in Counter(map(of, sides)).items()} for of in verdict]


@pytest.mark.parametrize(("seeds", "correlation"), [(2, 0.3), (3, 0.0), (3, 0.8), (5, 0.3)])
def test_of_no_effect_verdicts_stay_within_the_level(seeds, correlation):
    for found in rates(seeds=seeds, correlation=correlation):
        assert 1 - found["open"] <= 0.05 + TOLERANCE


def test_where_test_images_are_all_the_noise_there_is_verdicts_stay_within_the_level():
    found, _ = rates(seeds=3, deviations=(0.0037,) * len(TIMES))
    assert 1 - found["open"] <= 0.05 + TOLERANCE


def test_a_real_effect_of_two_points_is_found_by_five_seeds():
    every, some = rates(seeds=5, effect=(0, 0, 0, 0.02, 0.02, 0.02))
    assert every["mixed"] >= 0.9
    assert some["holds"] >= 0.9
    every, _ = rates(seeds=5, effect=-0.02, deviations=(0.008,) * len(TIMES))
    assert every["fails"] + every["mixed"] >= 0.9
    assert every["fails"] >= 0.7  # at each of six relax times


def test_seeds_that_coincide_decide_nothing():
    found = effects.effects(differences(np.full((len(TIMES), 5), 0.02)), TIMES)
    assert set(found.sides().values()) == {"open"}
    assert {one.high for one in found.intervals.values()} == {np.inf}


def test_one_seed_decides_nothing():
    found = effects.effects(differences(np.linspace(0.1, 0.2, len(TIMES))[:, None]), TIMES)
    assert verdicts.everywhere(found.sides()) == "open"
    assert {one.n for one in found.intervals.values()} == {1}


def by_hand(values, error, looks, images=IMAGES):
    """Mean and half of the interval of one relax time of a group of three, in other words than the library's."""
    k, n = values.shape
    deviation = sqrt(sum(np.var(row, ddof=1) for row in values) / k)
    freedom = k * (n - 1) / (1 + (k - 1) * 0.25)
    half = stats.t.isf(0.05 / looks / 2, freedom) * max(deviation, error) / sqrt(n)
    return [(row.mean(), max(half, 2.5 / images)) for row in [*values, values.mean(0)]]


@pytest.mark.parametrize("error", [0.0, 0.0037, 0.03])
def test_intervals_are_those_of_the_rules_written_down_again(error):
    values = np.random.default_rng(1).normal(0.01, 0.008, (6, 4))
    found = effects.effects(differences(values, error), TIMES).intervals
    early, late = (by_hand(part, error, looks=8) for part in (values[:3], values[3:]))
    wanted = dict(zip([0, 1, 3, "early mean", 11, 21, 40, "late mean"], [*early, *late], strict=True))
    assert found.keys() == wanted.keys()
    for label, (mean, half) in wanted.items():
        assert (found[label].mean, found[label].high - found[label].mean) == pytest.approx((mean, half), abs=1e-12)


def test_no_interval_is_narrower_than_five_images():
    values = np.full((6, 3), 0.02) + np.array([0, 1e-4, 0]) * 1e-3
    found = effects.effects(differences(values, error=0.0), TIMES).intervals
    assert {round(one.high - one.low, 12) for one in found.values()} == {5 / IMAGES}


def test_a_mean_is_over_the_seeds_that_have_all_of_its_relax_times():
    values = np.random.default_rng(2).normal(size=(6, 3))
    values[3, 0] = np.nan
    found = effects.effects(differences(values), TIMES).intervals
    assert found["late mean"].n == 2
    assert found["late mean"].mean == pytest.approx(values[3:, 1:].mean())
    assert (found[11].n, found[21].n) == (2, 3)


def test_the_seeds_that_would_decide_are_those_with_which_it_would():
    values = np.random.default_rng(3).normal(0.004, 0.008, (6, 3))
    found = effects.effects(differences(values), TIMES)
    assert verdicts.everywhere(found.sides()) == "open"
    needed = {label: n for label in found.intervals if (n := found.seeds_needed(label))}
    assert len(needed) > 3
    for label, n in needed.items():
        one = found.intervals[label]
        half = [found.deviation[label] * effects.quantile(one.level, m, 3) / sqrt(m) for m in (n - 1, n)]
        assert half[1] < abs(one.mean) <= half[0]
    nothing = effects.effects(differences(np.array([[-0.01, 0, 0.01]] * 6)), TIMES)
    assert nothing.seeds_needed(0) is None


def test_what_is_left_out_keeps_its_reason():
    of = differences(np.ones((6, 2))).without({0: "diverged"}).without({0: "at chance", 40: "too short"})
    assert (of.times, of.skipped) == ([1, 3, 11, 21], {0: "diverged", 40: "too short"})


def test_errors_on_the_same_images_are_those_of_their_differences():
    generator = np.random.default_rng(4)
    first, second = generator.random((2, 500)) < np.array([[0.7], [0.6]])
    alone, difference = (first != second).mean(), first.mean() - second.mean()
    assert effects.paired_error(first, second) == pytest.approx(sqrt((alone - difference**2) / 500), abs=1e-15)
    assert effects.paired_error(first, first) == 0
