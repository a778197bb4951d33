"""Timing the string: the same string in every variant, a gate that closes, ratios by hand."""

import json

import pytest
import torch

from efcnbench import path_timing, subjects
from efcnlab.cli import main
from efcnlib.data.images import Split
from efcnlib.errors import UserError

CPU = torch.device("cpu")


def a_setup(count=48, batch=16):
    options = subjects.Options(channels=2, images=count, batch=batch, synthetic=True)
    return options.setup(CPU)


@pytest.fixture(scope="module")
def measured():
    return path_timing.time_paths(a_setup(), 5, lambda line: None, points=4, alphas=7)


def test_variants_relax_and_evaluate_the_same_string(measured):
    assert not measured["failed"]
    assert set("ABC") <= set(measured["variants"])
    for name, variant in measured["variants"].items():
        assert 0 < variant["gate_error"] <= variant["tolerance"]
        assert variant["gate_error"] < 1e-3 or name == "D"
        assert variant["evaluation_error"] <= variant["evaluation_tolerance"]
        assert len(variant["step_ms"]["blocks"]) == 5


def test_a_whole_string_is_the_sum_of_its_steps_and_its_evaluation(measured):
    size, a, c = measured["string"], *(measured["variants"][name] for name in "AC")
    assert (size["points"], size["alphas"], size["steps"], size["images"]) == (4, 7, 30, 12_000)
    for variant in (a, c):
        for whole, step, thousand in zip(
            *(variant[key]["blocks"] for key in ("string_s", "step_ms", "evaluation_ms")), strict=True
        ):
            assert whole == pytest.approx((30 * step + 12 * thousand) / 1000)
    ratios = [x / y for x, y in zip(a["string_s"]["blocks"], c["string_s"]["blocks"], strict=True)]
    assert measured["ratios"]["A/C string"]["blocks"] == pytest.approx(ratios)


@pytest.mark.parametrize("fault", ["steps", "evaluate"])
def test_a_wrong_variant_is_not_timed(fault, monkeypatch):
    class Wrong(path_timing.StackedVariant):
        def steps(self, count):
            super().steps(count - (fault == "steps" and count > 1))

        def evaluate(self, split):
            return [loss * (1.001 if fault == "evaluate" and split.x.dtype == torch.float32 else 1)
                    for loss in super().evaluate(split)]  # fmt: skip

    right = path_timing.StackedVariant
    exact = lambda course, precision="float32", dtype=torch.float32: (  # noqa: E731
        right if dtype == torch.float64 else Wrong
    )(course, precision, dtype)
    monkeypatch.setattr(path_timing, "StackedVariant", exact)
    found = path_timing.time_paths(a_setup(), 5, lambda line: None, names=("A", "C"), points=3, alphas=3)
    assert list(found["variants"]) == ["A"]
    assert "is allowed" in found["failed"]["C"]


def test_both_layouts_have_the_same_ends():
    course = path_timing.StringTask(a_setup(), 3, 3)
    x = torch.randn(3, *course.setup.images.shape, generator=torch.Generator().manual_seed(0))
    for padded, live in zip(course.ends(live=False), course.ends(live=True), strict=True):
        torch.testing.assert_close(padded(x), live(x), rtol=1e-4, atol=1e-5)


def test_the_linear_path_is_evaluated_between_the_same_ends():
    course = path_timing.StringTask(a_setup(), 3, 5)
    way, split = path_timing.StackedVariant(course), Split(course.setup.split.x[:20], course.setup.split.y[:20])
    way.steps(3)
    line, string = way.linear(split), way.evaluate(split)
    assert (line[0], line[-1]) == (pytest.approx(string[0]), pytest.approx(string[-1]))
    assert line[2] != string[2]


def test_the_command_writes_a_file_the_page_can_show(tmp_path, capsys):
    sizes = ("--synthetic", "--channels", "2", "--images", "48", "--batch", "16", "--blocks", "5")
    assert main(["bench", "paths", *sizes, "--variants", "A", "C", "--out", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["subject"], result["settings"]["channels"]) == ("paths", 2)
    assert "A/C string" in capsys.readouterr().out


def test_the_default_size_is_that_of_the_quick_study():
    assert subjects.Options().on(CPU, "paths").channels == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("Z",)}, "unknown variant 'Z': choose one of A, B, C"),
        ({"count": 32}, "32 images are too few: 3 batches of 16 are timed"),
    ],
)
def test_bad_input_is_named(change, message):
    options = {"names": ()} | change
    with pytest.raises(UserError, match=message):
        path_timing.time_paths(a_setup(options.pop("count", 48)), 5, lambda line: None, **options)
