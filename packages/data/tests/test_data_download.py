import hashlib
import io
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from leadgrad.data import CIFAR10, cifar_download
from leadgrad.data.cifar_download import DownloadError, fetch_folder

FOLDER = "cifar-10-batches-py"


class Server:
    """Serves one archive on the loopback interface, as well or as badly as told."""

    def __init__(self, content):
        self.content = content
        self.cuts = []  # bytes after which the first, second, ... answer breaks off
        self.ranges = True
        self.lengths = True
        self.status = None
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/cifar-10-python.tar.gz"

    def answer(self, request):
        asked = request.headers.get("Range")
        self.requests.append(asked)
        if self.status is not None:
            request.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if not self.ranges:
            start, asked = 0, None
        if asked and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.end_headers()
            return
        request.send_response(206 if asked else 200)
        if self.lengths:
            request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        cut = self.cuts.pop(0) if self.cuts else len(self.content)
        request.wfile.write(self.content[start : start + cut])

    @property
    def md5(self):
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(tmp_path, write_cifar):
    folder = write_cifar(tmp_path / "source", size=2)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, arcname=FOLDER)
    served = Server(buffer.getvalue())
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.http.shutdown()
    thread.join()
    served.http.server_close()


def tar_of(name, content=b"x", kind=tarfile.REGTYPE, link=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.type, entry.linkname = len(content), kind, link
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def names(root):
    return sorted(path.name for path in root.iterdir())


def test_download_through_the_datamodule(tmp_path, server, monkeypatch):
    monkeypatch.setattr(cifar_download, "OFFICIAL_MD5", server.md5)
    root = tmp_path / "new" / "root"
    datamodule = CIFAR10(root, download=True, url=server.url)
    datamodule.prepare_data()
    assert len(datamodule.split("test")) == 12
    assert names(root) == [FOLDER]  # neither archive nor scratch is left
    datamodule.prepare_data()
    assert len(server.requests) == 1  # nothing is fetched twice


class Terminal(io.TextIOWrapper):
    """A terminal that knows few characters, and fails at the others."""

    def isatty(self):
        return True


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("columns", ["80", "12"])
@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "büro-Ж.tar.gz", "b\udcfcro.tar.gz"])
def test_the_progress_bar_can_be_shown_by_any_terminal(
    tmp_path, server, monkeypatch, encoding, columns, name
):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    shown = io.BytesIO()
    terminal = Terminal(shown, encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    part = tmp_path / f"{name}.part"
    cifar_download._download(server.url, part)
    assert part.read_bytes() == server.content
    assert sys.stdout is terminal
    assert shown.getvalue().decode(encoding)


def test_nothing_is_fetched_unless_asked(tmp_path, server):
    datamodule = CIFAR10(tmp_path / "root", url=server.url)
    datamodule.prepare_data()
    assert server.requests == []
    with pytest.raises(FileNotFoundError, match="download=True"):
        datamodule.split("test")


def test_missing_files_are_fetched_and_others_kept(tmp_path, server, write_cifar, monkeypatch):
    monkeypatch.setattr(cifar_download, "OFFICIAL_MD5", server.md5)
    folder = write_cifar(tmp_path / "root", size=3)
    (folder / "test_batch").unlink()
    kept = (folder / "data_batch_1").read_bytes()
    for root in (folder, folder.parent):
        (folder / "test_batch").unlink(missing_ok=True)
        datamodule = CIFAR10(root, download=True, url=server.url)
        datamodule.prepare_data()
        assert len(datamodule.split("test")) == 12
        assert (folder / "data_batch_1").read_bytes() == kept
        assert names(folder.parent) == [FOLDER]


def test_a_cut_off_download_goes_on_where_it_stopped(tmp_path, server):
    server.cuts = [1000, 2000]
    fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert server.requests == [None, "bytes=1000-", "bytes=3000-"]


def test_a_download_that_keeps_breaking_off_is_continued_by_the_next_run(tmp_path, server):
    server.cuts = [100] * 5
    with pytest.raises(DownloadError, match=r"cut off after 500 of \d+ bytes.*run again"):
        fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert names(tmp_path / "root") == ["cifar-10-python.tar.gz.part"]
    fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert server.requests[-1] == "bytes=500-"
    assert names(tmp_path / "root") == [FOLDER]


def test_a_server_without_ranges_starts_over(tmp_path, server):
    server.ranges = False
    server.cuts = [1000]
    fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert names(tmp_path / "root") == [FOLDER]


def test_a_server_that_states_no_length(tmp_path, server):
    server.lengths = False
    fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert names(tmp_path / "root") == [FOLDER]


@pytest.mark.parametrize("extra", [b"", b"too long"])
def test_a_left_over_archive_is_used_or_replaced(tmp_path, server, extra):
    root = tmp_path / "root"
    root.mkdir()
    (root / "cifar-10-python.tar.gz.part").write_bytes(server.content + extra)
    fetch_folder(server.url, root, FOLDER, md5=server.md5)
    assert names(root) == [FOLDER]
    assert len(server.requests) == (2 if extra else 1)


def test_another_digest_is_refused_and_nothing_is_left(tmp_path, server):
    with pytest.raises(DownloadError, match=f"MD5 of the download is {server.md5}, expected c58f3"):
        fetch_folder(server.url, tmp_path / "root", FOLDER, md5=cifar_download.OFFICIAL_MD5)
    assert names(tmp_path / "root") == []


def test_an_error_of_the_server_is_reported(tmp_path, server):
    server.status = 404
    with pytest.raises(DownloadError, match="answers 404"):
        fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)


def test_no_server_at_all(tmp_path, server, monkeypatch):
    monkeypatch.setattr(cifar_download, "_TIMEOUT_S", 0.5)
    url = server.url.replace(f":{server.http.server_port}", ":9")  # the discard port: refused
    with pytest.raises(DownloadError, match="failed after 5 attempts"):
        fetch_folder(url, tmp_path / "root", FOLDER, md5=server.md5)


@pytest.mark.parametrize(
    "content",
    [
        tar_of("../escaped"),
        tar_of(f"{FOLDER}/link", b"", tarfile.SYMTYPE, "/etc/passwd"),
        b"no archive at all",
    ],
)
def test_an_unsafe_or_broken_archive_writes_nothing(tmp_path, server, content):
    server.content = content
    with pytest.raises(DownloadError, match="cannot be unpacked safely"):
        fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)
    assert not (tmp_path / "escaped").exists()
    assert FOLDER not in names(tmp_path / "root")


def test_an_archive_of_something_else(tmp_path, server):
    server.content = tar_of("other/file")
    with pytest.raises(DownloadError, match=f"no folder '{FOLDER}'"):
        fetch_folder(server.url, tmp_path / "root", FOLDER, md5=server.md5)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.tar.gz", "file:///etc/passwd", "x.tar.gz"])
def test_other_schemes_are_refused(tmp_path, url):
    with pytest.raises(ValueError, match="http"):
        fetch_folder(url, tmp_path, FOLDER, md5="")


def test_a_full_disk_is_reported_with_the_path(tmp_path, server, monkeypatch):
    root = tmp_path / "root"
    real_open = type(root).open

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    def limited_open(self, mode="r", *arguments, **keywords):
        return Full() if mode in ("wb", "ab") else real_open(self, mode, *arguments, **keywords)

    monkeypatch.setattr(type(root), "open", limited_open)
    with pytest.raises(DownloadError, match=r"tar\.gz\.part: cannot be written.*No space left"):
        fetch_folder(server.url, root, FOLDER, md5=server.md5)
    assert len(server.requests) == 1  # asking again would not make room
