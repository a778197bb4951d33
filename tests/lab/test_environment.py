"""What is said about this machine, and where the run store is."""

import getpass
import json
import subprocess
from pathlib import Path

import numpy
import platformdirs
import torch

from efcnlab import environment as module
from efcnlab.environment import default_root, describe_environment


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
