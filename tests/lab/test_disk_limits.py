"""A disk that takes no more: one line with the folder and what chooses another, and no part of a file."""

import re
import resource
import subprocess

import pytest

from command_line import COMMAND
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store
from image_folders import pictures
from small_studies import tiny

MOST = 2_000  # bytes of a file: no study and no image fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of pictures, a study and its store."""
    root = tmp_path_factory.mktemp("full")
    pictures(root / "two", count=10)
    (root / "tiny.json").write_text(tiny().model_dump_json(), "utf-8")
    study_runner.run_study(tiny(), Store(root / "done"), progress=False)
    return root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "two", "--out", "made/two.safetensors"], "cannot write in made .*choose another folder with --out"),
        (
            ["export", "tiny.json", "--root", "done", "--out", "made"],
            "cannot write in made .*another folder with --out",
        ),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_what_does_not_fit_is_one_line_with_the_folder_and_what_helps(folder, arguments, words):
    (folder / "made").mkdir(exist_ok=True)
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST)),
    )
    *_, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), done.stderr
    assert re.search(rf"^efcn: {words}", last), done.stderr
    assert not list((folder / "made").iterdir())
