"""The gate before timing: what is right passes it, on AlexNet and in bf16 too; each forgotten term does not."""

import copy
from dataclasses import replace

import pytest
import torch

from efcnbench import correctness, subjects, timing, variants
from efcnbench.cost_model import StepMethod
from efcnlab.cli import main
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine
from efcnlib.training.fused_updates import DelayedLinear, FusedLinear
from efcnlib.training.optimisers import Optimiser

CPU = torch.device("cpu")


def a_setup(**options):
    return subjects.Options(**{"channels": 2, "images": 32, "batch": 16, "synthetic": True} | options).setup(CPU)


def errors(setup, variant):
    return correctness.gate_errors(variant, *correctness.reference_change(setup))


def engined(precision, **how):
    def built(products):
        return lambda setup: variants.EngineTraining(setup, products, Engine(**how))

    return variants.Variant("", True, StepMethod(precision, True), built(precision), twin=built("float32"))


def trained_by(make):
    class Other(variants.EagerTraining):
        def __post_init__(self):
            super().__post_init__()
            self.state = make(self.network)

    return variants.Variant("", False, StepMethod(), Other)


@pytest.mark.parametrize("architecture", ["vanilla", "alexnet"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_right_variants_pass(architecture, optimiser):
    setup = a_setup(architecture=architecture, optimiser=optimiser)
    for name, variant in variants.variants_on("cpu", setup.optimiser).items():
        if name not in "DE":  # minutes of compiling
            assert correctness.gate_failure(errors(setup, variant)) is None


def test_float32_is_far_inside_its_tolerance_and_bf16_has_a_twin():
    setup = a_setup()
    plain, reduced = errors(setup, engined("float32")), errors(setup, engined("bf16"))
    assert "twin_error" not in plain
    assert 0 < plain["gate_error"] < 1e-4 < reduced["gate_error"]
    assert (reduced["twin_error"], reduced["twin_tolerance"]) == (
        plain["gate_error"],
        correctness.TOLERANCES["float32"],
    )


@pytest.mark.parametrize("product", ["forward", "input_gradient"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_delay_without_its_corrections_fails_in_any_precision(monkeypatch, product, precision):
    setup, delayed = a_setup(), engined(precision, delay=4)
    assert correctness.gate_failure(errors(setup, delayed)) is None
    monkeypatch.setattr(DelayedLinear, product, getattr(FusedLinear, product))
    assert "are allowed" in correctness.gate_failure(errors(setup, delayed))


@pytest.mark.parametrize(
    ("optimiser", "make"),
    [
        ("sgd", lambda net: torch.optim.SGD(net.parameters(), 1.01)),
        ("sgd", lambda net: torch.optim.SGD(list(net.parameters())[:-2], 1.0)),
        ("sgd", lambda net: torch.optim.SGD([p for p in net.parameters() if p.ndim > 1], 1.0)),
        ("adam", lambda net: torch.optim.Adam(net.parameters(), 1e-3, betas=(0.9, 0.99))),
    ],
    ids=["rate", "last layer", "biases", "betas"],
)
def test_what_trains_otherwise_fails(optimiser, make):
    setup = a_setup(optimiser=optimiser)
    assert correctness.gate_failure(errors(setup, trained_by(make)))


def test_an_error_that_is_no_number_fails():
    assert correctness.gate_failure({"gate_error": float("nan"), "tolerance": 1.0})
    assert correctness.gate_failure({"gate_error": 0.5, "tolerance": 1.0}) is None
    assert correctness.gate_failure({"gate_error": 0.5, "tolerance": 1.0, "twin_error": 0.3, "twin_tolerance": 0.2})


@pytest.mark.parametrize("architecture", ["vanilla", "alexnet"])
def test_a_trial_has_the_same_matrices_from_the_same_start_without_kinks(architecture):
    setup = a_setup(architecture=architecture)
    before = copy.deepcopy(setup.cnn.state_dict())
    trial = setup.trial(3, 0.5)
    assert (len(trial.split), trial.optimiser.lr) == (3 * 16, 0.5)
    assert all(torch.equal(before[name], value) for name, value in trial.cnn.state_dict().items())
    assert all(trial.layers(live) == setup.layers(live) for live in (False, True))
    assert not any(isinstance(layer, torch.nn.ReLU | torch.nn.MaxPool2d) for layer in trial.cnn)
    assert any(isinstance(layer, torch.nn.ReLU) for layer in setup.cnn)  # what is timed keeps its own
    assert {layer.p for layer in trial.cnn if isinstance(layer, torch.nn.Dropout)} <= {0.0}


# The memory and the plain loop's optimiser


def test_peaks_are_what_training_holds_and_nothing_else():
    setup = a_setup(channels=4)
    known = variants.variants_on("cpu", Optimiser())
    peaks = {name: timing.warmed_up(lambda v=known[name]: v.build(setup), CPU)[1] for name in ("B", "F")}
    padded, live = (4 * sum(o * i for o, i in setup.layers(is_live)) for is_live in (False, True))
    activations = 2 * 4 * 16 * sum(o + i for o, i in setup.layers(False))
    assert 2 * padded < peaks["B"] < 2 * padded + activations + 2**20  # weights and gradients
    assert live < peaks["F"] < live + activations + 2**20  # no gradient


def test_the_plain_loop_leaves_the_way_of_updating_to_pytorch():
    assert {group["fused"] for group in variants.EagerTraining(a_setup()).state.param_groups} == {None}
    assert {group["fused"] for group in variants.EagerTraining(a_setup(), fused=True).state.param_groups} == {True}


# Mistakes


def test_nothing_left_to_time_is_one_line():
    def fails(setup):
        raise RuntimeError("no C++ compiler")

    broken = replace(variants.variants_on("cpu", Optimiser())["B"], build=fails, compiled=True)
    with pytest.raises(UserError, match=r"nothing is left to time: D: torch.compile failed: no C\+\+ compiler"):
        timing.time_variants(a_setup(), {"D": broken}, 5, lambda line: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "-5"), "images -5 is not allowed"),
        (("--images", "0"), "images 0 is not allowed"),
        (("--channels", "0"), "channels 0 is not allowed"),
        (("--batch", "0"), "batch 0 is not allowed"),
        (("--batch", "-16"), "batch -16 is not allowed"),
    ],
)
def test_numbers_that_cannot_be_are_told(tmp_path, capsys, arguments, message):
    assert main(["bench", "--synthetic", *arguments, "--out", str(tmp_path / "out.json")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_for_a_file_is_told_before_anything_is_timed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(timing, "time_variants", None)
    assert main(["bench", "--synthetic", "--images", "250", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
