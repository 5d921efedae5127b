"""Downloads: verified, whole or absent, from the next mirror when one fails. A local server, never the network."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import tarfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.data import CIFAR10, MNIST, FashionMNIST, _download, _sources
from gpunn.data._download import fetch_file, fetch_members
from gpunn.data._folders import data_folder
from gpunn.data._sources import Remote, Source
from gpunn.errors import DataError
from tests.data.test_mnist import idx_bytes

CONTENT = bytes(range(256)) * 3000  # more than one chunk


class Web:
    """What the local server holds: bytes, or the number of an HTTP error, or bytes of which some are not sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes | int] = {}
        self.short: set[str] = set()
        self.asked: list[str] = []

    def source(self, *files: Remote, mirrors=("a/", "b/")) -> Source:
        return Source(tuple(self.url + mirror for mirror in mirrors), files)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            held.asked.append(path)
            found = held.files.get(path, 404)
            if isinstance(found, int):
                self.send_error(found)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may have heard enough
                self.wfile.write(found[: len(found) // 2] if path in held.short else found)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held = Web(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()


def remote(name: str = "x.bin", content: bytes = CONTENT, decompressed: bool = False) -> Remote:
    digests = {algorithm: hashlib.new(algorithm, content).hexdigest() for algorithm in ("md5", "sha256")}
    return Remote(name, len(content), digests, decompressed)


def names(folder: Path) -> list[str]:
    """All that is in a folder, hidden temporary files too."""
    return sorted(os.listdir(folder))


# -- one file ------------------------------------------------------------------------------


def test_a_verified_file_gets_its_name_in_a_folder_made_for_it(web, tmp_path, capsys):
    web.files["a/x.bin"] = CONTENT
    folder = tmp_path / "new" / "data"
    assert fetch_file("Set", web.source(remote()), "x.bin", folder) == folder / "x.bin"
    assert (folder / "x.bin").read_bytes() == CONTENT
    assert names(folder) == ["x.bin"]
    assert web.asked == ["a/x.bin"]
    said = capsys.readouterr()
    assert said.err == f"Set: downloading {web.url}a/x.bin (0.8 MB)\n"
    assert said.out == ""


def wrong(web):
    web.files["a/x.bin"] = CONTENT[:-1] + b"!"
    return "the md5 of the file is [0-9a-f]{32}, the published one is"


def absent(web):
    return "HTTP 404 Not Found"


def broken(web):
    web.files["a/x.bin"] = 503
    return "HTTP 503"


def cut_short(web):
    web.files["a/x.bin"] = CONTENT
    web.short.add("a/x.bin")
    return f"the md5 of the file is .*{len(CONTENT) // 2} bytes were sent"


def endless(web):
    web.files["a/x.bin"] = CONTENT * 4
    return f"sends more than [0-9]+ bytes where {len(CONTENT)} were expected"


@pytest.mark.parametrize("fault", [wrong, absent, broken, cut_short, endless])
def test_the_next_mirror_is_taken_when_one_fails(web, tmp_path, fault):
    fault(web)
    web.files["b/x.bin"] = CONTENT
    fetch_file("Set", web.source(remote()), "x.bin", tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["x.bin"]
    assert web.asked == ["a/x.bin", "b/x.bin"]


@pytest.mark.parametrize("fault", [wrong, absent, broken, cut_short, endless])
def test_all_mirrors_failing_is_one_error_with_every_reason(web, tmp_path, fault):
    reason = fault(web)
    with pytest.raises(DataError) as caught:
        fetch_file("Set", web.source(remote()), "x.bin", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"Set: could not download x.bin into {tmp_path}: {web.url}a/x.bin: ")
    assert re.search(f"/a/x.bin: {reason}", message)
    assert f"; {web.url}b/x.bin: HTTP 404 Not Found. Check the network" in message
    assert names(tmp_path) == []


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:  # has a port, and does not listen
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DataError, match=rf"{mirror}x.bin: .*[Rr]efused"):
            fetch_file("Set", Source((mirror,), (remote(),)), "x.bin", tmp_path)


def test_every_digest_must_fit(web, tmp_path):
    web.files["a/x.bin"] = web.files["b/x.bin"] = CONTENT
    good = remote()
    bad = Remote(good.name, good.size, {**good.digests, "sha256": "0" * 64})
    with pytest.raises(DataError, match=r"the sha256 of the file is .* the published one is 0000"):
        fetch_file("Set", web.source(bad), "x.bin", tmp_path)


def test_digests_of_decompressed_bytes_hold_for_every_compressor(web, tmp_path):
    web.files["a/x.gz"] = gzip.compress(CONTENT, 1)[:-9]
    web.files["b/x.gz"] = stored = gzip.compress(CONTENT, 9)
    source = web.source(remote("x.gz", decompressed=True))
    fetch_file("Set", source, "x.gz", tmp_path)
    assert (tmp_path / "x.gz").read_bytes() == stored
    web.files["b/x.gz"] = gzip.compress(CONTENT[1:])
    with pytest.raises(DataError, match=r"not a complete gzip file.*the md5 of the decompressed bytes is"):
        fetch_file("Set", source, "x.gz", tmp_path / "again")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupt_leaves_nothing_half_written(web, tmp_path, monkeypatch, interrupt):
    web.files["a/x.bin"] = CONTENT
    (tmp_path / "x.bin").write_bytes(b"what was there before")
    write = _download._write

    def interrupted(file, chunk):
        write(file, chunk)
        assert len(names(tmp_path)) == 2
        raise interrupt

    monkeypatch.setattr(_download, "_write", interrupted)
    with pytest.raises(interrupt):
        fetch_file("Set", web.source(remote()), "x.bin", tmp_path)
    assert names(tmp_path) == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == b"what was there before"


def test_a_full_disk_is_said_and_no_other_mirror_is_asked(web, tmp_path, monkeypatch):
    web.files["a/x.bin"] = web.files["b/x.bin"] = CONTENT

    def full(file, chunk):
        raise _download._DiskFailed(OSError(28, "No space left on device"))

    monkeypatch.setattr(_download, "_write", full)
    with pytest.raises(DataError, match=rf"Set: could not write to {tmp_path}: No space left.*\$GPUNN_DATA"):
        fetch_file("Set", web.source(remote()), "x.bin", tmp_path)
    assert (names(tmp_path), web.asked) == ([], ["a/x.bin"])


def test_a_folder_that_cannot_be_made(web, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"could not write to .*file/inner: .*Choose another folder"):
        fetch_file("Set", web.source(remote()), "x.bin", tmp_path / "file" / "inner")


# -- an archive ----------------------------------------------------------------------------


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """A .tar.gz; a member whose content is a str is a link to that."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_only_the_named_members_are_unpacked_and_the_archive_is_gone(web, tmp_path):
    data = tmp_path / "in" / "data"
    packed = tar(("../evil", b"1"), ("top/one", b"11"), ("/abs", b"1"), ("top/readme", b"1"), ("top/two", b"22"))
    web.files["a/x.tar.gz"] = packed
    fetch_members("Set", web.source(remote("x.tar.gz", packed)), "x.tar.gz", ["top/one", "top/two"], data)
    assert names(data) == ["one", "two"]
    assert ((data / "one").read_bytes(), (data / "two").read_bytes()) == (b"11", b"22")
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("members", [(("top/one", b"11"),), (("top/one", b"11"), ("top/two", "/etc/passwd"))])
def test_a_missing_member_is_named(web, tmp_path, members):
    packed = tar(*members)
    web.files["a/x.tar.gz"] = packed
    with pytest.raises(DataError, match=r"Set: x.tar.gz holds no top/two"):
        fetch_members("Set", web.source(remote("x.tar.gz", packed)), "x.tar.gz", ["top/one", "top/two"], tmp_path)
    assert names(tmp_path) == ["one"]


# -- the data sets -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "folder"), [(MNIST, "mnist"), (FashionMNIST, "fashion-mnist")])
def test_idx_sets_fetch_what_is_missing_and_no_more(web, tmp_path, monkeypatch, kind, folder):
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path))
    images = np.arange(3 * 784, dtype=np.uint8).reshape(3, 28, 28)
    stored = {"train-images-idx3-ubyte.gz": images, "train-labels-idx1-ubyte.gz": np.arange(3, dtype=np.uint8)}
    files = {name: gzip.compress(idx_bytes(array)) for name, array in stored.items()}
    web.files.update({f"b/{name}": data for name, data in files.items()})
    monkeypatch.setattr(kind, "source", web.source(*(remote(name, data) for name, data in files.items())))

    with pytest.raises(DataError, match=r"download=True or --download"):
        kind()
    assert web.asked == []
    np.testing.assert_array_equal(kind(download=True).images, images)
    assert names(tmp_path / folder) == sorted(files)
    asked = len(web.asked)
    assert kind(download=True).labels.tolist() == kind().labels.tolist() == [0, 1, 2]
    assert len(web.asked) == asked
    (tmp_path / folder / "train-labels-idx1-ubyte.gz").unlink()
    kind(download=True)
    assert web.asked[asked:] == ["a/train-labels-idx1-ubyte.gz", "b/train-labels-idx1-ubyte.gz"]


def test_cifar10_fetches_both_halves_at_once(web, tmp_path, monkeypatch):
    record = np.arange(3073, dtype=np.uint8)  # label 0
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    packed = tar(*((f"cifar-10-batches-bin/{name}", record.tobytes() * (i + 1)) for i, name in enumerate(batches)))
    web.files["a/cifar-10-binary.tar.gz"] = packed
    monkeypatch.setattr(CIFAR10, "source", web.source(remote("cifar-10-binary.tar.gz", packed)))
    assert len(CIFAR10(tmp_path, train=False, download=True)) == 6
    assert names(tmp_path) == ["cifar-10-batches-bin"]
    assert names(tmp_path / "cifar-10-batches-bin") == batches
    assert len(CIFAR10(tmp_path, download=True)) == 15
    assert len(web.asked) == 1


def test_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUNN_DATA", "/given")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_folder() == Path("/given")
    monkeypatch.setenv("GPUNN_DATA", "")
    assert data_folder() == Path("/cache/gpunn")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "gpunn"


def test_the_published_sources_are_complete():
    for source in (_sources.MNIST, _sources.FASHION_MNIST, _sources.CIFAR10):
        assert len(source.mirrors) == 2
        assert all(re.fullmatch(r"https://\S+/", mirror) for mirror in source.mirrors)
        for file in source.files:
            assert {name: len(digest) for name, digest in file.digests.items()} == {"md5": 32, "sha256": 64}
            assert all(re.fullmatch("[0-9a-f]+", digest) for digest in file.digests.values())
            assert file.size > 4000
    assert len({d for s in (_sources.MNIST, _sources.FASHION_MNIST) for f in s.files for d in f.digests.values()}) == 16


@pytest.mark.parametrize("name", [file.name for file in _sources.MNIST.files])
def test_the_real_files_have_the_digests_of_the_table(name):
    path = Path(os.environ.get("GPUNN_DATA", "absent")) / "mnist" / name
    if not path.is_file():
        pytest.skip(f"no {path}; set GPUNN_DATA to the folder above mnist/")
    _download._check(path, _sources.MNIST.file(name))


# -- what a mirror may do to us ------------------------------------------------------------


def test_no_redirect_from_https_to_what_anybody_can_change():
    redirects = _download._SafeRedirects()
    for target in ("http://x.org/y", "ftp://x.org/y", "file:///etc/passwd", "http://x.org/" + "\x1b" * 500):
        request = urllib.request.Request("https://x.org/y")
        with pytest.raises(_download._MirrorFailed, match=r"redirects from https to '(http|ftp|file):") as caught:
            redirects.redirect_request(request, None, 302, "Found", {}, target)
        assert len(str(caught.value)) < 200
    for source, target in (("https", "https"), ("http", "http"), ("http", "https")):
        followed = redirects.redirect_request(
            urllib.request.Request(f"{source}://x.org/y"), None, 302, "Found", {}, f"{target}://x.org/z"
        )
        assert followed.full_url == f"{target}://x.org/z"


def test_every_connection_uses_the_safe_redirects_and_the_deadline(web, tmp_path):
    with _download._Deadline(1000) as deadline:
        opener: Any = _download._opener(deadline)
        kinds = {type(handler).__name__ for handler in opener.handlers}
        assert {"_SafeRedirects", "Plain", "Secure"} <= kinds
        assert not {"HTTPRedirectHandler", "HTTPHandler", "HTTPSHandler"} & kinds
        web.files["a"] = b"x"
        with opener.open(web.url + "a") as reply:
            assert reply.read() == b"x"
        assert len(deadline._sockets) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
def test_a_mirror_that_never_ends_has_a_limit_of_time(tmp_path, monkeypatch, begun):
    """It sends something and then nothing for ever, in the answer's first line, its header or its body."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(begun)
                done.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
            with (
                open(tmp_path / "x", "wb") as file,
                pytest.raises(_download._MirrorFailed, match="took longer than 1 seconds"),
            ):
                _download._receive("Set", url, remote(), file, seconds=0.6)
        finally:
            done.set()
            thread.join()


def test_the_limit_of_time_leaves_slow_lines_enough(monkeypatch):
    """A minute, and 50 kB a second."""
    limits = []

    def noted(seconds: float) -> Any:
        limits.append(seconds)
        raise _download._MirrorFailed("noted")

    monkeypatch.setattr(_download, "_Deadline", noted)
    with pytest.raises(_download._MirrorFailed, match="noted"):
        _download._receive("Set", "http://127.0.0.1/", Remote("x", 5_000_000, {}), io.BytesIO())
    assert limits == [160.0]


def test_digests_of_a_bomb_are_not_computed_to_its_end(web, tmp_path):
    web.files["a/x.gz"] = gzip.compress(bytes(20_000_000))
    with pytest.raises(DataError, match=r"it unpacks to more than 12[0-9]{6} bytes"):
        fetch_file("Set", web.source(remote("x.gz", decompressed=True)), "x.gz", tmp_path)
    assert names(tmp_path) == []


def packed_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive at all", "incorrect header check"),
        (b"", "empty"),
        (gzip.compress(b"no tar" * 1000), "invalid header"),
        (gzip.compress(bytes(20_000_000)), ""),
        (packed_tar((tarfile.TarInfo("a/x"), bytes(2000)))[:-30], "it ends in the middle"),
        (packed_tar((tarfile.TarInfo("bomb"), bytes(20_000_000))), "it unpacks to more than 12[0-9]{6} bytes"),
    ],
    ids=["text", "empty", "no-tar", "zeros", "cut", "bomb"],
)
def test_a_verified_archive_that_is_none(web, tmp_path, content, reason):
    web.files["a/x.tar.gz"] = content
    with pytest.raises(DataError, match=rf"x.tar.gz (has the published digests.*{reason}|holds no a/x)"):
        fetch_members("Set", web.source(remote("x.tar.gz", content)), "x.tar.gz", ["a/x"], tmp_path)
    assert names(tmp_path) == []


def test_members_that_are_links_or_sparse_are_not_written(web, tmp_path):
    link = tarfile.TarInfo("a/x")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    web.files["a/x.tar.gz"] = content = packed_tar((link, b""))
    with pytest.raises(DataError, match=r"x.tar.gz holds no a/x"):
        fetch_members("Set", web.source(remote("x.tar.gz", content)), "x.tar.gz", ["a/x"], tmp_path)
    sparse = tarfile.TarInfo("a/x")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**15)}
    web.files["a/x.tar.gz"] = content = packed_tar((sparse, b"1\n0\n1\n" + bytes(1000)))
    with pytest.raises(DataError, match=r"x.tar.gz (has the published|holds no a/x)"):
        fetch_members("Set", web.source(remote("x.tar.gz", content)), "x.tar.gz", ["a/x"], tmp_path)
    assert names(tmp_path) == []
