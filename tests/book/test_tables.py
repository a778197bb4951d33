"""Tables of trainings: means over seeds against their definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

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
