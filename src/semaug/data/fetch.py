"""Downloading data sets, so that a file is whole or absent whenever that stops."""

import os
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from itertools import count
from pathlib import Path
from urllib.error import URLError

from semaug.data.registry import data_root
from semaug.data.source import DataSource, Download, OfficialFiles, has_md5
from semaug.registry import data_sets

Report = Callable[[str], None]

_SCRATCH = ".semaug-fetch-"


def fetch(name: str, root: str | Path | None = None, *, report: Report | None = None) -> list[Path]:
    """Download what is missing or damaged of a data set, and unpack it.

    Everything happens in a hidden folder beside its place, is compared with the official MD5
    sums, and then moved, so that no half of a file is ever seen. An archive that lies in the
    data root already is unpacked from there.

    A folder of very many files has no official sums. All its images are decoded, and if one
    cannot be, or the numbers are wrong, the whole folder is put in place anew. What was there
    stays beside it, as ``FOLDER.old``. What a fetch leaves that is killed, the next one removes.

    Args:
        name: As ``data=`` of a recipe.
        root: Data root, as in :func:`semaug.data.load_data`; made if it is not there.
        report: Called with a line for a person, before what takes long and for what was kept.

    Returns:
        Files or folders that were put in place; none if all were there.

    Raises:
        ModuleNotFoundError: If torchvision is not installed.
        ConnectionError: If a download fails; the message names the address.
        LoadError: If a process that decodes was killed.
        OSError: If the disk does not take it.
        ValueError: If the name is unknown, or the set has no download; the message says how to
            get it. If an archive would write outside of its folder.
    """
    source = data_sets.make(name)
    root = data_root(root)
    files = getattr(source, "files", None)
    if files is None:
        how_to_get = getattr(source, "how_to_get", DataSource.how_to_get).format(root=root)
        raise ValueError(f"fetch: no download for {name!r}: {how_to_get}")
    _remove_leftovers(root)
    report = report or (lambda line: None)
    missing = _find_missing(source, files, root, report)
    placed: list[Path] = []
    for download in files.downloads:
        if wanted := [name for name in download.provides if name in missing]:
            placed += _put_in_place(files, download, wanted, root, report)
    return placed


def _find_missing(source: DataSource, files: OfficialFiles, root: Path, report: Report) -> set[str]:
    """Return the names of files that are not there, or not the official ones."""
    if not files.md5:  # a folder of many files, moved into place whole
        folder = root / files.folder
        if not folder.exists():
            return {files.folder}
        report(f"reading all files in {folder}")
        return set() if source.is_whole(root) else {files.folder}
    return {name for name, md5 in files.md5.items() if not has_md5(root / files.folder / name, md5)}


def _put_in_place(
    files: OfficialFiles, download: Download, wanted: list[str], root: Path, report: Report
) -> list[Path]:
    root.mkdir(parents=True, exist_ok=True)
    prefix = f"{_SCRATCH}{platform.node()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=root) as scratch:
        unpacked = _download_and_unpack(files, download, root, Path(scratch))
        if not files.md5:
            _move_aside(root / files.folder, report)
            return [(unpacked / files.folder).rename(root / files.folder)]
        # Archives hold the folder, loose files lie alone.
        start = unpacked / files.folder if _is_archive(download) else unpacked
        target = root / files.folder
        target.mkdir(exist_ok=True)
        return [(start / name).replace(target / name) for name in wanted]


def _move_aside(folder: Path, report: Report) -> None:
    """Make room, but remove nothing: somebody may have put files of their own there."""
    if not os.path.lexists(folder):  # a link to nowhere is in the way, too
        return
    names = (f"{folder.name}.old{number if number > 1 else ''}" for number in count(1))
    kept = next(path for path in map(folder.with_name, names) if not os.path.lexists(path))
    folder.rename(kept)
    report(f"kept what was in {folder} as {kept}; remove it if nothing in it is yours")


def _remove_leftovers(root: Path) -> None:
    """Remove what processes of this machine left that were killed while they fetched."""
    if sys.platform == "win32":  # where asking about a process would end it
        return
    for path in root.glob(f"{_SCRATCH}{platform.node()}-*-*"):
        process = path.name.split("-")[-2]
        if process.isdecimal() and not _is_alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # another one than that: of somebody else
        return not isinstance(error, ProcessLookupError)
    return True


def _download_and_unpack(
    files: OfficialFiles, download: Download, root: Path, scratch: Path
) -> Path:
    """Return a folder with what a download holds."""
    if not _is_archive(download):
        _download(download, scratch, root / files.folder)
        return scratch
    lying = (place / download.name for place in (root, root / files.folder))
    found = next((path for path in lying if has_md5(path, download.md5)), None)
    archive = found or _download(download, scratch, root)
    unpacked = scratch / "unpacked"
    if zipfile.is_zipfile(archive):
        shutil.unpack_archive(archive, unpacked, "zip")
    else:
        _unpack_tar(archive, unpacked)
    return unpacked


def _unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack files and folders; Python does not check what it unpacks before 3.11.4."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in tar:  # checked and unpacked in one pass
            inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
            if not inside or not (member.isfile() or member.isdir()):
                raise ValueError(
                    f"fetch: expected an archive of files below its own folder, got "
                    f"{member.name!r} in {archive.name!r}"
                )
            tar.extract(member, folder)


def _is_archive(download: Download) -> bool:
    return download.name not in download.provides


def _download(download: Download, folder: Path, place: Path) -> Path:
    from torchvision.datasets.utils import download_url  # slow to import

    try:
        download_url(download.url, folder, download.name, download.md5)
    # No network, no such file, a connection cut, a sum that differs.
    except (ConnectionError, HTTPException, RuntimeError, TimeoutError, URLError) as error:
        raise ConnectionError(
            f"fetch: expected a file of MD5 sum {download.md5} at {download.url}, got: {error}; "
            f"try again, or download it elsewhere and put it into {str(place)!r}"
        ) from error
    return folder / download.name
