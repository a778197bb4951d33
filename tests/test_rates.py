"""The script that tells at which rates an eFCN's training begins well."""

import os
import re
import subprocess
import sys

import pytest
from test_sweep import tiny

from efcnlib import sweep
from efcnlib.environment import REPOSITORY
from efcnlib.records import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Calls it on a small study whose runs are there, with options."""
    folder = tmp_path_factory.mktemp("rates")
    (folder / "mine.json").write_text(tiny(path_times=()).model_dump_json(), "utf-8")
    sweep.ensure(tiny(path_times=()), Store(folder / "runs"), progress=False)

    def call(*options, root=folder / "runs"):
        command = [sys.executable, REPOSITORY / "benchmarks" / "rates.py", folder / "mine.json", "--steps", "4"]
        environment = os.environ | {"EFCN_ROOT": str(root)}
        return subprocess.run([*command, *options], env=environment, capture_output=True, text=True)

    return call


def test_small_steps_lower_the_train_loss_a_little_and_huge_ones_do_not(run):
    done = run("--rates", "0.05", "1e-6", "50", "--threads", "1")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "efcn tw=4 seed=0: train loss over the first 200 images, before and after 4 steps"
    found = {rate: (float(a), float(b)) for rate, a, b in re.findall(r"rate (\S+) +(\S+) -> (\S+)", done.stdout)}
    assert list(found) == ["0.05", "1e-06", "50"]
    assert len({before for before, _ in found.values()}) == 1  # each starts from the embedding
    assert found["0.05"][1] < found["0.05"][0]
    assert found["1e-06"][1] == pytest.approx(found["1e-06"][0], abs=1e-3)
    assert not found["50"][1] < 2 * found["50"][0]  # or nan
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tw", "3"), "rates: unknown relax time of study digits 3: choose one of 0, 2, 4"),
        (("--seed", "5"), "rates: unknown seed of study digits 5: choose one of 0"),
        (("--rates", "0"), "rates: rate 0 is not allowed: give numbers above 0 and up to 100"),
        (("--steps", "0"), "rates: steps 0 is not allowed"),
    ],
)
def test_mistakes_get_one_line(options, told, run):
    done = run(*options)
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1


def test_a_cnn_that_is_not_there_is_named(run, tmp_path):
    done = run(root=tmp_path / "none")
    assert done.returncode == 2
    assert re.fullmatch(r"rates: the weights of run \w+ are not in .*: compute that run again\n", done.stderr)
