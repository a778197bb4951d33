"""Whatever is wrong with what a command is given, it says so in one line with exit code 2, and writes nothing."""

import json
import os
from pathlib import Path

import pytest

from command_line import efcn_here

DATA = {"sha256": "0" * 64, "holds": {"train": 20, "test": 10, "shape": [1, 8, 8], "classes": 2}}
LAYERS = [{"conv": 4, "kernel": 3}, "relu", {"linear": "classes"}]
RUN, SHOW = ["run", "mine.json"], ["show", "mine.json"]

# Arguments, and words of the line.
ARGUMENTS = [
    (["run", "quik"], "unknown study 'quik': choose one of quick, digits"),
    (["status", "digits", "quik"], "unknown study 'quik'"),
    (["book", "quik"], "unknown study 'quik'"),
    (["show", "quik"], "unknown study 'quik'"),
    (["export", "quik"], "unknown study 'quik'"),
    (["gc", "quik"], "unknown study 'quik'"),
    (["run", "a\x1b[2J\nb"], r"unknown study 'a\x1b[2J\nb'"),
    (["data", "mnist"], "unknown data set 'mnist'"),
    (["data", "none.safetensors"], "unknown data set 'none.safetensors', and no such file"),
    (["data", "~nosuchuser/x.safetensors"], "~nosuchuser/x.safetensors: no such home folder here"),
    (["run", "digits", "--device", "gpu"], "device 'gpu' is not here: choose one of cpu"),
    (["run", "digits", "--seeds", "0", "3"], "unknown seed of study digits 3: choose one of 0"),
    (["run", "digits", "--precision", "fp8"], "precision 'fp8'"),
    (["show", "digits", "--precision", "fp8"], "precision 'fp8'"),
    (["run", "digits", "--delay", "3"], "delay 3"),
    (["run", "digits", "--kernel", "cuda"], "kernel 'cuda'"),
    (["run", "digits", "--together", "0"], "together 0 is not allowed"),
    (["run", "digits", "--address", "auto"], "--address is for a cluster"),
    (["run", "digits", "--gpus-per-run", "0.5"], "--gpus-per-run is for a cluster"),
    (["run", "digits", "--engine", "ray", "--together", "2"], "--together 2 is for one process"),
    (["run", "digits", "--root", __file__], "test_refused_commands.py"),
    (["run", "digits", "--root", "~nosuchuser/x"], "~nosuchuser/x: no such home folder here"),
    (["status", "--root", "~nosuchuser/x"], "~nosuchuser/x: no such home folder here"),
    (["export", "digits", "--out", "~nosuchuser/x"], "~nosuchuser/x: no such home folder here"),
    (["export", "digits"], "runs of digits are not there"),
    (["run", "none.json"], "study file none.json: No such file or directory"),
    (["run", "~nosuchuser/none.json"], "study file ~nosuchuser/none.json: No such file"),
    (["import", "none"], "none is no recorded study: it is no folder"),
    (["verify", "none"], "none is no recorded study: it is no folder"),
    (["verify", "--recompute", "-1"], "recompute -1 is not allowed: give an integer of at least 0"),
]

# What a file or a folder of the name holds, arguments, and words of the line.
NO_FILES = [
    ("mine.json", make, RUN, words)
    for make, words in (("folder", "study file mine.json is no file"), ("pipe", "is no file"), ("device", "is no file"))
]
NO_FILES += [
    ("mine.safetensors", make, ["data", "mine.safetensors"], words)
    for make, words in (("folder", "holds no folder"), ("pipe", "is no file"), ("device", "is no file"))
]
NO_FILES += [
    ("it/study.json", make, [command, "it"], "it is no recorded study: it has no study.json")
    for make in ("folder", "pipe", "device")
    for command in ("import", "verify")
]

CONTENTS = [
    (b"", RUN, "study file mine.json is not JSON"),
    (b"{", RUN, "study file mine.json is not JSON"),
    (b"[]", RUN, "study file mine.json holds []: give one object"),
    (b"[" * 90_000, RUN, "study file mine.json is not JSON: recursion limit"),
    (b" " * 200_000, RUN, "study file mine.json has 200000 bytes: 100000 are allowed"),
    ('{"like": "quick"}'.encode("utf-16-le"), RUN, "it is UTF-16 without a byte-order mark: save it as UTF-8"),
    ('{"like": "quick"}'.encode("utf-16-be"), RUN, "it is UTF-16 without a byte-order mark: save it as UTF-8"),
    ('{"title": "ä"}'.encode("latin-1"), RUN, "study file mine.json is not JSON: invalid unicode"),
    (b"\xff\xfe{", RUN, "study file mine.json is not JSON: 'utf-16-le' codec"),
]

