"""Timing by turns: gates that close, an order that rotates, statistics by hand, and the published loop."""

import gc
import json
from dataclasses import replace

import pytest
import torch

from efcnbench import correctness, published_loop, subjects, timing, variants
from efcnlab.cli import main
from efcnlib.data.images import Images
from efcnlib.training.optimisers import Optimiser

CPU = torch.device("cpu")


def a_setup(optimiser="sgd", count=64, batch=16):
    options = subjects.Options(channels=2, images=count, batch=batch, optimiser=optimiser, synthetic=True)
    return options.setup(CPU)


def chosen(*names, optimiser="sgd"):
    known = variants.variants_on("cpu", a_setup(optimiser).optimiser)
    return {name: known[name] for name in names}


@pytest.fixture(scope="module")
def measured():
    return timing.time_variants(a_setup(), chosen("A", "B", "C", "F", "G"), 5, lambda line: None)


def test_every_variant_is_timed_and_gated(measured):
    assert list(measured["variants"]) == ["A", "B", "C", "F", "G"]
    for name, variant in measured["variants"].items():
        assert len(variant["epoch_ms"]["blocks"]) == 5
        assert 0 < variant["gate_error"] <= variant["tolerance"]
        assert variant["peak_bytes"] > 0
        if name != "A":
            assert variant["step_ms"]["median"] == pytest.approx(variant["epoch_ms"]["median"] / 4)
            assert variant["share_of_floor"] == pytest.approx(variant["floor_ms"] / variant["step_ms"]["median"])
    assert "step_ms" not in measured["variants"]["A"]
    assert not measured["failed"]
    assert set(measured["ratios"]) == {"A/G epoch", "B/G step", "B/C step", "F/G step"}


def test_variants_train_what_they_say(measured):
    padded, live = (measured["variants"][name]["weights"] for name in ("B", "F"))
    # VanillaCNN of 2 channels: conv layers, then the linear one.
    assert padded == 578 * 3888 + 128 * 288 + 18 * 50 + 10 * 2
    assert live == 578 * 3072 + 98 * 128 + 18 * 18 + 10 * 2
    assert measured["variants"]["B"]["gate_error"] < 1e-3


def test_the_fused_update_needs_less_memory(measured):
    weights = 4 * measured["variants"]["F"]["weights"]
    assert measured["variants"]["F"]["peak_bytes"] + weights < measured["variants"]["B"]["peak_bytes"]


def test_a_wrong_variant_is_not_timed():
    class Doubled(variants.EagerTraining):
        def epoch(self):
            super().epoch()
            with torch.no_grad():
                self.network[0].weight += 0.01 * self.network[0].weight.std()

    wrong = replace(chosen("B")["B"], build=Doubled)
    result = timing.time_variants(a_setup(), {"wrong": wrong} | chosen("F"), 5, lambda line: None)
    assert list(result["variants"]) == ["F"]
    assert "are allowed" in result["failed"]["wrong"]


def test_what_cannot_be_compiled_is_left_out_with_the_reason():
    def fails(setup):
        raise RuntimeError("no C++ compiler\nand more")

    broken = replace(chosen("B")["B"], build=fails, compiled=True)
    result = timing.time_variants(a_setup(), {"D": broken} | chosen("F"), 5, lambda line: None)
    assert result["left_out"] == {"D": "torch.compile failed: no C++ compiler"}
    with pytest.raises(RuntimeError):
        timing.time_variants(a_setup(), {"B": replace(broken, compiled=False)}, 5, lambda line: None)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_step_of_momentum_or_adam_passes_its_gate_too(optimiser):
    result = timing.time_variants(a_setup(optimiser), chosen("B", "F", "G", optimiser=optimiser), 5, lambda line: None)
    assert not result["failed"]
    assert result["variants"]["F"]["gate_error"] < 1e-3 < result["variants"]["G"]["gate_error"]


def test_the_order_rotates():
    seen = []
    timing.time_blocks({name: lambda name=name: seen.append(name) for name in "abc"}, 4, CPU)
    assert "".join(seen) == "abc" + "bca" + "cab" + "abc"


