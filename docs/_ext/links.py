"""Whether every link of the built site leads somewhere: files and anchors, without a network.

    python docs/_ext/links.py [docs/_build/html]

Prints each dead link with the page that has it, and exits with 1 if there is one. Addresses on the web are listed by
`--web` and not visited.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
OWN = ("href", "src")


class Links(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in OWN and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def parsed(path: Path) -> Links:
    found = Links()
    found.feed(path.read_text(encoding="utf-8", errors="replace"))
    return found


def dead(site: Path) -> list[str]:
    """Every link that leads nowhere, as "page: link"."""
    pages = {path.resolve(): parsed(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            if link.startswith(("http:", "https:", "mailto:", "data:", "javascript:")):
                continue
            address, anchor = urldefrag(link)
            address = address.partition("?")[0]
            goal = (path.parent / unquote(address)).resolve() if address else path
            known = pages.get(goal)
            lost = not goal.exists() or (anchor and known and unquote(anchor) not in known.anchors)
            if lost:
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return sorted(set(found))


def main() -> int:
    named = [word for word in sys.argv[1:] if not word.startswith("-")]
    site = Path(named[0]) if named else SITE
    if "--web" in sys.argv:
        web = {
            link for path in site.rglob("*.html") for link in parsed(path).links if link.startswith("http")
        }
        print(*sorted(web), sep="\n")
        return 0
    found = dead(site)
    print(*found, sep="\n")
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} dead links")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
