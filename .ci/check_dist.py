"""Check what is in a built sdist and wheel: all of the package, and nothing else."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LARGEST = 1_000_000  # bytes of a file


def check(folder: Path) -> None:
    """Raise if something is missing, does not belong there, or links to nowhere."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    package = ROOT / "src" / "semaug"
    ours = {
        path.relative_to(ROOT / "src").as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        too_large = [one.filename for one in archive.infolist() if one.file_size > _LARGEST]
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    meant = {"src", "CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md"}
    meant |= {"pyproject.toml", ".gitignore"}
    found = {
        "missing in the wheel": ours - names,
        "not of the package, in the wheel": names - ours,
        "too large, in the wheel": too_large,
        "not meant to be in the sdist": tops - meant,
        "missing in the sdist": meant - tops - {".gitignore"},
        "links of the README that lead nowhere": re.findall(r"\]\((?!https?:)[^)]+\)", text),
    }
    if wrong := {what: sorted(names) for what, names in found.items() if names}:
        raise SystemExit(f"check_dist: {wrong}")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
