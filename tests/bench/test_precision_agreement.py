"""Precisions compared over seeds: the arithmetic by hand, the runs on a small study."""

import pytest

from efcnbench import precision_agreement
from efcnlab.config.studies import load
from efcnlab.store.run_store import Store
from efcnlib.errors import UserError


def values(accuracies):
    return {"0": {"test_accuracy": accuracies, "train_loss": [1.0, 2.0, 3.0], "delta": [0.1, 0.1, 0.2]}}


def test_comparison_by_hand():
    rows = precision_agreement.compare_precisions({"float32": values([0.5, 0.6, 0.7]), "bf16": values([0.6, 0.6, 0.9])})
    accuracy, loss, delta = rows
    assert (accuracy["precision"], accuracy["tw"], accuracy["quantity"]) == ("bf16", 0, "test_accuracy")
    assert accuracy["difference"] == pytest.approx(0.1)
    assert accuracy["error"] == pytest.approx(0.1 / 3**0.5)  # differences 0.1, 0, 0.2
    assert accuracy["spread"] == pytest.approx(0.1)
    assert loss["difference"] == 0
    assert loss["agrees"]
    assert delta["agrees"]


def test_a_difference_beyond_the_spread_is_no_agreement():
    rows = precision_agreement.compare_precisions({"float32": values([0.5, 0.6, 0.7]), "bf16": values([0.3, 0.4, 0.5])})
    assert not rows[0]["agrees"]


def test_small_study_in_two_precisions(tmp_path):
    study = load(
        "digits",
        network={"channels": 2},
        data={"train": 200, "test": 100},
        epochs=2,
        relax_epochs=2,
        relax_times=(0, 2),
        path_times=(),
        measurements=2,
        seeds=(0, 1, 2),
    )
    told = []
    result = precision_agreement.train_and_compare(study, ("float32", "bf16"), Store(tmp_path), report=told.append)
    assert len(told) == 2 * 3 * 3
    assert set(result["values"]) == {"float32", "bf16"}
    assert all(len(result["values"]["bf16"][tw]["delta"]) == 3 for tw in ("0", "2"))
    assert result["values"]["bf16"]["0"]["delta"] != result["values"]["float32"]["0"]["delta"]
    assert len(result["comparison"]) == 2 * 3


@pytest.mark.parametrize(
    ("seeds", "names", "message"),
    [
        ((0, 1), ("float32", "bf16"), "number of seeds 2 is not allowed"),
        ((0, 1, 2), ("bf16",), "precisions bf16 lack float32"),
        ((0, 1, 2), ("float32", "tf32"), "precision 'tf32' is not to be had on cpu"),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path, seeds, names, message):
    with pytest.raises(UserError, match=message):
        precision_agreement.train_and_compare(load("digits", seeds=seeds), names, Store(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
