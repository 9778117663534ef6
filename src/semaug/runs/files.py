"""Files that are whole or absent: written beside their place, then moved there in one step."""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from semaug.errors import UserError

FORMAT = 2  # of everything in the folder of a run

_PARTIAL = ".partial"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a file that cannot be written why: whatever a library makes of a full disk.

    Raises:
        OSError: If the system refused a write in the block; the message has path and reason.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error  # torch.save hides it behind a RuntimeError of its own
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise OSError(f"{path}: cannot be written: {cause.strerror or cause}") from error


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old one as it was.

    Processes that write the same file at once do not disturb each other; the last one wins.

    Raises:
        OSError: If the disk does not take it; the message says why.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_PARTIAL}")
    try:
        with writing(path):
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left half written, where no other process is writing."""
    for path in folder.rglob(f"*{_PARTIAL}"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes by :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write text by :func:`write_atomically`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON by :func:`write_atomically`."""
    write_text(path, as_json(value, indent=2) + "\n")


def as_json(value: Any, indent: int | None = None) -> str:
    """Return strict JSON: a NaN raises ``ValueError``, for other programs refuse it."""
    return json.dumps(value, indent=indent, allow_nan=False)


def parse_json(content: bytes) -> Any:
    """Read strict JSON: a NaN raises ``ValueError``, and so does what is no JSON."""
    return json.loads(content, parse_constant=_refuse)


def read_json(path: Path, remedy: str) -> Any:
    """Read JSON.

    Args:
        path: Of the file.
        remedy: What to do if it is damaged, for the message.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is damaged.
    """
    content = path.read_bytes()
    try:
        return parse_json(content)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: expected JSON, got a damaged file ({error}); {remedy}") from error


def check_format(path: Path, found: Any) -> None:
    """Refuse a file of a run that another version wrote.

    Raises:
        UserError: If it is of another format.
    """
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise UserError(
            f"{path}: expected a run folder of format {FORMAT}, got {number or 'an earlier one'}; "
            "train the run in another folder (--runs), or read it with the version that wrote it"
        )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