# Fields of a study of the digits, and words of the line.
FIELDS = [
    ({"like": "quik"}, "unknown study in mine.json 'quik'"),
    ({"epoch": 3}, "a study has no field 'epoch': did you mean epochs?"),
    ({"epochs": True}, "epochs True is not allowed: true and false are no numbers"),
    ({"epochs": 0}, "epochs 0 is not allowed"),
    ({"epochs": float("inf")}, "not JSON"),
    ({"seeds": [0, True]}, "seeds [0, True] is not allowed: 1: true and false are no numbers"),
    ({"seeds": list(range(9000))}, "tuple should have at most 1000 items"),
    ({"seeds": list(range(1000))}, "seeds: 1000 seeds and 4 relax times make"),
    ({"seeds": [2**31]}, "seeds.0 2147483648 is not allowed"),
    ({"optimiser": {"lr": False}}, "lr: true and false are no numbers"),
    ({"optimiser": {"name": "sdg"}}, "'sdg'"),
    ({"measurements": 10**12}, "measurements 1000000000000 is not allowed"),
    ({"path_points": 10**9}, "path_points 1000000000 is not allowed"),
    ({"relax_times": [99]}, "relax time 99 has no checkpoint"),
    ({"batch": 10**12}, "batch 1000000000000 is not allowed"),
    ({"batch": 1438}, "study: batch 1438 is larger than the 1437 training images"),
    ({"string": {"batch": 1438}}, "study: string.batch 1438 is larger than the 1437 training images"),
    ({"string": {"points": 10**6}}, "string.points 1000000 is not allowed"),
    ({"string": {"steps": 10**12}}, "string.steps 1000000000000 is not allowed"),
    ({"chain": {"bends": 10**9}}, "chain.bends 1000000000 is not allowed"),
    ({"plane": {"size": 10**6}}, "plane.size 1000000 is not allowed"),
    ({"curvature": {"images": 10**12}}, "curvature.images 1000000000000 is not allowed"),
    ({"evaluation": {"stride": 0}}, "evaluation.stride 0 is not allowed"),
    ({"rates": {"rates": []}}, "rates.rates"),
    ({"network": {"channels": 5000}}, "network.channels 5000 is not allowed"),
    ({"network": {"layers": [*LAYERS[:1], "rellu", *LAYERS[1:]]}}, "'rellu'"),
    ({"data": {"name": "mnist"}}, "data.name 'mnist' is not allowed"),
    ({"data": {"train": 10**12}}, "data.train 1000000000000 is not allowed"),
    (
        {"data": {"file": "~nosuchuser/x", **DATA}, "batch": 5, "path_times": [], "curvature": None},
        "~nosuchuser/x: no such home folder here",
    ),
    ({"data": {"file": "a\nb", **DATA}}, "give one line, without control characters"),
    ({"name": "../up"}, "name '../up' is not allowed"),
    ({"name": "/up"}, "name '/up' is not allowed"),
    ({"title": "a\x1b[2J"}, r"title 'a\x1b[2J' is not allowed: give one line, without control characters"),
    ({"title": "a\nb"}, r"title 'a\nb' is not allowed: give one line, without control characters"),
    ({"path_start": "efcn 3"}, "3"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(path: Path, what: str) -> None:
    """A folder, a pipe that nobody writes to, or a link to a device that never ends, in place of a file."""
    path.parent.mkdir(exist_ok=True)
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[what]()


def assert_refused(here: Path, arguments: list[str], words: str) -> None:
    before = sorted(here.rglob("*"))
    done = efcn_here(*arguments, EFCN_ROOT="runs", EFCN_RESULTS="results")
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("efcn: ")
    assert words in line
    assert len(line) < 500
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(("arguments", "words"), ARGUMENTS, ids=str)
def test_a_wrong_argument(arguments, words, here):
    assert_refused(here, arguments, words)


@pytest.mark.parametrize(("name", "what", "arguments", "words"), NO_FILES)
def test_what_is_no_file_is_neither_waited_for_nor_read(name, what, arguments, words, here):
    make(here / name, what)
    assert_refused(here, arguments, words)


@pytest.mark.parametrize(("content", "arguments", "words"), CONTENTS, ids=range(len(CONTENTS)))
def test_a_study_file_that_is_none(content, arguments, words, here):
    (here / "mine.json").write_bytes(content)
    assert_refused(here, arguments, words)


@pytest.mark.parametrize(("fields", "words"), FIELDS, ids=[words for _, words in FIELDS])
def test_a_wrong_field_of_a_study_file(fields, words, here):
    (here / "mine.json").write_text(json.dumps({"like": "digits"} | fields), "utf-8")
    assert_refused(here, RUN, words)


@pytest.mark.parametrize("content", [b"junk", b"{}", b"[]", b'{"seal": "x"}', b"[" * 90_000, b"\xff" * 100])
@pytest.mark.parametrize("command", ["import", "verify"])
def test_an_index_of_a_recorded_study_that_is_none(content, command, here):
    (here / "it").mkdir()
    (here / "it" / "study.json").write_bytes(content)
    assert_refused(here, [command, "it"], "it is no recorded study: study.json ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_study_file_from_a_windows_shell_is_read(encoding, here):
    (here / "mine.json").write_text('{"like": "quick", "title": "Größe", "seeds": [7]}', encoding)
    shown = json.loads(efcn_here(*SHOW).stdout)
    assert (shown["title"], shown["seeds"]) == ("Größe", [7])
