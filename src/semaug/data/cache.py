"""What took long to find out about files, kept in the cache folder of the user."""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any


def cache_file(kind: str, place: str | os.PathLike[str]) -> Path:
    """Return where to keep what is known of a file or folder."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "semaug"
    digest = hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()[:16]
    return folder / f"{kind}-{digest}.json"


def kept(file: Path) -> Any:
    """Return what :func:`keep` wrote; an empty dict if that is absent or damaged."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    return {}


def keep(file: Path, value: Any) -> None:
    """Keep plain data, whole or not at all; where it cannot be written, it is found out anew."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(value))
        partial.replace(file)
