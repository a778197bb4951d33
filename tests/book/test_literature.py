"""Published numbers and ours beside them."""

from dataclasses import replace

import pytest

from efcnbook.claims import literature
from efcnbook.statistics.evidence import Evidence
from efcnlab.config import studies
from efcnlab.config.studies import PRESETS
from measured import paths, seeds


def evidence(name, *bests):
    """A study whose networks reach ``bests``, one for each seed, half-way, and a little less at the end."""
    study = studies.load(name)
    histories = {
        seed: {
            "test_accuracy": [0.1, best, best - 0.01],
            "accuracy_local": [0.1, 0.2, best - 0.1],
            "accuracy_off_local": [0.1, 0.1, 0.15],
            "delta": [0, 0.1, 0.25],
            "delta_by_layer": [[0, 0], [0.1, 0.2], [0.125, 0.3]],
        }
        for seed, best in enumerate(bests)
    }
    of = list(histories.values())
    relaxed = {kind: {tw: of for tw in study.relax_times} for kind in ("efcn", *study.controls)}
    runs = seeds(cnn=of, fcn=of, **relaxed)
    return Evidence(study, tuple(histories), runs, paths({}), ("cpu",))


def test_ours_stands_beside_what_is_comparable_and_nothing_else():
    narrow = evidence("vanilla-cifar10-narrow", 0.60, 0.62, 0.64)
    rows = literature.rows([narrow, evidence("digits", 0.9)])
    assert len(rows) == len(literature.PUBLISHED)
    by_what = {(row[0], row[1]): row for row in rows}
    cnn = by_what["VanillaCNN, best", "cifar10"]
    assert cnn[4] == "73.3"
    assert cnn[5] == "62.0 [57.0, 67.0] % (vanilla-cifar10-narrow)"  # Student's t of 2 degrees: 4.303 * 2 / sqrt(3)
    assert "from tw = 11 (" in by_what["its eLCN from tw = 9", "cifar10"][5]  # the nearest of 0, 1, 3, 11, 21, 40
    assert "digits" not in str(rows)
    assert by_what["AlexNet", "cifar100"][5] == "–"
    assert all("%" not in row[5] for row in rows if row[3] == literature.NEYSHABUR)


def test_numbers_of_the_figures():
    numbers = literature.numbers(evidence("quick", 0.5))
    assert set(numbers) == {2, 3, 4, 5}  # there are no paths
    assert "the CNN's best is 50.0 % (one seed)" in numbers[3]
    assert "49.0 % ($t_w$ = 0), 49.0 % (6)" in numbers[3]
    assert "δ ends at 25.0 % ($t_w$ = 0)" in numbers[4]
    assert "local weights alone end with 40.0 %" in numbers[5]


def test_the_first_layer_of_figure_2_and_the_barriers_of_figure_6():
    one = evidence("quick", 0.5, 0.5)
    path, lower, lost = (
        [{"alpha": [0, 0.5, 1], "train_loss": loss} for loss in losses]
        for losses in ([[0.5, 1.5 + seed, 0.25] for seed in (0, 1)], [[0.5, 0.25, 0.0]] * 2, [[float("nan")] * 3] * 2)
    )
    given = paths({0: {"linear": path, "string": path}, 24: {"linear": lower}})
    numbers = literature.numbers(replace(one, paths=given))
    assert numbers[2] == (
        "after 8 epochs, δ of the first layer alone is 12.5 % in the eFCN that left last ($t_w$ = 24)"
    )
    assert numbers[6] == (
        "on the linear path the train loss rises above that of the higher end by +1.50 nats ($t_w$ = 0), −0.25 (24);"
        " where it is below, there is no barrier"
    )
    diverged = one.runs.assign(train_loss=one.runs["train_loss"].mask(one.runs["kind"] == "efcn"))
    lost = replace(one, paths=paths({0: {"linear": lost}}), runs=diverged)
    assert literature.numbers(lost)[2] == literature.numbers(lost)[6] == "no number, as all of them diverged"


