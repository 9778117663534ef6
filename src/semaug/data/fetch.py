"""Downloading data sets, so that a file is whole or absent whenever that stops."""

import shutil
import tarfile
import tempfile
import zipfile
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from semaug.data.official import Download, OfficialFiles, has_md5
from semaug.data.registry import data_root, find_source

__all__ = ["fetch"]


def fetch(name: str, root: str | Path | None = None) -> list[Path]:
    """Download what is missing or damaged of a data set, and unpack it.

    Everything happens in a hidden folder beside its place, is compared with the official MD5
    sums, and then moved, so that no half of a file is ever seen. An archive that lies in the
    data root already is unpacked from there.

    Args:
        name: One of :data:`semaug.data.DATA_SETS`.
        root: Data root, as in :func:`semaug.data.load_data`; made if it is not there.

    Returns:
        Files or folders that were put in place; none if all were there.

    Raises:
        ModuleNotFoundError: If torchvision is not installed.
        ConnectionError: If a download fails; the message names the address.
        OSError: If the disk does not take it.
        ValueError: If the name is unknown, or the set has no download; the message says how to
            get it.
    """
    source = find_source("fetch", name)
    root = data_root(root)
    files = source.files
    if files is None:
        raise ValueError(f"fetch: no download for {name!r}: {source.how_to_get.format(root=root)}")
    missing = _missing(files, root)
    placed: list[Path] = []
    for download in files.downloads:
        if wanted := [name for name in download.provides if name in missing]:
            placed += _place(files, download, wanted, root)
    return placed


def _missing(files: OfficialFiles, root: Path) -> set[str]:
    """Return the names of files that are not there, or not the official ones."""
    if not files.md5:  # a folder of many files, moved into place whole
        return set() if (root / files.folder).exists() else {files.folder}
    return {name for name, md5 in files.md5.items() if not has_md5(root / files.folder / name, md5)}


def _place(files: OfficialFiles, download: Download, wanted: list[str], root: Path) -> list[Path]:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".semaug-fetch-", dir=root) as scratch:
        unpacked = _obtain(files, download, root, Path(scratch))
        if not files.md5:
            return [(unpacked / files.folder).rename(root / files.folder)]
        # Archives hold the folder, loose files lie alone.
        start = unpacked / files.folder if _is_archive(download) else unpacked
        target = root / files.folder
        target.mkdir(exist_ok=True)
        return [(start / name).replace(target / name) for name in wanted]


def _obtain(files: OfficialFiles, download: Download, root: Path, scratch: Path) -> Path:
    """Return a folder with what a download holds."""
    if not _is_archive(download):
        _download(download, scratch, root / files.folder)
        return scratch
    lying = (place / download.name for place in (root, root / files.folder))
    archive = next((path for path in lying if has_md5(path, download.md5)), None)
    if archive is None:
        archive = _download(download, scratch, root)
    unpacked = scratch / "unpacked"
    if zipfile.is_zipfile(archive):
        shutil.unpack_archive(archive, unpacked, "zip")
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
    return unpacked


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
