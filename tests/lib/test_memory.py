"""What a training needs is reckoned from its sizes; too much is told before it starts."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from control_groups import linux
from efcnlib import embedding, memory, networks
from efcnlib.errors import UserError
from efcnlib.kernels import bf16_emulation
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.memory import required_bytes
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer

SHAPE = (3, 32, 32)


def an_efcn(channels=4):
    cnn = networks.cnn(architectures.vanilla(10, channels), SHAPE)
    return embedding.embed(networks.initialise(cnn, torch.Generator().manual_seed(0)), SHAPE)


def needed(precision="float32", optimiser=None, **engine):
    """In units of the weights' bytes, for a batch that is small beside them."""
    network = an_efcn()
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1) * 4
    return required_bytes(network, optimiser or Optimiser(), precision, Engine(**engine), batch=1) / weights


def test_needs_follow_from_what_is_kept(monkeypatch):
    assert needed() < 0.05  # no gradient
    for is_widened, copy in ((False, 0), (True, 0.95)):  # of one layer, in float32
        monkeypatch.setattr(bf16_emulation, "is_needed", lambda device, it=is_widened: it)
        assert needed("bf16") == pytest.approx(0.5 + copy, abs=0.05)  # the shadow
    assert needed(optimiser=Optimiser(momentum=0.9)) == pytest.approx(1, abs=0.05)
    assert needed(optimiser=Optimiser(name="adam")) == pytest.approx(2.95, abs=0.1)  # m, v, one layer's gradient
    assert needed(update="autograd") == pytest.approx(1, abs=0.05)
    assert needed(delay=8) > needed(delay=4) > needed()


def test_a_cnn_needs_next_to_nothing():
    cnn = networks.cnn(architectures.vanilla(10), SHAPE)
    assert required_bytes(cnn, Optimiser(), "float32", Engine(), 250) < 2e6


def test_free_is_a_number_of_bytes():
    assert 2**20 < memory.free_bytes(torch.device("cpu")) < 2**50


def free(system, **groups):
    return memory.free_bytes(torch.device("cpu"), linux(system, available=9_765_625, **groups)) // 1000


@pytest.mark.parametrize(
    ("groups", "megabytes"),
    [
        ({"version": 2, "": {}}, 10_000),  # Docker's view of itself, without a limit
        ({"version": 2, "": {"memory.max": "3000000000", "memory.current": "1000000000"}}, 2_000),
        ({"version": 2, "a/b": {"memory.max": "max", "memory.high": "4000000000", "memory.current": "0"}}, 4_000),
        ({"version": 1, "": {"memory.limit_in_bytes": "3000000000", "memory.usage_in_bytes": "500000000"}}, 2_500),
        ({"version": 1, "a": {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "5"}}, 10_000),
        ({"version": 2, "": {"memory.max": "1000", "memory.current": "3000"}}, 0),
    ],
    ids=["none", "v2", "high", "v1", "v1 without", "beyond"],
)
def test_a_containers_limit_is_seen(tmp_path, groups, megabytes):
    assert free(tmp_path, **groups) // 1000 == megabytes


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tightest", ["job", "job/step", "job/step/task"])
def test_the_tightest_of_nested_limits_counts(tmp_path, version, tightest):
    limit, used = (
        ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    groups = {name: {limit: "8000000000", used: "1000000"} for name in ("job", "job/step", "job/step/task")}
    groups[tightest] = {limit: "2000000000", used: "1000000"}
    assert free(tmp_path, version=version, **groups) == 1_999_000


def test_what_a_group_caches_of_files_counts_as_free(tmp_path):
    stat = "anon 1000000000\ninactive_file 2000000000\nactive_file 5"
    group = {"memory.max": "4000000000", "memory.current": "3000000000", "memory.stat": stat}
    assert free(tmp_path, version=2, **{"": group}) == 3_000_000


def test_a_limit_that_slurm_tells_alone_is_seen(tmp_path, monkeypatch):
    for told, megabytes in (("2000", 2097), ("0", 10_000), ("", 10_000), ("64G", 10_000)):
        monkeypatch.setenv("SLURM_MEM_PER_NODE", told)
        assert free(tmp_path, version=2) // 1000 == megabytes


def test_the_limit_of_a_real_control_group_is_seen():
    for parent, name in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", parent, f"efcn-test-{os.getpid()}")
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / name).write_text("1500000000")
                inside = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
                tell = "print(memory.free_bytes(torch.device('cpu')))"
                script = f"import os\n{inside}\nimport torch\nfrom efcnlib import memory\n{tell}"
                done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            finally:
                group.rmdir()
            assert 10**8 < int(done.stdout) < 1.5e9
            return
    pytest.skip("not allowed to make a control group here")


def test_too_little_is_one_line_before_anything_is_allocated(monkeypatch):
    network = an_efcn()
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**6)
    with pytest.raises(UserError, match=r"this training, beside its weights, needs .* GB on cpu.*smaller batch"):
        Trainer(network, Optimiser(name="adam"))
    Trainer(network, Optimiser(), batch=1)
