"""Tests of semaug.data.source."""

import hashlib

import pytest

from semaug.data.source import Download, OfficialFiles, fetch_command, md5_of, open_official


def md5(content):
    return hashlib.md5(content).hexdigest()


PACKED = OfficialFiles(
    name="toy",
    folder="toy-files",
    md5={"one": md5(b"first"), "two": md5(b"second")},
    downloads=(Download("http://host/toy.tar.gz", md5(b"archive"), ("one", "two")),),
)
LOOSE = OfficialFiles(
    name="toy",
    folder="toy-files",
    md5={"one": md5(b"first")},
    downloads=(Download("http://host/one", md5(b"first"), ("one",)),),
)


@pytest.fixture
def root(tmp_path):
    """A data root in a folder of its own, with the folder of the set in it."""
    (tmp_path / "data" / "toy-files").mkdir(parents=True)
    return tmp_path / "data"


def message_of(files, root, name="one"):
    with pytest.raises(FileNotFoundError) as caught, open_official(files, root, name):
        pass
    return str(caught.value)


def test_an_official_file_is_open_at_its_start(root):
    (root / "toy-files" / "one").write_bytes(b"first")
    with open_official(PACKED, root, "one") as file:
        assert file.read() == b"first"
    assert file.closed


def test_another_file_is_refused(root):
    path = root / "toy-files" / "one"
    path.write_bytes(b"fir")
    expected = (
        rf"expected '{path}' with MD5 sum {md5(b'first')}, got {md5(b'fir')} \(3 bytes\), so it is "
        rf"damaged or cut short; fetch it with: semaug data fetch toy --data-root {root}$"
    )
    with pytest.raises(ValueError, match=expected), open_official(PACKED, root, "one"):
        pass


def test_a_missing_file_is_named_with_what_mends_it(root):
    path = root / "toy-files" / "one"
    assert message_of(PACKED, root) == (
        f"data: expected toy under {str(root)!r}, got no file {str(path)!r}; "
        f"fetch it with: semaug data fetch toy --data-root {root}, or name the folder that holds "
        "toy-files/ with --data-root or SEMAUG_DATA"
    )


def test_a_folder_in_the_place_of_a_file_is_no_file(root):
    (root / "toy-files" / "one").mkdir()
    assert "got no file" in message_of(PACKED, root)


@pytest.mark.parametrize("place", [".", "toy-files"])
def test_an_archive_that_is_not_unpacked_is_found(root, place):
    path = root / place / "toy.tar.gz"
    path.write_bytes(b"archive")
    message = message_of(PACKED, root)
    assert f"found {str(path)!r}; unpack it with: semaug data fetch toy --data-root" in message


def test_the_folder_of_the_set_given_as_root_is_understood(root):
    (root / "toy-files" / "one").write_bytes(b"first")
    message = message_of(PACKED, root / "toy-files")
    assert f"found {str(root / 'toy-files/one')!r}; add: --data-root {root}" in message


def test_a_set_one_level_too_deep_is_found(root):
    (root / "sets of mine" / "toy-files").mkdir(parents=True)
    (root / "sets of mine" / "toy-files" / "one").write_bytes(b"first")
    assert f"; add: --data-root '{root / 'sets of mine'}'" in message_of(PACKED, root)


@pytest.mark.parametrize("place", [".", "elsewhere"])
@pytest.mark.parametrize("files", [PACKED, LOOSE], ids=["packed", "loose"])
def test_a_file_in_a_wrong_folder_is_found(root, place, files):
    (root / place).mkdir(exist_ok=True)
    (root / place / "one").write_bytes(b"first")
    message = message_of(files, root)
    assert f"found {str(root / place / 'one')!r}; move it to {str(root / 'toy-files')!r}" in message


def test_a_file_that_only_has_the_name_does_not_mislead(root):
    (root / "one").write_bytes(b"something else")
    assert "found" not in message_of(PACKED, root)


@pytest.mark.parametrize("place", ["toy.tar.gz", "toy-files/toy.tar.gz"])
def test_an_archive_of_another_sum_is_named(root, place):
    (root / "toy-files").mkdir(exist_ok=True)
    (root / place).write_bytes(b"half of the arch")
    message = message_of(PACKED, root)
    assert f"found {str(root / place)!r}, which is damaged or cut short; fetch it with" in message


def test_a_file_that_cannot_be_read_does_not_mislead(root, monkeypatch):
    (root / "one").write_bytes(b"first")

    def refuse(file):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("semaug.data.source.md5_of", refuse)
    assert "found" not in message_of(PACKED, root)


def test_sums_leave_the_file_at_its_start(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        assert md5_of(file) == md5(b"content")
        assert file.read() == b"content"


def test_the_command_survives_a_shell(tmp_path):
    assert fetch_command("toy", tmp_path / "a b").endswith("a b'")