def test_statistics_by_hand():
    value = timing.summary([5.0, 1.0, 3.0, 2.0, 4.0])
    assert value == {"median": 3, "min": 1, "max": 5, "quartiles": [2, 4], "blocks": [5, 1, 3, 2, 4]}
    ratio = timing.block_ratios({"B": [4.0, 6.0], "G": [2.0, 2.0], "X": [1.0, 1.0]})
    assert list(ratio) == ["B/G step"]
    assert ratio["B/G step"]["blocks"] == [2, 3]
    fit = subjects.linear_fit([{"x": x, "y": {"median": 2 + 3 * x}} for x in (1, 2, 5)], "x", "y")
    assert (fit["slope"], fit["start"]) == (pytest.approx(3), pytest.approx(2))
    assert fit["largest_deviation"] < 1e-9


def test_the_published_epoch_makes_six_passes_and_collects_at_every_step(monkeypatch):
    setup, reads, collections = a_setup(count=48), [], []
    loop = variants.PublishedTraining(setup)
    read = published_loop.PilImages.__getitem__
    monkeypatch.setattr(published_loop.PilImages, "__getitem__", lambda self, i: reads.append(i) or read(self, i))
    monkeypatch.setattr(gc, "collect", lambda: collections.append(1))
    loop.epoch()
    assert reads == 6 * list(range(48))
    assert len(collections) == 3


def test_the_published_loader_sees_the_resident_images():
    setup = a_setup()
    x = torch.cat([x for x, _ in variants.PublishedTraining(setup).loader])
    torch.testing.assert_close(x, setup.split.x, rtol=0, atol=1e-5)


def test_rates_are_those_of_a_real_machine():
    machine = timing.machine_rates(CPU)
    assert 1e8 < machine["copy_bytes_per_s"] < 1e13
    assert all(1e8 < rate < 1e14 for rate in machine["rates"].values())


# The command


def command(tmp_path, *arguments):
    sizes = ("--synthetic", "--channels", "2", "--images", "32", "--batch", "16", "--blocks", "5")
    return main(["bench", *arguments, *sizes, "--out", str(tmp_path / "out.json")])


def test_the_command_writes_one_readable_file(tmp_path, capsys):
    assert command(tmp_path, "--variants", "B", "G") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["subject"] == "training"
    assert result["settings"]["channels"] == 2
    assert str(tmp_path) not in json.dumps(result)
    assert "B/G step" in capsys.readouterr().out


def test_scaling_fits_a_line_over_weights_and_images(tmp_path):
    assert command(tmp_path, "scaling") == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result["series"]) == set(result["fits"]) == {"weights", "images"}
    assert set(result["fits"]["weights"]) == {"B", "G"}
    assert len({row["weights"] for row in result["series"]["weights"]["G"]}) > 1


def test_together_compares_with_one_after_the_other(tmp_path):
    assert command(tmp_path, "together") == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result["epoch_ms_each"]) == {"1", "2", "4"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speed",), "unknown subject 'speed': choose one of training, scaling"),
        (("--variants", "Z"), "unknown variant 'Z': choose one of A, B, C, D, E, F, G"),
        (("--optimiser", "lion"), "unknown optimiser 'lion': choose one of sgd, adam"),
        (("--architecture", "resnet"), "unknown architecture 'resnet'"),
        (("--device", "cuda:9"), "device 'cuda:9' is not here"),
        (("kernels",), "the kernels are timed on a GPU, not on cpu"),
    ],
)
def test_mistakes_are_one_line_and_no_file(tmp_path, capsys, arguments, message):
    assert command(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (("--blocks", "4"), "blocks 4 is not allowed: give an integer of at least 5"),
        (("--images", "40", "--batch", "16"), "batch 16 does not divide 40 images"),
        (("--batch", "0"), "batch 0 is not allowed"),
    ],
)
def test_sizes_that_cannot_be_are_told(tmp_path, capsys, sizes, message):
    arguments = ["bench", "--synthetic", "--channels", "2", "--images", "32", *sizes]
    assert main([*arguments, "--out", str(tmp_path / "out.json")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_in_a_result_names_no_place():
    line = timing.public_command(["bench", "--out", "/somewhere/x.json", "--data-root=/there", "--blocks", "5"])
    assert line == "efcn bench --blocks 5"


def test_the_gate_follows_every_step_of_the_optimiser():
    setup = a_setup()
    momentum = replace(setup, optimiser=Optimiser(lr=1e-3, momentum=0.9))
    assert not torch.equal(
        *(correctness.weight_change(s, lambda s=s: correctness.train_in_float64(s)) for s in (setup, momentum))
    )
    assert isinstance(setup.images, Images)
