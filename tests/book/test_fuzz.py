"""Whatever a user gives, a study file, a parameter, a record: it is used as meant, or refused in a line."""

import contextlib
import copy
import io
import json
import warnings

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from efcnbook import notebook_parameters
from efcnlab import cli
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.store import recorded_study
from efcnlab.store.checkpoints import load as load_checkpoint
from efcnlab.store.files import UNREADABLE
from efcnlab.store.run_lock import checkpoint_folder, progress_file, read_progress
from efcnlib.errors import UserError
from toy_runs import CONFIG, KEY, Result, Store

LONGEST = 600  # characters of a line that says what is wrong, beside the name of a file

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
likely = values | st.sampled_from(
    [0, 1, -1, 2**31, 2**63, 10**400, 1e308, -0.0, "1e3", "0", "quick", "sgd", "relu", "classes", [], {}, [0], [1, 0]]
)
OWN = {  # a study of its own layers and images, as a file holds it
    "like": "digits",
    "network": {
        "layers": [
            *(
                {"conv": 3, "kernel": [3, 2], "stride": 1, "padding": 1},
                "relu",
                {"pool": 2, "stride": 1, "kind": "avg"},
            ),
            *({"linear": 9}, {"dropout": 0.5}, {"linear": "classes"}),
        ]
    },
    "data": {
        **{"file": "mine.safetensors", "sha256": "0" * 64, "train": None, "test": 50},
        "holds": {"train": 500, "test": 100, "shape": [2, 9, 7], "classes": 4},
    },
}
patient = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(error: UserError, path: object = "") -> None:
    """The one line that a user gets."""
    line = str(error).replace(str(path), "")
    assert len(line.splitlines()) == 1, line
    assert 10 < len(line) < LONGEST, line


