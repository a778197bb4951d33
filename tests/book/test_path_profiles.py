"""What is said of each path follows from its points: its barrier, its best point, whether a string relaxed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efcnbook.statistics import path_profiles
from measured import paths


def profiles(given):
    """The rows of `path_profiles.profiles`."""
    return path_profiles.profiles(paths(given)).to_dict("records")


def path(loss, report, held=None, **more):
    alpha = [i / (len(loss) - 1) for i in range(len(loss))]
    rows = {"alpha": alpha, "train_loss": loss, "report_accuracy": report, "held_accuracy": held or report}
    rows |= {"delta": [0.0, 0.1, 0.4], "length": 3.0, "straight": 2.0}
    return [rows | more]


@given(st.lists(st.floats(0, 5), min_size=3, max_size=9))
def test_a_barrier_is_the_highest_inside_over_the_higher_end(loss):
    (row,) = profiles({0: {"linear": [{"alpha": np.linspace(0, 1, len(loss)), "train_loss": loss}]}})
    assert row["barrier"] == pytest.approx(max(loss[1:-1]) - max(loss[0], loss[-1]))
    assert row["level"] == pytest.approx(np.mean(loss[1:-1]))
    chord = np.array(loss) - np.linspace(loss[0], loss[-1], len(loss))
    assert row["above_chord"] == pytest.approx(max(chord[1:-1]))


def test_the_best_point_is_chosen_on_other_images_than_it_is_reported_on():
    chosen = path([1] * 5, [0.5, 0.9, 0.6, 0.7, 0.55], held=[0.99, 0.1, 0.2, 0.8, 0.99], delta=[0, 0.1, 0.2, 0.3, 0.4])
    (row,) = profiles({0: {"linear": chosen}})
    assert (row["alpha"], row["accuracy"], row["ends"], row["delta"]) == (
        0.75,
        0.7,
        0.55,
        0.3,
    )  # ends are no inner points
    assert row["gain"] == pytest.approx(0.15)
    assert (row["cheated"], row["end_delta"], row["longer"]) == (0.9, 0.4, 0.5)


def test_strings_above_the_line_are_found():
    def risen(line, string):
        given = {7: {"linear": path([1, line, 1], [0.5] * 3), "string": path([1, string, 1], [0.5] * 3)}}
        return path_profiles.risen(path_profiles.profiles(paths(given)))

    assert risen(1.5, 2.5) == {7: (2.5, 1.5)}
    assert risen(3, 2.5) == {}
    assert path_profiles.risen(path_profiles.profiles(paths({7: {"linear": path([1] * 3, [0.5] * 3)}}))) == {}
