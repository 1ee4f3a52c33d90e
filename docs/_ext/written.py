"""Pages that are written from the code before Sphinx reads: reference, analyses, ledgers, notebooks, words.

Owns docs/generated: each page is a function of what is in the packages and in the stored ledgers, so none can fall
behind. A file that would not change is not touched, so that Sphinx reads again only what is new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from apipages import PUBLIC, page
from sphinx.application import Sphinx

from interp.analysis.registry import entries
from interp.studies import STUDIES, plans, summary
from tasks.renamed import RENAMED

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "generated"


def analyses() -> str:
    """The registered analyses: what each table holds, and the command that shows it."""
    lines = [
        "# Analyses",
        "",
        "Every registered analysis, with the sentence that stands under its table.",
        "",
    ]
    lines += ["| analysis | command | how to read it |", "|---|---|---|"]
    for entry in entries():
        caption = re.sub(r"\{(\w+)\}", r"*\1*", entry.caption)
        lines.append(f"| `{entry.name}` | `{entry.words()}` | {caption} |")
    lines += [
        "",
        "Words in italics stand for settings of the measurement. Columns: [tables and columns](../columns.md).",
    ]
    return "\n".join(lines) + "\n"


def ledgers() -> str:
    """The page of every claim of every study."""
    return detached("# Ledgers\n" + summary.every_claim().partition("\n")[2])


def notebooks() -> str:
    """The list of notebooks: title, and the first paragraph of each."""
    lines = ["# Notebooks", "", "Executed when this site was built, by the code that it describes.", ""]
    names = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        title, first = opening(path)
        there = (OUT / "notebooks" / path.name).exists()
        shown = f"[{title}](notebooks/{path.name})" if there else title
        lines += [f"**{shown}.** {first}", ""]
        names += [f"notebooks/{path.stem}"] * there
    if names:
        lines += ["```{toctree}", ":hidden:", "", *names, "```"]
    else:
        lines += ["They were not executed for this build: `make docs` does it."]
    return "\n".join(lines) + "\n"


def opening(path: Path) -> tuple[str, str]:
    """Title and first paragraph of a notebook."""
    text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    title, _, rest = text.partition("\n")
    return title.lstrip("# "), " ".join(rest.strip().split("\n\n")[0].split())


def renamed() -> str:
    """Names of version 0.1 and what they are called now."""
    lines = [
        "# Names that changed",
        "",
        "Old names of version 0.1 are refused in one line that gives the new one.",
        "",
    ]
    for what, names in RENAMED.items():
        lines += [f"## {what.capitalize()}", "", "| 0.1 | 0.2 |", "|---|---|"]
        lines += [f"| `{old}` | `{new}` |" for old, new in names.items()]
        lines.append("")
    return "\n".join(lines)


def study_costs() -> str:
    """What every study takes at the scales that run on a CPU, before it is run."""
    lines = [
        "# What a study takes",
        "",
        "`interp study NAME --scale SCALE --plan` prints the same. A study that was broken off is gone on with, and "
        "its time is that of all its calls. An estimate is right within a factor of two on a machine that does nothing "
        "else.",
    ]
    for scale in ("quick", "cpu"):
        found = [plans.plan(study, scale, summary.measured(study)) for study in STUDIES]
        lines += ["", f"## Scale {scale}", "", "| study | runs | of which | CPU time |", "|---|---|---|---|"]
        lines += [f"| `{one.study}` | {one.runs} | {one.words} | {one.cost} |" for one in found]
        lines += ["", f"In all: {plans.total(found)}."]
    return "\n".join(lines) + "\n"


COPIED = {
    "changelog": "CHANGELOG.md",
    "before-and-after": "interp/studies/measured/before-and-after.md",
    "trust": "tests/trust/measured.md",
    "speed": "tests/bench/measured.md",
    "peers": "tests/peers/measured.md",
    "verdicts": "interp/calibration/measured/README.md",
}


def detached(text: str) -> str:
    """A page that lies elsewhere in the repository: its links to files become their paths, its `<` stay text."""
    text = re.sub(r"\[([^\]]+)\]\((?!https?:)([^)\s]+)\)", r"\1 (`\2`)", text)
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(part if k % 2 else re.sub(r"<(?=[a-zA-Z/])", "&lt;", part) for k, part in enumerate(parts))


def pages() -> Iterator[tuple[str, str]]:
    yield "analyses.md", analyses()
    yield "ledgers.md", ledgers()
    yield "study-costs.md", study_costs()
    yield "notebooks.md", notebooks()
    yield "renamed.md", renamed()
    for name, path in COPIED.items():
        yield f"{name}.md", detached((ROOT / path).read_text(encoding="utf-8"))
    for package in PUBLIC:
        yield f"reference/{package}.md", page(package)


def write(app: Sphinx) -> None:
    for name, text in pages():
        path = OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
