"""Published numbers and ours beside them."""

import pytest

from efcnlib import literature, studies
from efcnlib.evidence import Evidence
from efcnlib.studies import PRESETS


def evidence(name, *bests):
    """A study whose networks reach ``bests``, one for each seed, half-way, and a little less at the end."""
    study = studies.load(name)
    of = {
        seed: {
            "test_accuracy": [0.1, best, best - 0.01],
            "accuracy_local": [0.1, 0.2, best - 0.1],
            "accuracy_off_local": [0.1, 0.1, 0.15],
            "delta": [0, 0.1, 0.25],
        }
        for seed, best in enumerate(bests)
    }
    times = dict.fromkeys(study.relax_times, of)
    return Evidence(study, tuple(of), of, of, times, {kind: times for kind in study.controls}, {}, ("cpu",))


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
    assert set(numbers) == {3, 4, 5}
    assert "the CNN's best is 50.0 % (one seed)" in numbers[3]
    assert "49.0 % ($t_w$ = 0), 49.0 % (3)" in numbers[3]
    assert "δ ends at 25.0 % ($t_w$ = 0)" in numbers[4]
    assert "local weights alone end with 40.0 %" in numbers[5]


@pytest.mark.parametrize("name", PRESETS)
def test_differences_from_the_papers_setting_are_named(name):
    study = PRESETS[name]
    told = literature.differences(study)
    if study.needs_gpu:
        assert told == ["nothing that is known"]
    elif name == "digits":
        assert told == ["none of the paper's settings is like it"]
    else:
        assert f"{study.network.channels} channels for the paper's 64" in told
        assert any("epochs of the CNN" in one for one in told)
        assert any("shuffled" in one for one in told) == study.shuffle
        later = study.relax_optimiser
        rate = f"learning rate {later.lr:g} after the embedding, where it is not known" if later else "no such words"
        assert any(rate in one for one in told) == (later is not None)
