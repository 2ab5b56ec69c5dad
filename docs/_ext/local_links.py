"""Checks built pages: every link within the folder must lead to a file, and to an anchor in it.

    python local_links.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = {"", "top"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            elif name in ("id", "name") and value is not None:
                self.places.add(value)


@cache
def _page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def broken_links(folder: Path) -> Iterator[str]:
    """A line for each local link without a target, such as `index.html: faq.html#cost`."""
    for path in sorted(folder.rglob("*.html")):
        for link in dict.fromkeys(_page(path).links):
            if not _leads_somewhere(path, link):
                yield f"{path.relative_to(folder)}: {link}"


def _leads_somewhere(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.suffix != ".html" or not target.is_file():
        return target.exists()
    return unquote(parts.fragment) in _page(target).places


def main(folder: str) -> int:
    found = list(broken_links(Path(folder).resolve()))
    for line in found:
        print(f"broken link in {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