def places(value: object, where: tuple = ()) -> list[tuple]:
    """The ways to all parts of plain data."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [where] + [place for name, part in inside for place in places(part, (*where, name))]


@st.composite
def changed_studies(draw) -> dict:
    """A preset or `OWN`, as a file would hold it, with some of its parts exchanged, taken out or added."""
    name = draw(st.sampled_from([*sorted(studies.PRESETS), "own", "own", "own"]))
    content = copy.deepcopy(OWN) if name == "own" else json.loads(studies.PRESETS[name].model_dump_json())
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(content)[1:]))
        part = content
        for name in way:
            part = part[name]
        how = draw(st.sampled_from(["exchange", "exchange", "take out", "add"]))
        if how == "exchange":
            part[last] = copy.deepcopy(draw(likely))  # a later change must not reach into what is drawn from
        elif how == "take out":
            del part[last]
        elif isinstance(part, dict):
            part[draw(st.text(max_size=8))] = copy.deepcopy(draw(likely))
    return content


def load_file(path, data: bytes) -> Study | None:
    """The study in a file of these bytes, None if it was refused as it should be."""
    path.write_bytes(data)
    try:
        study = studies.load(str(path))
    except UserError as error:
        refused(error, path)
        return None
    assert Study.model_validate_json(study.model_dump_json()) == study
    if (study.network.channels or 0) <= 64 and study.data.train_images >= study.batch:
        with contextlib.suppress(UserError):  # a network too deep for its images, say
            assert study.cnn(study.seeds[0]).uninitialised_cnn()
    return study


@patient
@given(st.binary(max_size=200))
@example(b"[" * 90_000)
@example(b'{"a":' * 15_000)
@example(b'{"like": "quick", "epochs": 1e999}')
@example(b'{"like": "quick", "epochs": NaN}')
@example(b'{"like": ["quick"]}')
@example(b'{"like": "quick", "path_times": [1' + b"0" * 400 + b"]}")
@example(b'{"like": "quick", "batch": 1' + b"0" * 400 + b"}")
@example(b'{"like": "quick", "path_start": "' + b"efcn 1" * 400 + b'"}')
@example(b'{"like": "quick", "epochs": 1' + b"0" * 5000 + b"}")
@example(b'{"like": "quick", "seeds": [' + b"9" * 5000 + b"]}")
@example(b'{"like": "quick", "like": "digits"}')
@example(b"\xff\xfe{\x00}\x00")
@example(b" " * 200_000)
def test_any_bytes_as_a_study_file(tmp_path, data):
    load_file(tmp_path / "mine.json", data)


@patient
@given(changed_studies())
def test_any_change_of_a_study_file(tmp_path, content):
    with contextlib.suppress(ValueError):  # Python writes no integers of more than 4,300 digits
        load_file(tmp_path / "mine.json", json.dumps(content).encode())


@patient
@given(st.sampled_from(sorted(Study.model_fields)), likely)
def test_any_parameter_of_a_preset(field, value):
    try:
        studies.load("quick", **{field: copy.deepcopy(value)})
    except UserError as error:
        refused(error)


@patient
@given(likely)
def test_any_selection_of_a_notebook(value):
    try:
        assert set(notebook_parameters.selection("relax time", value, (0, 5, 20))) <= {0, 5, 20}
    except UserError as error:
        refused(error)


@pytest.mark.parametrize("name", ["folder.json", "missing.json", "bad\0.json"])
def test_a_study_file_that_cannot_be_read(tmp_path, name):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="study file") as told:
        studies.load(str(tmp_path / name))
    refused(told.value, tmp_path)


def test_a_study_file_that_changes_a_preset(tmp_path):
    file = tmp_path / "wide.json"
    file.write_text('{"like": "quick", "network": {"channels": 12}, "seeds": [0, 1]}')
    study = studies.load(str(file), epochs=30)
    assert (study.name, study.network.channels, study.seeds, study.epochs) == ("wide", 12, (0, 1), 30)
    assert study.network.architecture == "vanilla"
    file.write_text('{"like": "quik"}')
    with pytest.raises(UserError, match=r"unknown study in wide.json 'quik': choose one of quick, digits"):
        studies.load(str(file))
    file.write_text('{"like": "quick", "epoch": 3}')
    with pytest.raises(UserError, match=r"a study has no field 'epoch': did you mean epochs\?"):
        studies.load(str(file))
    file.write_text('{"name": "../up", "like": "quick"}')
    with pytest.raises(UserError, match=r"name '\.\./up' is not allowed"):
        studies.load(str(file))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
options = st.sampled_from(
    ["--root", "--yes", "--partial", "--recompute", "--seed", "--engine", "--threads", "digits", "-1"]
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["status", "show", "gc", "export", "import", "verify"]), st.lists(words | options, max_size=3))
def test_any_arguments_of_the_command_line(tmp_path_factory, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    monkeypatch.setenv("EFCN_ROOT", "runs")
    monkeypatch.setenv("EFCN_RESULTS", "results")  # not ours, which would be verified, and trained again if asked
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = cli.main([command, *arguments])
        except SystemExit as end:
            code = end.code
    assert code in (0, 2)
    assert "Traceback" not in said.getvalue()


@patient
@given(
    name=st.sampled_from(["record.json", "arrays.safetensors", "weights.safetensors", "manifest.json"]),
    data=st.binary(),
)
def test_any_bytes_as_a_file_of_a_run(tmp_path_factory, name, data):
    store = Store(tmp_path_factory.mktemp("runs"))
    store.ensure(CONFIG, lambda attempt: Result({"epoch": [0]}, weights={}))
    (store.root / KEY / name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = store.get(KEY)
    assert record is None or name == "weights.safetensors"


@patient
@given(st.binary())
@example(b"[" * 10_000)
def test_any_bytes_beside_a_run(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("runs")
    progress_file(root, KEY).write_bytes(data)
    read_progress(root, KEY)
    (root / f"{KEY}.lock").write_bytes(data)
    (root / "study.json").write_bytes(data)
    with pytest.raises(UserError) as told:
        recorded_study.read_index(root)
    refused(told.value, root)
    folder = checkpoint_folder(root, KEY)
    folder.mkdir()
    (folder / "checkpoint.json").write_bytes(data)
    with contextlib.suppress(*UNREADABLE):
        assert load_checkpoint(folder, KEY) is None
    assert Store(root, lease=5.0).state(KEY).name in ("waiting", "running")
