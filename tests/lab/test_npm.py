"""npm without a system Node.js, against the real registry, and against servers that are not there, silent, or wrong."""

import base64
import hashlib
import http.server
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from efcnlab.data import npm


@pytest.fixture
def registry(monkeypatch):
    """Makes npm ask this address."""

    def use(port):
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")
        for name in ("http_proxy", "https_proxy", "proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)

    return use


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def wrong():
    """The port of a registry whose packages are not what their digests say."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            digest = base64.b64encode(hashlib.sha512(b"what it should be").digest()).decode()
            dist = {"tarball": f"http://{self.headers['Host']}/package", "integrity": f"sha512-{digest}"}
            versions = {"1.0.0": {"name": "a", "version": "1.0.0", "dist": dist}}
            metadata = {"name": "a", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
            content = b"something else" if self.path.endswith("/package") else json.dumps(metadata).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def pack(*arguments, **options):
    """`npm.pack`; where there is no npm registry the test is skipped, but never in CI."""
    try:
        return npm.pack(*arguments, **options)
    except npm.Unreachable as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


def running_with(text):
    """Whether any process has ``text`` in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                return True
        except OSError:  # it has just ended
            continue
    return False


def test_pinned_package_is_unpacked(tmp_path):
    folder = pack("is-number", "7.0.0", tmp_path, size=3000)
    assert folder.parent == tmp_path
    assert json.loads((folder / "package.json").read_text())["version"] == "7.0.0"
    assert "module.exports" in (folder / "index.js").read_text()


def test_missing_version_is_named(tmp_path):
    pack("is-number", "7.0.0", tmp_path)
    (tmp_path / "again").mkdir()
    with pytest.raises(npm.Unreachable, match=r"is-number@7\.0\.99: No matching version") as caught:
        npm.pack("is-number", "7.0.99", tmp_path / "again")
    assert len(str(caught.value).splitlines()) == 1


def test_no_server(tmp_path, registry):
    registry(9)
    start = time.monotonic()
    with pytest.raises(npm.Unreachable, match=r"could not fetch is-number@7\.0\.0: .*ECONNREFUSED"):
        npm.pack("is-number", "7.0.0", tmp_path)
    assert time.monotonic() - start < 20


def test_silent_server_is_given_up_and_nothing_goes_on_running(tmp_path, registry, silent, monkeypatch):
    registry(silent)
    monkeypatch.setattr(npm, "STALLED", 3.0)
    with pytest.raises(npm.Unreachable, match="nothing came for 3 seconds"):
        npm.pack("never-fetched-by-anything-else", "7.0.0", tmp_path)
    deadline = time.monotonic() + 10  # the kernel takes a moment to end what was killed
    while running_with("never-fetched-by-anything-else"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_package_unlike_its_digest_is_refused(tmp_path, registry, wrong):
    registry(wrong)
    with pytest.raises(npm.Unreachable, match=r"could not fetch a@1\.0\.0: .*integrity"):
        npm.pack("a", "1.0.0", tmp_path)
    assert not (tmp_path / "package").exists()