CODE, SUPPLEMENT, DERIVED = (
    "the published code's {}",
    "the supplement's {}",
    "{}, derived from the supplement's captions",
)
NARROW = {
    "vanilla": {f"channels for {CODE.format(64)}", f"of the CNN for {CODE.format(100)}"},
    "alexnet": {f"channels for {CODE.format(64)}", f"of the CNN for {DERIVED.format(150)}"},
}
NARROW["vanilla"].add(f"of the eFCN for {SUPPLEMENT.format(100)}")
NARROW["alexnet"].add(f"of the eFCN for {DERIVED.format(100)}")


@pytest.mark.parametrize("name", PRESETS)
def test_differences_from_what_is_known_of_the_setting_are_named_with_where_it_is_from(name):
    study = PRESETS[name]
    told = literature.differences(study)
    if study.long:
        rates = ["learning rate 0.05 for the published code's 0.1"] if study.optimiser.lr == 0.05 else []
        *epochs, products = told[: len(told) - len(rates)]
        assert told[len(told) - len(rates) :] == rates
        assert {one.split(" epochs ")[1] for one in epochs} == {
            words
            for words in NARROW[study.network.architecture]
            if not words.startswith("channels") and not ("eFCN" in words and study.relax_epochs == 100)
        }
        assert products == "products in bf16 for PyTorch's default, float32"
        return
    if name == "digits":
        assert told == ["none of the paper's settings is like it"]
        return
    assert all(any(one.endswith(words) for one in told) for words in NARROW[study.network.architecture])
    assert not any("the paper's" in one for one in told if "whether" not in one)
    assert any(one.startswith("products in bf16 for PyTorch's") for one in told) == (study.precision == "bf16")
    assert any("shuffled" in one for one in told) == study.shuffle
    later = study.relax_optimiser
    rate = {None: "no such words", 0.03: "0.03 after the embedding", 5e-05: "learning rate 0.00005 after the embedding"}
    assert any(rate[later and later.lr] in one for one in told) == (later is not None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimiser": {"lr": 0.05}}, "learning rate 0.05 for the published code's 0.1"),
        ({"optimiser": {"momentum": 0.9}}, "momentum 0.9, where the published code has none"),
        ({"optimiser": {"weight_decay": 0.001}}, "weight decay 0.001, where the published code has none"),
        ({"batch": 100}, "100 images in a batch for the published code's 250"),
        ({"data": {"train": 2000}}, "2,000 training images for the data set's 50,000"),
        ({"augment": True}, "random crops and flips, where the published code has none"),
        ({"shuffle": True}, "images shuffled anew each epoch, where the published loader keeps their order"),
        (
            {"optimiser": {"momentum": 0.9}, "carry": True},
            "the optimiser's moments carried over the embedding, where the published code starts it anew",
        ),
    ],
)
def test_each_setting_that_differs_is_named(change, words):
    plain = studies.load("vanilla-cifar10-sgd-published", precision="float32", **SMALL)
    assert literature.differences(plain) == ["nothing that is known"]
    assert words in literature.differences(studies.load("vanilla-cifar10-sgd-published", **change | SMALL))


SMALL = {"path_times": (), "path_relaxed_times": None, "epochs": 100, "relax_epochs": 100}


def test_what_nobody_knows_is_no_difference():
    changed = studies.load(
        "vanilla-cifar10-adam", optimiser={"name": "adam", "lr": 0.0003}, precision="float32", **SMALL
    )
    assert literature.differences(changed) == ["nothing that is known"]


def test_epochs_of_others_and_rates_after_the_embedding_are_computed():
    known = [evidence(name, 0.5) for name in ("quick", "vanilla-cifar10-narrow", "vanilla-cifar10-narrow-rate")]
    assert literature.lengths([one.study for one in known]) == (
        "4,000 epochs are 167 times the 24 of the CNN of quick; 100 times the 40 of the CNNs of vanilla-cifar10-narrow"
        " and vanilla-cifar10-narrow-rate"
    )
    assert [literature.rates(one.study) for one in known] == [
        "the CNN's rate, 0.05, after the embedding too",
        "the CNN's rate, 0.1, becomes 0.03 at the embedding; 0.003 in the control with the lowered rate",
        "the CNN's rate, 0.1, after the embedding too; 0.01 in the control with the lowered rate",
    ]
