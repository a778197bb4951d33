"""What a notebook computes in a fresh run store: what its page draws, and nothing for what its study does not have."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from efcnbook.notebook_parameters import selection
from efcnbook.pages.execution import parameters_of
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.store.run_folder import read_manifest
from efcnlib.errors import UserError
from run_here import run_here
from small_studies import tiny

STUDY = tiny(
    name="small",
    seeds=(0, 1),
    relax_times=(0, 2),
    path_times=(0, 2),
    path_methods=("linear", "string", "output"),
    controls=("control", "elcn"),
    curvature={"images": 50, "steps": 5, "count": 2},
    curvature_times=(2,),
    sweep_time=2,
    sweep_channels=(2,),
)
CNN, FCN = "cnn seed=0", "fcn seed=0"
PAIR = {f"{kind} tw={tw} seed=0" for kind in ("efcn", "control") for tw in (0, 2)}
LOCAL = {f"elcn tw={tw} seed=0" for tw in (0, 2)}
LINEAR = {f"linear path tw={tw} seed=0" for tw in (0, 2)}  # with a plane towards the FCN
CURVATURE = {"curvature of fcn seed=0", "curvature of efcn tw=2 seed=0"}
SWEEP = {f"{run} seed=0 channels=2" for run in ("cnn", "control tw=2", "efcn tw=2")}
OTHER_WAY = "linear path from efcn tw=0 seed=0 to efcn tw=2 seed=0"


@pytest.fixture
def study(tmp_path):
    """The file of a study of which nothing is computed."""
    path = tmp_path / "small.json"
    path.write_text(STUDY.model_dump_json())
    return str(path)


def computed(root: Path) -> set[str]:
    """The labels of the runs in a store."""
    return {read_manifest(folder, folder.name).label for folder in root.iterdir()} if root.exists() else set()


@pytest.mark.parametrize(
    ("name", "parameters", "labels"),
    [
        ("dynamics", {}, {CNN, FCN, *PAIR, *LOCAL}),
        ("delta", {}, {CNN, FCN, *PAIR}),
        ("off_local", {"moments": "0, 2"}, {CNN, *PAIR, *LOCAL}),
        ("embedding", {}, {CNN, "efcn tw=2 seed=0", "control tw=2 seed=0"}),
        ("curvature", {}, {CNN, FCN, "efcn tw=2 seed=0", *CURVATURE}),
        ("sizes", {}, SWEEP),
        ("environment", {}, set()),
        ("interpolation", {"methods": "linear"}, {CNN, FCN, *PAIR, *LINEAR}),
        (
            "interpolation",
            {"methods": "linear", "start": "efcn 0"},
            {CNN, "efcn tw=0 seed=0", "efcn tw=2 seed=0", OTHER_WAY},
        ),
    ],
)
def test_a_page_computes_what_it_draws_and_says_how_long_that_takes(name, parameters, labels, study, tmp_path):
    root = tmp_path / "runs"
    outputs = run_here(name, tmp_path / "out.ipynb", {"study": study, "root": str(root), **parameters})
    assert computed(root) == labels
    said = "".join(output.text for output in outputs if output.get("name") == "stderr")
    count = f"small: {len(labels)} of {len(labels)} runs to compute, about "
    assert not labels or re.search(rf"^{count}[\d.]+ m?s on this machine \(measured\), ", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("dynamics", {"seed": 7}, "unknown seed of study small 7: choose one of 0, 1"),
        ("dynamics", {"more_seeds": "1, 7"}, "unknown seed of study small 7: choose one of 0, 1"),
        ("dynamics", {"others": "digits, none"}, "unknown study 'none': choose one of quick, "),
        ("embedding", {"relax_time": 3}, "unknown relax time 3: choose one of 0, 2"),
        ("off_local", {"moments": "7"}, "unknown measured epoch after the embedding 7: choose one of 0, 1, 2"),
        (
            "interpolation",
            {"methods": "band"},
            "unknown method of study small band: choose one of linear, string",
        ),
        ("interpolation", {"further": "band"}, "unknown method of study small band: choose one of linear, "),
        ("interpolation", {"planes": "band"}, "unknown method with a plane band: choose one of linear, "),
        ("interpolation", {"start": "efcn 3"}, "unknown relax time of study small 3: choose one of 0, 2"),
        ("interpolation", {"start": "tuned"}, "unknown path end of study small 'tuned': choose one of cnn, "),
        ("interpolation", {"end": "efcn seed 7"}, "unknown seed of study small 7: choose one of 0, 1"),
        ("explorer", {"live_seed": 7}, "unknown seed of study small 7: choose one of 0, 1"),
    ],
)
def test_what_a_study_does_not_have_is_refused_before_anything_is_computed(name, parameters, line, study, tmp_path):
    root = tmp_path / "runs"
    given = {"studies" if name == "explorer" else "study": study, "root": str(root), **parameters}
    with pytest.raises(UserError) as told:
        run_here(name, tmp_path / "out.ipynb", given)
    assert str(told.value).replace("'", "").startswith(line.replace("'", ""))
    assert not root.exists()


def test_papermill_shows_how_long_it_takes_and_the_progress(study, tmp_path):
    given = ["-p", "study", study, "-p", "root", str(tmp_path / "runs"), "-p", "relax_time", "0"]
    notebook, out = "notebooks/embedding.ipynb", str(tmp_path / "out.ipynb")
    program = [sys.executable, "-m", "papermill", "--log-output", notebook, out, *given]
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^small: 3 of 3 runs to compute, about .+ on this machine", done.stderr, re.MULTILINE)
    assert re.search(r"100%\|.+ left", done.stderr)


def test_what_the_readme_runs_with_papermill_is_there():
    readme = (REPOSITORY / "README.md").read_text("utf-8").replace("\\\n", "")
    lines = [line for line in readme.splitlines() if line.startswith(".venv/bin/papermill")]
    commands = [shlex.split(line, comments=True) for line in lines]
    assert len(commands) == 2
    for _, option, path, _, *options in commands:
        given = dict(zip(options[1::3], options[2::3], strict=True))
        assert option == "--log-output"
        assert set(given) <= set(parameters_of(REPOSITORY / path))
        study = studies.load(given["study"])
        assert selection("seed", given.get("seed", study.seeds[0]), study.seeds)
        selection("method", given.get("methods", ""), study.path_methods)
        study.endpoint(given.get("start", "cnn"), study.relax_times[-1], study.seeds[0])
