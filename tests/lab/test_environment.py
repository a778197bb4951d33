"""What is said about this machine, what of it may be used, and where the run store is, without a home folder too."""

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import platformdirs
import pytest
import torch

from control_groups import linux
from efcnlab import environment as module
from efcnlab.environment import available_cores, default_root, describe_environment
from efcnlab.run import study_runner
from efcnlib.errors import UserError
from homeless import homeless
from small_studies import tiny


def test_environment_names_what_matters():
    found = describe_environment()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == numpy.__version__
    assert found["threads"] == torch.get_num_threads()
    assert len(found["cuda"]) == torch.cuda.device_count()
    assert found["efcnlib"]
    assert len(found["cpu"]) > 3
    assert json.loads(json.dumps(found)) == found


def test_speedup_is_a_measured_ratio():
    ratio = module.bf16_speedup("cpu")
    assert 0.001 < ratio < 100
    assert module.bf16_speedup("cpu") == ratio  # measured once


def test_environment_tells_no_user_and_no_path():
    text = json.dumps(describe_environment())
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert "/home" not in text
    user = getpass.getuser()
    assert f"/{user}" not in text
    assert f"{user}@" not in text


def test_commit_is_that_of_our_own_checkout(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit() -> str | None:
        module._commit.cache_clear()
        return describe_environment()["commit"]

    monkeypatch.setattr(module, "REPOSITORY", tmp_path / "site-packages")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "file").write_text("1")
    git("init")
    git("add", "file")
    git("commit", "-m", "one")
    assert commit() is None  # a repository around an installed package is not ours
    monkeypatch.setenv("EFCN_COMMIT", "abc")  # what was copied without its git
    assert commit() == "abc"
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    head = git("rev-parse", "HEAD")
    assert commit() == head
    (tmp_path / "file").write_text("2")
    assert commit() == f"{head}-dirty"
    monkeypatch.setenv("PATH", "")
    assert commit() is None
    module._commit.cache_clear()


def test_root_is_chosen_then_in_the_clone_then_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.delenv("EFCN_ROOT", raising=False)
    assert default_root() == Path(platformdirs.user_data_dir("efcnlib", appauthor=False)) / "runs"
    (tmp_path / "notebooks").mkdir()
    assert default_root() == tmp_path / "runs"
    monkeypatch.setenv("EFCN_ROOT", "~/elsewhere")
    assert default_root() == Path.home() / "elsewhere"
    monkeypatch.setenv("EFCN_ROOT", "")
    assert default_root() == tmp_path / "runs"


QUOTA = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("groups", "cores"),
    [
        ({"version": 2, "": {}}, 64),
        ({"version": 2, "": {"cpu.max": "max 100000"}}, 64),
        ({"version": 2, "": {"cpu.max": "350000 100000"}}, 3),
        ({"version": 2, "a": {"cpu.max": "150000 100000"}, "a/b": {"cpu.max": "800000 100000"}}, 1),
        ({"version": 2, "": {"cpu.max": "20000 100000"}}, 1),
        ({"version": 1, "": dict(zip(QUOTA, ("-1", "100000"), strict=True))}, 64),
        ({"version": 1, "a": dict(zip(QUOTA, ("50000", "25000"), strict=True)), "a/b": {}}, 2),
    ],
)
def test_the_cores_of_a_container_are_those_of_its_quota(tmp_path, monkeypatch, groups, cores):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    assert available_cores(linux(tmp_path, **groups)) == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert available_cores(tmp_path) == min(cores, 2)


def test_the_cores_are_those_of_the_processes_affinity_or_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 4}, raising=False)
    assert available_cores(tmp_path) == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    assert available_cores(tmp_path) == os.cpu_count()


def test_a_run_takes_no_more_threads_than_it_has_cores(monkeypatch):
    monkeypatch.setattr(study_runner, "available_cores", lambda: 1)
    with study_runner.using_threads(2):
        with study_runner.using_threads(None):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2


WITHOUT = """
import os, sys
from efcnlab import cli
for arguments in {calls}:
    print(*arguments, "->", cli.main(arguments), file=sys.stderr)
os.environ["EFCN_CACHE"] = {cache!r}
print("cached ->", cli.main(["data", "digits"]), file=sys.stderr)
from efcnlab.environment import check_home
check_home("notebooks")
"""


def test_a_user_without_a_home_works_in_given_folders_or_is_told_what_to_set(tmp_path):
    tmp_path.chmod(0o777)
    study = tmp_path / "study.json"
    study.write_text(tiny(relax_times=(0,), path_times=(), epochs=1, relax_epochs=1).model_dump_json(), "utf-8")
    root = str(tmp_path / "runs")
    calls = [
        ["run", str(study), "--root", root, "--threads", "1"],
        ["status", str(study), "--root", root],
        ["data", "digits"],
        ["data", "cifar10"],
        ["status", "quick", "--root", "~/runs"],
        ["status", "quick", "--root", "~nobody-of-this-name/runs"],
        ["data", "~/mine.safetensors"],
    ]
    script = WITHOUT.format(calls=calls, cache=str(tmp_path / "cache"))
    command = [*homeless(), f"PYTHONPATH={os.pathsep.join(sys.path)}", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    codes = [line.rpartition(" -> ")[2] for line in done.stderr.splitlines() if " -> " in line]
    assert codes == ["0", "0", "0", "2", "2", "2", "2", "0"], done.stderr
    told = [line.removeprefix("efcn: ") for line in done.stderr.splitlines() if line.startswith("efcn: ")]
    tilde = "no such home folder here; give a path without ~, or set HOME"
    assert told == [
        "this user has no home folder: set EFCN_CACHE to a folder that can be written",
        f"~/runs: {tilde}",
        f"~nobody-of-this-name/runs: {tilde}",
        f"~/mine.safetensors: {tilde}",
    ]
    last = done.stderr.splitlines()[-1]
    assert last.endswith("UserError: notebooks need a home folder: set HOME to a folder that can be written")
    assert "\n  cnn seed=0" in done.stdout


def test_without_a_home_and_a_clone_the_store_needs_a_variable(tmp_path, monkeypatch):
    def none(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("EFCN_ROOT", raising=False)
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setattr(platformdirs, "user_data_dir", none)
    with pytest.raises(UserError, match="no home folder: set EFCN_ROOT to a folder"):
        default_root()
