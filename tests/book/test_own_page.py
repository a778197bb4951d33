"""The page on networks and images of one's own: every block on it is run as it is written, in a clone."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from efcnlab.config import studies
from efcnlab.config.runs import CONTROLS
from efcnlab.environment import REPOSITORY

PAGE = (REPOSITORY / "book" / "own.md").read_text("utf-8")
# What stands between fences: a language, "{code-block} LANGUAGE" with the name of a file, and the text.
FENCE = re.compile(r"^```(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in FENCE.finditer(PAGE)]
LINES = 30
# Pages that are given all studies, and what they and a study's pages lead to.
NEEDED = {
    "executed/explorer",
    "executed/claims",
    "executed/comparison",
    "executed/review",
    "executed/playground",
    "notation",
    "references",
}
MOMENTUM = {"name": "sgd", "lr": 0.01, "momentum": 0.9}


def test_every_block_is_a_file_or_commands():
    assert PAGE.count("\n```") == 2 * len(BLOCKS)
    assert all((name is not None) == (language in ("json", "python")) for language, name, _ in BLOCKS)
    assert {language for language, _, _ in BLOCKS} == {"json", "python", "bash"}
    commands = "".join(text for language, _, text in BLOCKS if language == "bash").split()
    used = [name for _, name, _ in BLOCKS if name]
    assert all(name in commands for name in used), used


@pytest.mark.parametrize(("language", "name", "text"), BLOCKS, ids=lambda part: str(part)[:20])
def test_every_example_has_less_than_30_lines(language, name, text):
    assert 0 < len(text.splitlines()) < LINES, name
    assert max(map(len, text.splitlines())) <= 120


GIVEN = tuple(name for name in CONTROLS if name != "tuned")  # which a study with `rates` has too


def test_the_fields_of_a_training_are_there_and_do_what_is_said():
    table = PAGE.partition("## How it is trained")[2].partition("\n## ")[0]
    given = json.loads("{" + ", ".join(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)) + "}")
    assert set(given) == {"shuffle", "augment", "relax_optimiser", "carry", "fcn_control", "lowered"} | {
        "rates",
        "controls",
        "control_times",
    }
    searched = given | {"relax_times": (0, 2, 5), "path_times": (), "fcn_control": False, "relax_optimiser": None}
    assert [run.label for run in studies.runs(studies.load("digits", **searched | {"carry": False}))][1:3] == [
        "learning rate of efcn seed=0",
        "learning rate of control seed=0",
    ]
    chosen = {"optimiser": {"momentum": 0.9}, "relax_optimiser": MOMENTUM, "tuned_rate": 0.05}
    study = studies.load("digits", **given | chosen)
    assert (study.shuffle, study.augment, study.carry, study.controls) == (False, True, True, CONTROLS)
    assert (study.times("elcn"), study.times("tuned")) == ((5,), (0, 2, 5, 20))
    assert study.control_fcn(0) in studies.runs(study)
    assert (
        studies.load("digits", relax_optimiser=given["relax_optimiser"]).relaxed("control", 2, 0).optimiser.lr == 0.01
    )
    plain = studies.Study.model_fields
    unless = {name: plain[name].default for name in given}
    assert unless == given | {"shuffle": True, "augment": False, "carry": False, "fcn_control": False} | {
        "relax_optimiser": None,
        "rates": None,
        "controls": ("control",),
        "control_times": plain["control_times"].default,
    }
    for name, preset in studies.PRESETS.items():
        assert (preset.long or "narrow" in name) == (not preset.shuffle) == ("elcn" in preset.controls), name


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with what a clone of the repository holds, after `make`; its book has no pages but those of studies.

    The others are the same in every book: `test_whole_book.py` makes them.
    """
    folder = tmp_path_factory.mktemp("clone")
    unwanted = shutil.ignore_patterns("executed", "__pycache__", ".*")
    for name in ("efcnlib", "efcnlab", "notebooks", "book", "results"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=unwanted)
    shutil.copy(REPOSITORY / "_config.yml", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    toc = yaml.safe_load((folder / "book" / "_toc.yml").read_text("utf-8"))
    every = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    chapters = [chapter for chapter in every if chapter["file"] in NEEDED or "{study}" in chapter["file"]]
    small = {"format": toc["format"], "root": "own", "parts": [{"caption": "All", "chapters": chapters}]}
    (folder / "book" / "_toc.yml").write_text(yaml.safe_dump(small), "utf-8")
    return folder


@pytest.fixture(scope="module")
def said(clone):
    """What each command of the page said, run one after the other as the page has them, and what it took."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EFCN_") and name != "DEVICE"}
    said = {}
    for language, name, text in BLOCKS:
        if name:
            (clone / name).write_text(text, "utf-8")
        for command in text.splitlines() if language == "bash" else ():
            environment = kept | {"PYTHONPATH": f"{clone}{os.pathsep}{clone / 'book'}", "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, shell=True, cwd=clone, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
            said[command] = done.stdout
    return said


def test_the_page_is_run_as_written(said):
    assert said[".venv/bin/efcn run deeper.json"].startswith("deeper: all 13 runs are in ")  # curvature among them
    status = said[".venv/bin/efcn status deeper.json"].splitlines()
    assert len([line for line in status if " done " in line]) == 13


def test_the_command_for_images_makes_what_the_page_says(said, clone):
    assert "efcn run patches.json" in said[".venv/bin/efcn data patches --study patches.json"]
    data = json.loads("{" + said[".venv/bin/efcn data smaller.safetensors"] + "}")["data"]
    assert data["holds"] == {"train": 1664, "test": 416, "shape": [3, 8, 8], "classes": 2}
    assert {file.name for file in clone.glob("patches.*")} >= {"patches.safetensors", "patches.png", "patches.json"}


def test_the_networks_learn_and_are_the_same_function(said, clone):
    output = said[".venv/bin/python mobile.py"]
    differ, delta = (float(re.search(rf"{words} (\S+)", output)[1]) for words in ("differ by", "delta"))
    assert 0 < differ < 1e-4
    assert 0 < delta < 0.5
    accuracies = {}
    for record in (clone / "runs").glob("*/record.json"):
        content = json.loads(record.read_text("utf-8"))
        if content["config"]["kind"] == "cnn":
            accuracies[content["config"]["data"].get("name", "own")] = content["history"]["test_accuracy"][-1]
    assert accuracies["own"] > 0.8  # chance is 0.5
    assert accuracies["digits"] > 0.8  # chance is 0.1


def test_the_book_shows_the_study(said, clone):
    page = clone / "build" / "html" / "executed" / "patches" / "dynamics.html"
    text = page.read_text("utf-8")
    assert "own layers, convolutions of 8, 8 channels, 1,664 training and 416 test images" in text
    assert "The first training images, and below them the first test images" in text
    assert (clone / "patches.ipynb").exists()
