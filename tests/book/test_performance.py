"""Recorded timings, read back, drawn and put into words; the figures hold the numbers of the files."""

import json

import numpy as np
import pytest
import torch

from efcnbench import path_timing, precision_agreement, subjects, timing
from efcnbook.figures import roofline
from efcnbook.findings import performance
from efcnlab.environment import REPOSITORY
from efcnlib.errors import UserError

SIZES = {"channels": 2, "images": 32, "batch": 16, "blocks": 5, "synthetic": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real, tiny measurements of three subjects, and a comparison of precisions from made-up numbers."""
    where = tmp_path_factory.mktemp("performance")
    options = subjects.Options(**SIZES)
    training = options.model_copy(update={"names": ("A", "B", "F", "G")})
    for subject in ("training", "scaling", "together"):
        chosen = training if subject == "training" else options
        subjects.run_benchmark(subject, "cpu", chosen, str(where / f"{subject}.json"), report=lambda line: None)
    longer = options.model_copy(update={"images": 48})
    timed = path_timing.time_paths(longer.setup(torch.device("cpu")), 5, lambda line: None, ("A", "C"), 3, 3)
    result = timing.result_header("paths", "cpu", longer.model_dump(exclude={"names", "data_root"})) | timed
    (where / "paths.json").write_text(json.dumps(result))
    rng = np.random.default_rng(0)
    values = {
        precision: {tw: {name: rng.random(3).tolist() for name in precision_agreement.QUANTITIES} for tw in ("0", "5")}
        for precision in ("float32", "bf16")
    }
    settings = {"architecture": "vanilla", "channels": 8, "batch": 50, "optimiser": "sgd"}
    result = timing.result_header("precision", "cpu", settings) | {
        "values": values,
        "comparison": precision_agreement.compare_precisions(values),
        "study": {"name": "quick", "seeds": [0, 1, 2], "relax_times": [0, 5]},
    }
    (where / "precision.json").write_text(json.dumps(result))
    return where


@pytest.fixture(scope="module")
def results(folder):
    return performance.recorded(folder)


def drawn(made):
    figure, table = made
    assert len(table)
    figure.draw_without_rendering()
    for ax in figure.axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    return figure.axes


def test_files_are_read_by_subject(results):
    assert list(results) == ["paths", "precision", "scaling", "together", "training"]
    assert list(performance.of(results, "scaling")) == ["scaling"]


def test_bars_are_the_medians_and_lines_the_floors(results):
    variants = {name: v for name, v in results["training"]["variants"].items() if name != "A"}
    (ax,) = drawn(roofline.times(variants))
    widths = {label.get_text(): bar.get_width() for label, bar in zip(ax.get_yticklabels(), ax.patches, strict=True)}
    assert widths == {name: v["step_ms"]["median"] for name, v in variants.items()}
    floors = {line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2.5}
    assert floors == {v["floor_ms"] for v in variants.values()}
    (ax,) = drawn(roofline.times(results["training"]["variants"], "epoch_ms"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["G", "F", "B", "A"]


def test_points_lie_under_their_roofs_where_they_were_measured(results):
    result = results["training"]
    variants = {name: v for name, v in result["variants"].items() if name != "A"}
    (ax,) = drawn(roofline.roofline(result["machine"], variants))
    points = [line.get_xydata() for line in ax.lines if line.get_linestyle() == "None"]
    expected = [
        (v["operations"] / v["bytes"], v["operations"] / v["step_ms"]["median"] / 1e6) for v in variants.values()
    ]
    np.testing.assert_allclose(np.sort(np.concatenate(points), axis=0), np.sort(expected, axis=0))


@pytest.mark.parametrize("what", ["weights", "images"])
def test_growth_draws_each_variant_and_its_line(results, what):
    time, xlabel, ylabel = roofline.GROWTH[what]
    (ax,) = drawn(roofline.growth(results["scaling"]["series"][what], what, time, xlabel, ylabel))
    assert ax.get_ylim()[0] == ax.get_xlim()[0] == 0
    assert len(ax.containers) == 2


def test_differences_of_precision_are_drawn_in_per_cent(results):
    rows = results["precision"]["comparison"]
    left, right = drawn(roofline.agreement(rows, "bf16"))
    for ax, quantity in ((left, "test_accuracy"), (right, "delta")):
        chosen = [row for row in rows if row["quantity"] == quantity]
        (points,) = [c for c in ax.containers if hasattr(c, "has_yerr")]
        np.testing.assert_allclose(points.lines[0].get_ydata(), [100 * row["difference"] for row in chosen])
        assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "5"]


def test_sentences_are_computed(results):
    training, text = results["training"], "\n".join(performance.ways_of_training(results["training"]))
    assert performance.spread(training["ratios"]["B/G step"]) in text
    assert performance.spread(training["ratios"]["A/G epoch"]) in text
    assert "published loop" in text
    assert performance.spread({"median": 3.234, "min": 3, "max": 3.31}) == "3.2 (3 to 3.3)"
    assert len(performance.growth(results["scaling"])) == 4
    agreed = performance.agreement(results["precision"]["comparison"])
    assert len(agreed) == 2
    assert "of 2 relax times" in agreed[0]


def test_a_caption_says_what_was_run_where_and_how(results):
    made = performance.source(results["training"])
    caption = made.words
    assert made.facts["timed by"] == results["training"]["command"]
    assert made.facts["settings"] == results["training"]["settings"]
    assert "vanilla, 2 channels, batch 16, sgd" in caption
    assert f"{torch.get_num_threads()} threads" in caption
    assert results["training"]["date"][:10] in caption
    assert "<code>" in caption


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', '{"schema": 1}', "3"])
def test_what_is_no_record_is_named(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UserError, match=r"bad\.json is no record of a benchmark .*: make it anew with efcn bench"):
        performance.recorded(tmp_path)


def test_strings_are_said_with_their_size_and_ratios(results):
    lines = performance.string_timings(results["paths"])
    whole = results["paths"]["ratios"]["A/C string"]
    assert f"**{performance.spread(whole)}** times faster than the straightforward loop's" in lines[0]
    assert "3 points, 30 steps, then 12,000 images at 3 alphas" in lines[0]
    assert len(lines) == 4  # without bf16 and the live loop


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no timings in .*: make some with efcn bench"):
        performance.recorded(tmp_path)


def test_the_recorded_files_of_the_repository_can_be_said():
    """What the page shows: each file names its hardware, its command and no place on the machine."""
    for name, result in performance.recorded().items():
        assert result["device"], name
        assert result["command"].startswith("efcn bench"), name
        assert "/" not in result["command"], name
        assert str(REPOSITORY) not in json.dumps(result)
        assert not result.get("failed"), name
    assert performance.of(performance.recorded(), "training")
