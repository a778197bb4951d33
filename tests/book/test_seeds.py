"""Means over seeds against their definition, and what figures and sentences make of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efcnbook.figures import training_curves
from efcnbook.findings import accuracy_findings
from efcnbook.statistics import seeds

EPOCHS = [0, 1, 3, 10]
shares = st.floats(0, 1)


def history(values, layers):
    """A run's history with the quantities that figures draw."""
    names = ("test_accuracy", "accuracy_local", "accuracy_off_local", "delta", "sharing", "train_loss")
    made = {name: list(column) for name, column in zip(names, values, strict=True)}
    return made | {"epoch": EPOCHS, "delta_by_layer": layers.tolist(), "sharing_by_layer": layers.tolist()}


histories = st.lists(
    st.builds(history, arrays(float, (6, 4), elements=shares), arrays(float, (4, 2), elements=shares)),
    min_size=2,
    max_size=4,
)


@given(histories)
def test_means_lows_highs_and_bests(of):
    mean = seeds.averaged(of)
    assert mean["epoch"] == EPOCHS
    assert seeds.count(mean) == len(of)
    for name in ("test_accuracy", "delta", "delta_by_layer"):
        stacked = np.array([one[name] for one in of])
        np.testing.assert_allclose(mean[name], stacked.mean(0), rtol=1e-12)
        low, high = seeds.apart(mean, name)
        np.testing.assert_allclose(np.asarray(mean[name]) - low, stacked.min(0), atol=1e-12)
        np.testing.assert_allclose(np.asarray(mean[name]) + high, stacked.max(0), atol=1e-12)
    assert np.isclose(seeds.best(mean), np.mean([max(one["test_accuracy"]) for one in of]))


@given(histories)
def test_one_seed_is_left_as_it_is(of):
    assert seeds.averaged(of[:1]) is of[0]
    assert seeds.count(of[0]) == 1
    assert seeds.apart(of[0], "delta") is None
    assert seeds.best(of[0]) == max(of[0]["test_accuracy"])


def drawn(seed_count):
    """Histories of a CNN, three eFCNs and their controls, drawn at random, means over so many seeds."""
    rng = np.random.default_rng(0)

    def one():
        return history(rng.random((6, 4)), rng.random((4, 2)))

    made = [seeds.averaged([one() for _ in range(seed_count)]) for _ in range(8)]
    return (
        made[0],
        dict(zip((0, 3, 10), made[1:4], strict=True)),
        dict(zip((0, 3, 10), made[4:7], strict=True)),
        made[7],
    )


def test_figures_draw_what_lies_between_the_seeds():
    for seed_count, bars in ((1, 0), (3, 1)):
        cnn, efcn, control, fcn = drawn(seed_count)
        (ax, _) = training_curves.dynamics(cnn, efcn, control, seeds.best(fcn)).axes
        vertical = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
        assert len(vertical) == bars * 6
        if bars:
            low, high = sorted(vertical[0].get_ydata())
            assert low <= 100 * efcn[0]["test_accuracy"][-1] <= high
            assert np.isclose(low, 100 * efcn[0]["test_accuracy:low"][-1])
            assert np.isclose(high, 100 * efcn[0]["test_accuracy:high"][-1])
        left, right, _ = training_curves.distances(efcn).axes
        assert len(left.collections) == len(right.collections) == bars * 3
        assert len(training_curves.by_layer(efcn).axes[0].lines) == 2 + bars * 6
        assert len(training_curves.contributions(efcn, 0.1).axes[0].lines) == 4 + bars * 9
        assert len(training_curves.deviation(efcn, fcn).axes) == 4


def test_sentences_say_how_many_seeds_there_were():
    for seed_count in (1, 3):
        cnn, efcn, control, fcn = drawn(seed_count)
        said = " ".join(accuracy_findings.dynamics(cnn, efcn, control, fcn, 1000))
        assert ("means over 3 seeds" in said) == (seed_count == 3)
        assert (accuracy_findings.ONE_SEED in said) == (seed_count == 1)
        assert accuracy_findings.percent(seeds.best(cnn)) in said


def test_a_mean_that_rises_to_its_end_is_said_to():
    """The mean of each seed's own best is above a mean's end wherever one seed falls: it must not decide."""
    cnn, efcn, control, fcn = drawn(3)
    control[3] |= {"test_accuracy": [0.1, 0.2, 0.3, 0.4], "test_accuracy:best": 0.45}
    said = " ".join(accuracy_findings.dynamics(cnn, efcn, control, fcn, 1000))
    rising = [tw for tw, history in control.items() if history["test_accuracy"][-1] == max(history["test_accuracy"])]
    assert 3 in rising
    assert f"The control's last measurement is its best at {accuracy_findings.at(rising)}." in said
