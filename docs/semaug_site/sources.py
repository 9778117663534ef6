"""Write what Sphinx builds the site from: the repository's Markdown, and pages made of its code.

Markdown files keep their places, so that a link means the same here and on a code host. Links to
code and to folders lead to pages that show them.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from semaug_site.api import api_pages
from semaug_site.commands import commands_page
from semaug_site.tables import table_pages

ROOT = Path(__file__).parents[2]

# The menu: patterns of pages, with a shorter title or "" for their own. A page that is named stands
# there, all others at the first pattern that they match.
SECTIONS: dict[str, dict[str, str]] = {
    "Start": {
        "self": "Introduction",
        "docs/training": "Train and compare",
        "examples/README": "Scripts with other trainers",
    },
    "How to": {
        "docs/features": "Your own training loop",
        "docs/finetuning": "Your own photographs",
        "docs/masks": "Photographs and masks",
        "docs/detection": "",
        "docs/data": "Your own data",
        "docs/extending": "Your own method",
        "docs/[!/]*": "",
    },
    "Methods": {"docs/methods/*": ""},
    "Results": {
        "docs/does-it-help": "",
        "results/README": "All measured results",
        "results/plan": "",
        "tables/*": "",
        "docs/published": "",
        "docs/cost": "",
        "docs/notes": "",
        "benchmarks/*": "",
    },
    "Reference": {"docs/commands": "", "options": "", "api/index": "API"},
    "Project": {"CONTRIBUTING": "", "CHANGELOG": ""},
}
_MARKDOWN = ("*.md", "docs/**/*.md", "results/*.md", "examples/*.md", "benchmarks/*.md")
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def write_sources(folder: Path) -> None:
    """Write everything that the site is built from into an empty folder."""
    pages = (path for pattern in _MARKDOWN for path in ROOT.glob(pattern))
    texts = {"options.md": commands_page(), **dict(table_pages(ROOT)), **dict(api_pages())}
    files: set[Path] = set()
    for path in pages:
        text, linked = lead_to_pages(path)
        name = path.relative_to(ROOT).as_posix()
        texts["index.md" if name == "README.md" else name] = text
        files |= linked
    copied = [path for path in files if not _is_shown(path)]
    texts |= {f"{path.relative_to(ROOT)}.md": _source_page(path) for path in files - {*copied}}
    texts["index.md"] += "".join(menu(name.rpartition(".")[0] for name in texts))
    for name in [*texts, *(str(path.relative_to(ROOT)) for path in copied)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for path in copied:
        shutil.copy2(path, folder / path.relative_to(ROOT))
    for name, text in texts.items():
        (folder / name).write_text(text)


def _is_shown(path: Path) -> bool:
    """Say whether a file or folder has a page of its own; others are downloaded, or pictures."""
    return path.is_dir() or path.suffix == ".py"


def lead_to_pages(page: Path) -> tuple[str, set[Path]]:
    """Return the text of a page with its links as the site has them, and the files they lead to.

    Of a folder, the files of Python in it belong to these. Links that lead nowhere stay as they
    are, and Sphinx warns of them.
    """
    files: set[Path] = set()

    def lead(match: re.Match[str]) -> str:
        path = (page.parent / match[0]).resolve()
        if path == ROOT / "README.md":
            return match[0].removesuffix("README.md") + "index.md"
        if not path.exists() or path.suffix == ".md":
            return match[0]
        files.update([path, *path.glob("[!_]*.py")])
        return match[0] + ".md" * _is_shown(path)

    return _LINK.sub(lead, page.read_text()), files


def _source_page(path: Path) -> str:
    """Return a page that shows a file, or lists the files of a folder."""
    files = sorted(path.glob("[!_]*.py"))
    body = "\n".join(f"- [{one.name}]({path.name}/{one.name}.md)" for one in files)
    if path.is_file():
        body = f"`````python\n{path.read_text()}`````"
    return f"---\norphan: true\nnosearch: true\n---\n# {path.relative_to(ROOT)}\n\n{body}\n"


def menu(names: Iterable[str]) -> Iterator[str]:
    """Return the sections of the menu as hidden tables of contents.

    Args:
        names: Of all pages, without ``.md``. Pages of no section are left out, and Sphinx warns of
            them.
    """
    left = set(names) - {pattern for section in SECTIONS.values() for pattern in section}
    for caption, section in SECTIONS.items():
        lines = []
        for pattern, title in section.items():
            found = sorted(one for one in left if _matches(one, pattern)) or [pattern]
            left -= set(found)
            lines += [f"{title} <{name}>" if title else name for name in found]
        yield "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}\n", *lines, "```\n"])


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) and name.count("/") == pattern.replace("[!/]", "").count("/")
