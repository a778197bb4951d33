"""Tables of trainings: means over seeds against their definition, and what figures and sentences make of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efcnbook.figures import training_curves
from efcnbook.findings import accuracy_findings
from efcnbook.statistics import tables
from measured import seeds

EPOCHS = [0, 1, 3, 10]
REDUCE = (np.mean, np.min, np.max)
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
def test_means_extremes_and_bests(of):
    table = seeds(efcn={3: of}, cnn=of)
    assert tables.seeds_of(table) == tables.seeds_of(table, "cnn") == [len(of)]
    for name in ("test_accuracy", "delta"):
        stacked = np.array([one[name] for one in of])
        for extent in (tables.over_seeds(table, "efcn", name).loc[3], tables.over_seeds(table, "cnn", name)):
            assert list(extent.index) == EPOCHS
            for column, reduce in (("mean", np.mean), ("min", np.min), ("max", np.max)):
                np.testing.assert_allclose(extent[column], reduce(stacked, axis=0), rtol=1e-12)
        np.testing.assert_allclose(tables.at_end(table, "efcn", name).loc[3], [f(stacked[:, -1]) for f in REDUCE])
        assert tables.first(table, "efcn", name).tolist() == stacked[:, 0].tolist()
    layers = np.array([one["delta_by_layer"] for one in of])
    for i in (0, 1):
        np.testing.assert_array_equal(tables.final(table, "efcn", f"delta_layer_{i + 1}"), layers[:, -1, i])
    assert tables.best(table, "cnn").tolist() == [max(one["test_accuracy"]) for one in of]


def test_a_seed_that_diverged_is_not_left_out_of_a_mean():
    lost, whole = ({"delta": [0.0, end], "train_loss": [1.0, end]} for end in (np.nan, 0.5))
    table = seeds(efcn={3: [lost, whole], 5: [whole, whole]})
    assert tables.at_end(table, "efcn", "delta")["mean"].isna().tolist() == [True, False]
    assert tables.diverged(table) == [3]
    assert tables.times(tables.stable(table)) == [5]
    assert tables.by_time(tables.minus(*[tables.final(table, "efcn", "delta")] * 2)) == {3: [0.0], 5: [0.0, 0.0]}


def drawn(count):
    """Trainings of a CNN, a standard FCN, three eFCNs and their controls, drawn at random, of so many seeds."""
    rng = np.random.default_rng(0)

    def some():
        return [history(rng.random((6, 4)), rng.random((4, 2))) for _ in range(count)]

    return seeds(
        cnn=some(),
        fcn=some(),
        **{kind: {tw: some() for tw in (0, 3, 10)} for kind in ("efcn", "control")},
    )


def test_figures_draw_what_lies_between_the_seeds():
    for count, bars in ((1, 0), (3, 1)):
        table = drawn(count)
        (ax, _) = training_curves.dynamics(table).axes
        vertical = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
        assert len(vertical) == bars * 6
        if bars:
            ends = 100 * tables.final(table, "efcn")[0]
            np.testing.assert_allclose(sorted(vertical[0].get_ydata()), [ends.min(), ends.max()])
        left, right, _ = training_curves.distances(table).axes
        assert len(left.collections) == len(right.collections) == bars * 3
        assert len(training_curves.by_layer(table).axes[0].lines) == 2 + bars * 6
        assert len(training_curves.contributions(table, 0.1).axes[0].lines) == 4 + bars * 9
        assert len(training_curves.deviation(table).axes) == 4


def test_sentences_say_how_many_seeds_there_were():
    for count in (1, 3):
        table = drawn(count)
        sentences = " ".join(accuracy_findings.dynamics(table, 1000))
        assert ("means over 3 seeds" in sentences) == (count == 3)
        assert (accuracy_findings.ONE_SEED in sentences) == (count == 1)
        assert accuracy_findings.percent(tables.best(table, "cnn").mean()) in sentences


def test_a_mean_that_rises_to_its_end_is_said_to():
    """The mean of each seed's own best is above a mean's end wherever one seed falls: it must not decide."""
    falling, rising = ({"test_accuracy": values} for values in ([0.1, 0.4, 0.3], [0.1, 0.2, 0.6]))
    one = {"test_accuracy": [0.5]}
    table = seeds(cnn=[one, one], efcn={3: [one, one]}, control={3: [falling, rising]})
    assert "last measurement is its best at $t_w$ = 3." in " ".join(accuracy_findings.dynamics(table, 1000))
