"""The scripts that record a study on a lent machine: in pieces, verified; and its images, carried in pieces too."""

import os
import subprocess
import sys
import tarfile

from efcnlib import export, images, studies
from efcnlib.environment import REPOSITORY
from efcnlib.records import Store, key_of


def script(name, *arguments, **variables):
    command = [sys.executable, str(REPOSITORY / "benchmarks" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, timeout=300)


def test_a_study_is_recorded_in_pieces(tmp_path):
    study = studies.load("digits", name="mine", path_methods=("linear",), relax_epochs=40, controls=("control", "elcn"))
    file = tmp_path / "mine.json"
    file.write_text(study.model_dump_json())
    common = ("--device", "cpu", "--threads", "1")
    elsewhere = {"EFCN_RESULTS": str(tmp_path / "unpacked")}
    first = script("record", file, tmp_path / "out", *common, "--seconds", 31, **elsewhere)
    assert first.returncode == 1, first.stderr
    assert "digits: 1437 + 360 images, verified" in first.stdout
    assert " runs done" in first.stdout.splitlines()[-1]
    if (tar := tmp_path / "out" / "mine.tar").exists():  # on another machine, with nothing but the records
        with tarfile.open(tar) as archive:
            archive.extractall(tmp_path / "unpacked", filter="data")
        assert export.verify(tmp_path / "unpacked" / "mine") == []
    second = script("record", file, tmp_path / "other", *common, "--seconds", 250, **elsewhere)
    assert second.returncode == 0, second.stderr
    total = len(studies.runs(study))
    assert f"mine: {total} of {total} runs done" in second.stdout.splitlines()[-1]
    assert any(line.startswith(" 6 ") for line in second.stdout.splitlines())  # the table of claims
    with tarfile.open(tmp_path / "other" / "mine.tar") as archive:
        archive.extractall(tmp_path / "whole", filter="data")
    assert export.verify(tmp_path / "whole" / "mine") == []
    store = Store(tmp_path / "none", [tmp_path / "whole" / "mine"])
    assert all(store.get(key_of(run)) for run in studies.runs(study))
    assert not list((tmp_path / "whole").rglob("weights*"))


def test_mistakes_are_told_in_a_line(tmp_path):
    wrong = script("record", "digit", tmp_path)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "unknown study 'digit'" in wrong.stderr
    wrong = script("record", "digits", tmp_path / "out", "--device", "tpu", "--seconds", 60)
    assert wrong.returncode == 2
    assert "device 'tpu' is not here" in wrong.stderr
    for arguments in ((), ("cut", "cifar10", tmp_path), ("join", "mnist", tmp_path), ("join", "cifar10", tmp_path)):
        wrong = script("carry", *arguments)
        assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


def test_a_data_set_is_carried_in_pieces_and_verified(tmp_path):
    if not images.cache_file("cifar10").exists():
        images.load("cifar10")
    done = script("carry", "split", "cifar10", tmp_path / "pieces")
    assert done.returncode == 0, done.stderr
    assert {piece.stat().st_size < 64 * 2**20 for piece in (tmp_path / "pieces").iterdir()} == {True}
    offline = {"EFCN_CACHE": str(tmp_path / "cache"), "EFCN_OFFLINE": "1"}
    done = script("carry", "join", "cifar10", tmp_path / "pieces", **offline)
    assert done.returncode == 0, done.stderr
    assert "50000 + 10000 images, verified" in done.stdout
    piece = tmp_path / "pieces" / "cifar10.1"
    piece.write_bytes(b"x" + piece.read_bytes()[1:])
    done = script("carry", "join", "cifar10", tmp_path / "pieces", **offline)
    assert done.returncode == 2
    assert "cifar10 cannot be had" in done.stderr.splitlines()[-1]
