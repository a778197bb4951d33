"""Sentences on paths follow from the numbers: change the numbers, and the verdict changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from efcnbook.findings import path_findings, path_relaxation
from efcnbook.findings.accuracy_findings import ONE_SEED
from efcnbook.statistics import path_profiles
from efcnlab.config.studies import load
from measured import paths

IMAGES = 1000


def profiles(given):
    """The rows of `path_profiles.profiles`."""
    return path_profiles.profiles(paths(given)).to_dict("records")


def relaxation(given):
    return path_relaxation.relaxation(given, paths(given))


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


def test_barriers_are_measured_from_the_higher_end():
    given = {0: {"linear": path([1, 1.5, 0.5], [0.5] * 3)}, 20: {"linear": path([1, 0.9, 0.5], [0.5] * 3)}}
    (line,) = path_findings.barriers(paths(given))
    assert "At 1 of 2 relax times: $t_w$ = 0; not at $t_w$ = 20" in line
    assert "+0.500 ($t_w$ = 0), −0.100 ($t_w$ = 20)" in line
    assert "“a barrier except at late $t_w$” fits: none at $t_w$ = 20." in line


@pytest.mark.parametrize(
    ("heights", "said"),
    [
        ((1, 1, 0), "fits: none at $t_w$ = 2"),
        ((0, 0, 0), "does not fit: there is none at all"),
        ((1, 1, 1), "fits for the barrier, not for the exception: $t_w$ = 2 has one too"),
        ((0, 1, 0), "does not fit: there is none at $t_w$ = 0 and 2, but one at $t_w$ = 1"),
    ],
)
def test_a_barrier_except_at_late_times(heights, said):
    given = {tw: {"string": path([1, 1 + height, 1], [0.5] * 3)} for tw, height in enumerate(heights)}
    assert said in path_findings.barriers(paths(given))[0]


def test_best_points_compare_inner_points_with_the_better_end_and_with_outputs():
    given = {
        0: {"linear": path([1] * 3, [0.5, 0.7, 0.6]), "output": path([1] * 3, [0.5, 0.8, 0.6])},
        5: {"linear": path([1] * 3, [0.5, 0.55, 0.6]), "output": path([1] * 3, [0.5, 0.55, 0.6])},
    }
    where, linear, output, early, below, last = path_findings.best_points(paths(given), IMAGES, halved=False)
    assert "chosen on held-out training images and reported on 1,000 test images" in where
    assert "Above at $t_w$ = 0; below at $t_w$ = 5. Largest difference: +10.0 ±" in linear
    assert "which is cheating, the largest would be +10.0." in linear
    assert "+20.0 ±" in output
    assert "$t_w$ = 0? Yes: +10.0 ± 2.1 percentage points on the linear path." in early
    assert (
        "on the linear path below that of averaging outputs?** At 1 of 2 relax times: $t_w$ = 0; not at $t_w$ = 5."
        in below
    )
    assert last == ONE_SEED
    assert "the other half of the test set" in path_findings.best_points(paths(given), 500, halved=True)[0]


def test_the_earliest_time_is_judged_by_both_paths():
    def said(*accuracies):
        methods = {
            name: path([1] * 3, [0.5, value, 0.6]) for name, value in zip(("linear", "string"), accuracies, strict=True)
        }
        return "".join(path_findings.best_points(paths({0: methods}), IMAGES, halved=False))

    line, string = "percentage points on the linear path", "percentage points on the string"
    assert f"? Not on both: −20.0 ± 2.2 {line} and +10.0 ± 2.1 {string}." in said(0.4, 0.7)
    assert f"? No: −20.0 ± 2.2 {line} and −30.0 ± 2.1 {string}." in said(0.4, 0.3)
    assert "? Yes: +1.0 ± 2.2 percentage points, within two standard errors, on the linear path" in said(0.61, 0.7)


def test_seeds_are_averaged_and_their_spread_is_told():
    seeds = path([1, 2, 1], [0.5, 0.7, 0.6]) + path([1, 4, 1], [0.5, 0.9, 0.6])
    given = {3: {"linear": seeds}}
    assert "+2.000 ($t_w$ = 3)" in path_findings.barriers(paths(given))[0]
    *_, last = lines = path_findings.best_points(paths(given), IMAGES, False)
    assert "Largest difference: +20.0 ± 2.0" in lines[1]  # sqrt((.8 * .2 + .6 * .4) / 1000), the same images for both
    assert "means over 2 seeds; the gains differ between seeds by a standard deviation of up to 14.1" in last


def test_distances_are_told_at_the_best_point():
    line, longer = path_findings.subspace(paths({3: {"string": path([1] * 3, [0.5, 0.7, 0.6])}}))
    assert "10.0 % of 40.0 % ($t_w$ = 3)." in line
    assert longer == "Longer than the straight line, at most: string 50 %."


def test_other_paths_are_told_in_a_line():
    given = {
        0: {"linear": path([1, 2, 1], [0.5] * 3), "band": path([1, 2, 1], [0.5, 0.7, 0.6])},
        3: {"linear": path([1, 2, 1], [0.5] * 3), "band": path([1, 0, 1], [0.5, 0.4, 0.6])},
    }
    assert "Where there is a barrier on other paths: nudged elastic band, $t_w$ = 0." in path_findings.barriers(
        paths(given)
    )
    said = path_findings.best_points(paths(given), IMAGES, False)
    assert "Where other paths are above both ends, errors apart: nudged elastic band, $t_w$ = 0." in said


def test_the_table_has_a_row_for_each_time_and_method():
    given = {3: {"string": path([1, 2, 1], [0.5, 0.7, 0.6]), "output": path([1] * 3, [0.5, 0.8, 0.6])}}
    rows = path_findings.rows(paths(given))
    assert rows[0] == ["3", "string", "+1.000", "0.50", "70.0", "+10.0", "+10.0", "10.0", "1.5000"]
    assert rows[1][1:2] + rows[1][-2:] == ["average of the outputs", "", ""]
    assert all(len(row) == len(path_findings.HEADER) for row in rows)


def test_relaxation_tells_how_far_strings_and_bands_fell():
    string = path([1] * 3, [0.5] * 3, string_loss=[9.0, 5.0, 2.5], string_elastic=[1.0, 2.0, 3.0])
    band = path([1] * 3, [0.5] * 3, band_peak=[4.0, 3.0], band_pivots=[5.0, 7.0])
    first, second = relaxation({7: {"string": string, "band": band}})
    assert first.startswith("String at $t_w$ = 7, 3 steps")
    assert "9.00 at first and 2.50 at last; elastic energy 1 and 3." in first
    assert "4.00 at first and 3.00 at last; 5 pivots and 7." in second
    assert relaxation({7: {"linear": path([1] * 3, [0.5] * 3)}}) == []


def test_whether_strings_stopped_moving_is_said():
    rest = {"string_stopped": True, "string_loss_ends": [9.0, 2.5], "string_elastic_ends": [1.0, 1.5]}
    rest |= {"string_moved": [2.0, 0.25], "string_away": [2.0, 2.125]}
    string = path([1] * 3, [0.5] * 3, string_loss=[9.0, 5.0, 2.5], string_elastic=[1.0, 2.0, 3.0], **rest)
    (line,) = relaxation({7: {"string": string}})
    assert "**It stopped moving after 3 steps**; left is: loss 2.5 of 9, elastic energy 1.5 of 1; in the last" in line
    assert "it moved by 0.25, and lies 2.12 from where it began." in line
    assert path_relaxation.ending({7: {"string": string}}) == " Until it stopped moving, after 3 steps ($t_w$ = 7)."
    moving = [string[0] | {"string_stopped": False}]
    line, last = relaxation({7: {"string": moving}})
    assert last == "**Still moving** when its steps were used up is the string of some seed at $t_w$ = 7."
    assert "**It did not stop within 3 steps**" in line
    assert path_relaxation.ending({7: {"string": moving}}) == " It did not stop within 3 steps ($t_w$ = 7)."
    assert path_relaxation.unfinished({0: {"string": string}, 7: {"string": moving}}) == [7]
    assert path_relaxation.ending({7: {"linear": path([1] * 3, [0.5] * 3)}}) == ""


def test_gentler_steps_than_the_training_are_said_to_be_some():
    (line,) = path_relaxation.gentler(load("quick"), ("linear", "string", "bezier"))
    assert "string by 0.02 on 250, Bezier curve by 0.005 with momentum 0.9 on 250" in line
    same = {"lr": 0.05, "batch": 50}
    assert path_relaxation.gentler(load("quick", string=same, batch=50, optimiser={"lr": 0.05}), ("string",)) == []
    assert path_relaxation.gentler(load("quick"), ("linear", "output")) == []


def test_steps_of_another_optimiser_than_the_ends_are_said_to_be_so():
    (line,) = path_relaxation.gentler(load("quick", optimiser={"name": "adam", "lr": 0.001}), ("linear", "string"))
    assert line.startswith("Steps of SGD on the way, by so much on so many images: string by")
    assert "The ends were trained by adam with learning rate 0.001 on" in line
    assert "gentler" not in line
    assert path_relaxation.gentler(load("quick", optimiser={"name": "adam", "lr": 0.001}), ("linear",)) == []


def test_strings_above_the_line_are_named():
    string = {"string_loss": [9.0, 5.0, 2.5], "string_elastic": [1.0, 2.0, 3.0]}
    given = {7: {"linear": path([1, 1.5, 1], [0.5] * 3), "string": path([1, 2.5, 1], [0.5] * 3, **string)}}
    assert "2.500 against 1.500 ($t_w$ = 7)" in relaxation(given)[-1]
    given[7]["linear"] = path([1, 3, 1], [0.5] * 3)
    assert len(relaxation(given)) == 1
