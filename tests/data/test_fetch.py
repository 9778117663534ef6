"""Tests of semaug.data.fetch: downloads come from this process, never from the network."""

import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from textwrap import dedent

import pytest
from torchvision.datasets import utils

from semaug.data.fetch import fetch
from semaug.data.source import Download, OfficialFiles
from semaug.registry import data_sets
from tests.data.toy_source import register as register_set

CONTENTS = {"one": b"first", "two": b"second"}


def md5(content):
    return hashlib.md5(content).hexdigest()


def tar_of(names, folder="toy-files"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(CONTENTS[name])
            tar.addfile(entry, io.BytesIO(CONTENTS[name]))
    return content.getvalue()


def zip_of(names, folder="toy-files"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(f"{folder}/{name}", CONTENTS[name])
    return content.getvalue()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def host(tmp_path):
    """A folder whose files can be downloaded."""
    folder = tmp_path / "host"
    folder.mkdir()
    return folder


@pytest.fixture
def address(host, monkeypatch):
    """Where they can be downloaded."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(_Quiet, directory=host)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def register(host, address, monkeypatch):
    """Return a function that puts a download on the host and registers the set it makes."""

    def put(kind):
        sums = {name: md5(content) for name, content in CONTENTS.items()}
        if kind == "loose":
            for name, content in CONTENTS.items():
                (host / name).write_bytes(content)
            downloads = [Download(f"{address}/{n}", sums[n], (n,)) for n in CONTENTS]
        else:
            content = tar_of(CONTENTS) if kind == "tar" else zip_of(CONTENTS)
            name = "toy.tar.gz" if kind == "tar" else "toy.zip"
            (host / name).write_bytes(content)
            provides = tuple(CONTENTS) if kind == "tar" else ("toy-files",)
            downloads = [Download(f"{address}/{name}", md5(content), provides)]
        files = OfficialFiles("toy", "toy-files", sums if kind != "zip" else {}, tuple(downloads))
        register_set(monkeypatch, "toy", files=files)
        return files

    return put


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks for a download fails the test."""
    monkeypatch.setattr(utils, "download_url", lambda *_: pytest.fail("was downloaded"))


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["loose", "tar", "zip"])
def test_a_set_is_put_in_place_and_nothing_else_is_left(register, root, kind):
    register(kind)
    placed = fetch("toy", root)
    assert contents_of(root / "toy-files") == CONTENTS
    assert [path.name for path in root.iterdir()] == ["toy-files"]
    expected = ["toy-files"] if kind == "zip" else list(CONTENTS)
    assert [path.name for path in placed] == expected
    assert all(path.exists() for path in placed)


@pytest.mark.parametrize("kind", ["loose", "tar", "zip"])
def test_what_is_there_is_not_fetched_again(register, root, kind, monkeypatch):
    register(kind)
    fetch("toy", root)
    monkeypatch.setattr(utils, "download_url", lambda *_: pytest.fail("was downloaded"))
    assert fetch("toy", root) == []


@pytest.mark.parametrize("kind", ["loose", "tar"])
def test_only_missing_and_damaged_files_are_replaced(register, root, kind):
    register(kind)
    fetch("toy", root)
    kept = (root / "toy-files" / "one").stat()
    (root / "toy-files" / "two").write_bytes(b"sec")
    assert fetch("toy", root) == [root / "toy-files" / "two"]
    assert contents_of(root / "toy-files") == CONTENTS
    assert (root / "toy-files" / "one").stat().st_ino == kept.st_ino


@pytest.mark.parametrize(("kind", "place"), [("tar", "."), ("tar", "toy-files"), ("zip", ".")])
def test_an_archive_that_lies_there_is_unpacked(register, root, host, kind, place, no_network):
    (download,) = register(kind).downloads
    (root / place).mkdir(parents=True, exist_ok=True)
    archive = root / place / download.name
    (host / download.name).rename(archive)
    fetch("toy", root)
    assert {name: (root / "toy-files" / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert archive.exists(), "it belongs to who put it there"


@pytest.fixture
def folder_set(register, monkeypatch):
    """A folder without official sums, which is whole if its file ``two`` is."""
    register("zip")

    def is_whole(self, root):
        path = root / "toy-files" / "two"
        return path.exists() and path.read_bytes() == CONTENTS["two"]

    monkeypatch.setattr(data_sets.get("toy"), "is_whole", is_whole)


def test_a_damaged_folder_is_put_in_place_anew_and_the_old_one_kept(folder_set, root):
    target, lines = root / "toy-files", []
    for number in ("", "2"):
        old = {"two": b"half", "mine": number.encode()}
        target.mkdir(parents=True, exist_ok=True)
        for name, content in old.items():
            (target / name).write_bytes(content)
        assert fetch("toy", root, report=lines.append) == [target]
        assert contents_of(target) == CONTENTS
        kept = root / f"toy-files.old{number}"
        assert contents_of(kept).items() >= old.items()
        assert lines[-2:] == [
            f"reading all files in {target}",
            f"kept what was in {target} as {kept}; remove it if nothing in it is yours",
        ]
    assert fetch("toy", root) == [], "now it is whole"


def test_an_archive_in_a_damaged_folder_is_used_and_kept(folder_set, root, host, no_network):
    (root / "toy-files").mkdir(parents=True)
    (host / "toy.zip").rename(root / "toy-files/toy.zip")
    fetch("toy", root)
    assert contents_of(root / "toy-files") == CONTENTS
    assert [path.name for path in (root / "toy-files.old").iterdir()] == ["toy.zip"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_link_to_nowhere_is_moved_aside(folder_set, root):
    root.mkdir()
    (root / "toy-files").symlink_to(root / "nowhere")
    fetch("toy", root)
    assert contents_of(root / "toy-files") == CONTENTS
    assert (root / "toy-files.old").is_symlink()


def test_a_failed_download_leaves_a_damaged_folder_where_it_is(folder_set, root, host):
    (root / "toy-files").mkdir(parents=True)
    (root / "toy-files/mine").touch()
    (host / "toy.zip").unlink()
    with pytest.raises(ConnectionError, match="got: "):
        fetch("toy", root)
    assert [path.name for path in root.rglob("*")] == ["toy-files", "mine"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is removed there")
def test_what_a_killed_fetch_left_is_removed(register, root):
    register("tar")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = f".semaug-fetch-{platform.node()}"
    left = root / f"{here}-{ended.pid}-ab_1"
    others = [f"{here}-{os.getpid()}-cd_2", f"{here}-1-ef_3", f"{here}-x-y"]
    others += [f".semaug-fetch-elsewhere.{platform.node()}-{ended.pid}-gh_4", "toy-files"]
    for path in (left, *(root / name for name in others)):
        path.mkdir(parents=True)
        (path / "half").touch()
    fetch("toy", root)
    assert sorted(path.name for path in root.iterdir()) == sorted(others)


def test_half_an_archive_that_lies_there_is_not_used(register, root):
    (download,) = register("tar").downloads
    root.mkdir()
    (root / download.name).write_bytes(b"half of it")
    fetch("toy", root)
    assert contents_of(root / "toy-files") == CONTENTS
    assert (root / download.name).read_bytes() == b"half of it"


@pytest.mark.parametrize("kind", ["loose", "tar", "zip"])
def test_a_failed_download_is_named_and_leaves_nothing(register, root, host, kind):
    files = register(kind)
    last = files.downloads[-1]
    (host / last.name).unlink()
    place = root / "toy-files" if kind == "loose" else root
    expected = rf"fetch: expected a file of MD5 sum \w+ at {last.url}, got: .*put it into '{place}'"
    with pytest.raises(ConnectionError, match=expected):
        fetch("toy", root)
    left = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert left == (["toy-files", "toy-files/one"] if kind == "loose" else [])


@pytest.mark.parametrize("kind", ["loose", "tar", "zip"])
def test_a_download_cut_short_is_refused(register, root, host, kind):
    download = register(kind).downloads[0]
    path = host / download.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConnectionError, match="got: File not found or corrupted"):
        fetch("toy", root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("kind", ["loose", "tar", "zip"])
def test_an_interrupted_download_leaves_nothing(register, root, kind, monkeypatch):
    register(kind)

    def interrupt(url, folder, name, md5):
        (folder / name).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(utils, "download_url", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("toy", root)
    assert list(root.iterdir()) == []


def test_a_full_disk_is_told_as_it_is(register, root, monkeypatch):
    register("tar")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(utils, "download_url", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        fetch("toy", root)
    assert not isinstance(caught.value, ConnectionError)


def test_an_archive_cannot_write_outside_of_its_folder(host, address, root, register, monkeypatch):
    content = tar_of(["one"], folder="../..")
    (host / "evil.tar.gz").write_bytes(content)
    download = Download(f"{address}/evil.tar.gz", md5(content), ("one",))
    files = replace(register("tar"), downloads=(download,))
    register_set(monkeypatch, "toy", files=files)
    with pytest.raises(
        ValueError, match=r"fetch: expected an archive of files .*, got '\.\./\.\./one'"
    ):
        fetch("toy", root)
    assert not (root.parent / "one").exists()


def test_the_root_is_that_of_load_data(register, root, monkeypatch):
    register("tar")
    monkeypatch.setenv("SEMAUG_DATA", str(root))
    assert fetch("toy") == [root / "toy-files" / name for name in CONTENTS]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("digits", "it needs no files"),
        ("imagenet", "only image-net.org hands it out"),
        ("folder", "it is made of your own files: data/train/CLASS"),
    ],
)
def test_sets_without_a_download_say_how_to_get_them(name, advice):
    with pytest.raises(ValueError, match=f"fetch: no download for '{name}': {advice}"):
        fetch(name, "data")


def test_a_set_from_a_file_without_a_download_says_so(tmp_path):
    code = """if True:
        from dataclasses import dataclass

        @dataclass(frozen=True, kw_only=True)
        class Mine:
            def load(self, root, workers): ...
    """
    path = tmp_path / "mine.py"
    path.write_text(dedent(code))
    with pytest.raises(ValueError, match=r"no download for '.*:Mine': get it as its author says"):
        fetch(f"{path}:Mine")


def test_the_advice_on_imagenet_can_be_typed_into_a_shell():
    with pytest.raises(ValueError, match="imagenet") as caught:
        fetch("imagenet", "my data")
    code = str(caught.value).split('python -c "')[1].split('"')[0]
    compile(code, "printed", "exec")
    assert "D('my data/imagenet', part)" in code


def test_an_unknown_name_fails_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown data set 'cifar11'; did you mean 'cifar1"):
        fetch("cifar11")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "svhn_extra", "tiny_imagenet"])
def test_every_file_of_a_set_is_provided_once(name):
    files = data_sets.get(name).files
    provided = [part for download in files.downloads for part in download.provides]
    assert sorted(provided) == sorted(files.md5 or [files.folder])


def test_tiny_imagenet_is_read_through(tmp_path, monkeypatch):
    """A folder of that name alone is not the set."""
    lines = []
    (tmp_path / "tiny-imagenet-200").mkdir()
    monkeypatch.setattr(utils, "download_url", lambda *_: pytest.fail("is downloaded"))
    with pytest.raises(pytest.fail.Exception, match="is downloaded"):
        fetch("tiny_imagenet", tmp_path, report=lines.append)
    assert lines == [f"reading all files in {tmp_path / 'tiny-imagenet-200'}"]
