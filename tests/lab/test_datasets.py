"""Images: the official ones from every source, never damaged ones; normalisation and batches against plain formulas."""

import contextlib
import hashlib
import io
import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from filelock import FileLock
from sklearn.datasets import load_digits

from efcnlab.data import datasets, sources
from efcnlib.data.images import to_device
from efcnlib.errors import UserError
from told import lines

OFFICIAL = Path(__file__).parents[3] / "shared" / "data"  # beside the clone, where it is developed
# SHA-1 of the files of CIFAR-10's official binary version, as published by other libraries that read it.
BINARY = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
UNUSED = "is not taken from"
pytestmark = pytest.mark.usefixtures("no_folders_of_the_developer")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("EFCN_OFFLINE", "1")


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory):
    """CIFAR-10, really fetched, into a cache with a damaged file and what a killed process left; and what was told."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "cifar10.safetensors").write_bytes(b"not finished")
    (cache / ".cifar10-killed").mkdir()
    (cache / ".cifar10-killed" / "half").write_bytes(b"a download")
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            loaded = datasets.load("cifar10", cache=cache)
        except datasets.Unavailable as error:
            if "CI" in os.environ:
                raise
            pytest.skip(str(error))
    return loaded, cache, told.getvalue()


@pytest.fixture
def official():
    if not (OFFICIAL / "cifar-100-python").is_dir():
        pytest.skip("the official CIFAR-100 files are not in ../shared/data")
    return OFFICIAL


def same(one, other):
    return all(
        torch.equal(getattr(one, part), getattr(other, part)) for part in ("train_x", "train_y", "test_x", "test_y")
    )


# Digits


def test_digits_are_scikit_learns():
    loaded, bunch = datasets.load("digits"), load_digits()
    is_test = np.arange(1797) % 5 == 0
    for x, y, chosen in ((loaded.train_x, loaded.train_y, ~is_test), (loaded.test_x, loaded.test_y, is_test)):
        assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(x[:, 0].numpy(), bunch.images[chosen])
        assert np.array_equal(y.numpy(), bunch.target[chosen])
    assert (len(loaded.train_y), len(loaded.test_y)) == (1437, 360)
    assert (loaded.name, loaded.shape, loaded.classes) == ("digits", (1, 8, 8), 10)


def test_damaged_digits_are_refused_in_a_line(monkeypatch):
    arrays = sources.digits()
    arrays["train_x"][0, 0, 0, 0] += 1
    monkeypatch.setattr(sources, "digits", lambda: arrays)
    with pytest.raises(datasets.Unavailable, match="not the SHA-256 of digits; reinstall it"):
        datasets.load("digits")


def test_unknown_name():
    with pytest.raises(UserError, match=r"unknown data set 'cifar': choose one of cifar10, cifar100, digits"):
        datasets.load("cifar")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["train_x"][700, 0, 3, 3].add_(1),
        lambda a: a.update(test_y=a["test_y"].flip(0)),
        lambda a: a.update(train_x=a["train_x"].roll(1, 0), train_y=a["train_y"].roll(1, 0)),
        lambda a: a.update(train_x=a["train_x"].float()),
        lambda a: a.update(train_x=a["train_x"].flatten(2)),
        lambda a: a.update(train_x=a["train_x"].mT.contiguous()),
        lambda a: a.update(test_x=a["test_x"][:-1]),
        lambda a: a.pop("test_y"),
        lambda a: a.update(more=a["test_y"]),
    ],
    ids=["pixel", "labels", "order", "dtype", "shape", "transposed", "short", "missing", "more"],
)
def test_anything_but_the_official_images_is_refused(change):
    arrays = sources.digits()
    datasets._verified("digits", arrays)
    change(arrays)
    with pytest.raises(ValueError, match=r"something else than digits|not the SHA-256 of digits"):
        datasets._verified("digits", arrays)


# CIFAR-10 and its cache


def test_cifar10_is_the_official_one(cifar10):
    loaded, _, _ = cifar10
    assert (loaded.shape, loaded.classes) == ((3, 32, 32), 10)
    means = [f"{mean:.8f}" for mean in loaded.train_x.double().mean((0, 2, 3)) / 255]
    assert means == ["0.49139968", "0.48215841", "0.44653091"]
    x, y = torch.cat([loaded.train_x, loaded.test_x]), torch.cat([loaded.train_y, loaded.test_y])
    rows = torch.cat([y.to(torch.uint8)[:, None], x.flatten(1)], 1).split(10_000)
    for (name, expected), batch in zip(BINARY.items(), rows, strict=True):
        assert hashlib.sha1(batch.numpy()).hexdigest() == expected, name


def test_damaged_cache_is_told_of_and_fetched_again(cifar10, offline, capsys):
    loaded, cache, told = cifar10
    file = cache / "cifar10.safetensors"
    assert told.count(f"cifar10 {UNUSED} cache {file}") == 1
    assert sorted(path.name for path in cache.iterdir()) == ["cifar10.lock", "cifar10.safetensors"]
    assert file.stat().st_mode & 0o777 == 0o644
    assert same(datasets.load("cifar10", cache=cache), loaded)
    assert lines(capsys) == []


def flipped(content):
    """One bit of the pixels in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


class Hostile:
    """Unpickling this makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:-1], lambda content: b""])
def test_damaged_cache_is_never_used(cifar10, damage, tmp_path, offline, capsys):
    file = tmp_path / "cifar10.safetensors"
    file.write_bytes(damage((cifar10[1] / file.name).read_bytes()))
    with pytest.raises(datasets.Unavailable):
        datasets.load("cifar10", cache=tmp_path)
    (line,) = lines(capsys)
    assert f"cifar10 {UNUSED} cache {file}" in line


def test_foreign_files_in_the_cache(tmp_path, offline, capsys):
    file = tmp_path / "cifar100.safetensors"
    mark = tmp_path / "executed"
    for content in (safetensors.torch.save(sources.digits()), pickle.dumps(Hostile(mark)), b"\xff" * 64):
        file.write_bytes(content)
        with pytest.raises(datasets.Unavailable):
            datasets.load("cifar100", cache=tmp_path)
        (line,) = lines(capsys)
        assert str(file) in line
    assert not mark.exists()
    file.unlink()
    file.mkdir()
    with pytest.raises(datasets.Unavailable, match="directory"):
        datasets.load("cifar100", cache=tmp_path)


def test_cache_may_be_named_by_the_environment(cifar10, offline, monkeypatch):
    monkeypatch.setenv("EFCN_CACHE", str(cifar10[1]))
    assert same(datasets.load("cifar10"), cifar10[0])


def test_waits_for_another_process_that_fetches(cifar10, tmp_path, offline, capsys):
    found = []
    thread = threading.Thread(target=lambda: found.append(datasets.load("cifar10", cache=tmp_path)))
    with FileLock(tmp_path / "cifar10.lock"):
        thread.start()
        deadline = time.monotonic() + 20
        told = ""
        while "waiting for another process that fetches cifar10" not in told:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            told += capsys.readouterr().err
        os.link(cifar10[1] / "cifar10.safetensors", tmp_path / "cifar10.safetensors")
    thread.join(60)
    assert same(found[0], cifar10[0])


def test_each_channel_has_its_own_normalisation(cifar10):
    train, test = to_device(cifar10[0], train=500, test=100)
    assert (train.x.dtype, test.x.shape) == (torch.float32, (100, 3, 32, 32))
    pixels = train.x.double()
    assert pixels.mean((0, 2, 3)).abs().max() < 1e-6
    assert (pixels.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6


# Folders in torchvision's layout


def test_official_folder(official, tmp_path, offline, capsys):
    loaded = datasets.load("cifar100", data_root=official, cache=tmp_path)
    assert (loaded.shape, loaded.classes) == ((3, 32, 32), 100)
    assert same(datasets.load("cifar100", cache=tmp_path), loaded)
    assert lines(capsys) == []


def test_damaged_official_folder_gives_way_to_the_cache(official, tmp_path, offline, capsys, monkeypatch):
    loaded = datasets.load("cifar100", data_root=official, cache=tmp_path / "cache")
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("meta", "test"):
        (folder / name).symlink_to(official / folder.name / name)
    content = (official / folder.name / "train").read_bytes()
    (folder / "train").write_bytes(flipped(content))
    monkeypatch.setenv("EFCN_DATA", str(tmp_path))
    assert same(datasets.load("cifar100", cache=tmp_path / "cache"), loaded)
    assert lines(capsys) == [f"cifar100 {UNUSED} folder {tmp_path}: missing or damaged in cifar-100-python: train"]


def test_pickles_in_a_folder_are_not_executed(tmp_path, offline):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    mark = tmp_path / "executed"
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Hostile(mark)))
    (folder / "data_batch_3").unlink()
    with pytest.raises(datasets.Unavailable, match=r"damaged in cifar-10-batches-py: data_batch_1, .*batches\.meta"):
        datasets.load("cifar10", data_root=tmp_path, cache=tmp_path / "cache")
    assert not mark.exists()


def test_folder_that_is_not_there(tmp_path, offline, capsys):
    with pytest.raises(datasets.Unavailable) as caught:
        datasets.load("cifar10", data_root=tmp_path / "nowhere", cache=tmp_path)
    (line,) = lines(capsys)
    assert f"folder {tmp_path / 'nowhere'}" in line
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in ("cifar10 cannot be had", "connect to a network", "EFCN_DATA", "nowhere", "cifar10.safetensors"):
        assert part in message


# Disk and network against us


def test_unwritable_cache_is_told_of_and_the_images_are_used(official, tmp_path, offline, capsys):
    (tmp_path / "file").write_text("in the way")
    loaded = datasets.load("cifar100", data_root=official, cache=tmp_path / "file" / "cache")
    assert loaded.classes == 100
    (line,) = lines(capsys)
    assert f"cifar100 is not kept in {tmp_path / 'file' / 'cache'}" in line
    assert "EFCN_CACHE" in line
