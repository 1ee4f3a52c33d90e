"""Texts that users meet keep to the field's terms: help, captions, page, README, CONTRIBUTING, notebooks.

`AVOID` lists the words of this project's own making, each with what to write instead; `ALLOWED` the places where one
may stand, each with its reason. Identifiers in code are not texts: code spans and blocks are skipped, their comments
are not.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp.analysis.registry import entries
from interp.cli import COMMANDS
from interp.cli import run as cli

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "interp" / "report"
ROOMS = ("analysis", "cli", "config", "hooks", "importers", "io", "models", "run", "runs", "sweep", "train")
SPEAK = {"UserError", "ValueError", "Diverged", "refuse", "note"}
AVOID = {
    r"(?:every|each|one|per|single|all|several|of|the|these|which|its) reads\b": "output positions; hops",
    r"(?:every|each|one|per|a single|a) read\b(?! of| by| from)": "output position; hop",
    r"twins?": "untrained model; corrupt prompt",
    r"laws?": "distribution",
    r"beside": "compared with; baseline, control",
    r"floors?|minimum (?:achievable )?loss|minimum achievable": "Bayes risk",
    r"holds? the truth|held \d+%": "covers; coverage",
    r"(?:with|both|the two|have) ends|ends (?:of|at|that|to match)(?= )": "confidence limits",
    r"false alarms?": "false positives",
    r"(?:was|were|never|is) named": "identified",
    r"planted truths?": "planted ground truth",
    r"wired": "hand-constructed",
    r"decoys?": "distractor heads, distractors",
    r"lets? go(?: of)?": "without interventions",
    r"in force": "active",
    r"donors?": "source model",
    r"graft(?:s|ed)?": "head transplant",
    r"settle[sd]?": "resolve, validate, determine",
    r"told|tells?|said|says?": "report, state, distinguish",
    r"other prompts' (?:run|values)|(?:of|carry|carries) other prompts": "resample-ablated",
    r"(?:taken?|taking|takes) away": "ablated, pruned",
    r"(?:gradient|first-order|a) screen|screened": "attribution estimate",
    r"worth": "ablation effect",
    r"pays?": "attends with mass",
    r"looks?(?!-(?:up|ahead))(?! (?:for|up))|looking (?:at|ahead)": "attends",
    r"reads? ahead|read on": "attends to the successor",
    r"br(?:ings?|ought) back": "restores",
    r"arms?": "condition",
    r"anew": "recomputed, again",
    r"few (?:prompts )?carry": "heavy-tailed",
    r"surely": "significantly",
    r"for good": "sustained",
    r"(?:never |once )?came": "emerged; right-censored",
    r"(?:ours?|peers?) over|ours": "ratio to baseline; this project",
    r"maimed": "curriculum with one hop dropped",
    r"(?:go|goes|going|gone) on with|broken[- ]off|breaks? off": "resume; interrupted",
    r"mend(?:s|ed)?|culprits?": "fix; cause",
    r"(?:layer|net|model|readout|stream|site)s? (?:really )?knows?": "decodes, encodes, contains",
    r"probe swaps?": "interchange intervention on a probe direction",
    r"front door": "main interface",
}
ALLOWED = {
    ("clamp.py", "donor"): "a key of `train.clamps`, which enters the settings' hash",
    ("regression.py", "law='normal'"): "a setting of the task, which enters the settings' hash",
}


def _help(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    names = [name for group in COMMANDS.values() for name in group]
    for command in ([], *([name] for name in names), *(["import", kind] for kind in ("garg", "plain", "hf"))):
        assert cli([*command, "--help"]) == 0
        yield f"help: {' '.join(command) or 'interp'}", capsys.readouterr().out


def _captions() -> Iterator[tuple[str, str]]:
    for entry in entries():
        yield f"caption: {entry.name}", entry.caption


def _page() -> Iterator[tuple[str, str]]:
    for path in sorted((REPORT / "assets").glob("*.js")):
        yield path.name, _strings_of_script(path.read_text(encoding="utf-8"))
    for path in sorted((REPORT / "templates").glob("*.j2")):
        yield path.name, _text_of_template(path.read_text(encoding="utf-8"))
    rooms = (ROOT / "interp").rglob("*conclusion*.py")
    for path in sorted([*REPORT.glob("*.py"), *rooms, ROOT / "interp/causal/report_lines.py"]):
        yield path.name, _strings_of_module(path.read_text(encoding="utf-8"))


def _strings_of_script(code: str) -> str:
    """Strings that hold a space; comments and what stands between `${` and `}` are code."""
    code = re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", code, flags=re.S)
    found = re.findall(r'"([^"\n]*)"|`([^`]*)`', code)
    texts = [re.sub(r"\$\{[^}]*\}", "#", "".join(pair)) for pair in found]
    return "\n".join(text for text in texts if " " in text)


def _text_of_template(source: str) -> str:
    """Text between tags, labels, and strings handed to macros."""
    labels = re.findall(r'(?:aria-label|title)="([^"]*)"', source)
    tags = re.findall(r"\{[{%#].*?[%}#]\}", source, flags=re.S)
    macros = [text for tag in tags for text in re.findall(r'"([^"]* [^"]*)"', tag)]
    plain = re.sub(r"\{[{%#].*?[%}#]\}", " ", source, flags=re.S)
    return "\n".join([re.sub(r"<[^>]*>", " ", plain), *labels, *macros])


def _strings_of_module(code: str) -> str:
    """String constants with a space that are no docstrings."""
    tree = ast.parse(code)
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
    ]
    return "\n".join(text for text in texts if " " in text)


def _messages() -> Iterator[tuple[str, str]]:
    """Errors and notes of the rooms that users meet first."""
    folders = [ROOT / "tasks", *(ROOT / "interp" / room for room in ROOMS)]
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) in SPEAK
            ):
                parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                yield path.name, "#".join(part for part in parts if isinstance(part, str))


def _documents() -> Iterator[tuple[str, str]]:
    pages = [
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(path.parts)
    ]
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages):
        yield path.name, _prose(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        yield path.name, _prose("\n\n".join(text))


def _prose(markdown: str) -> str:
    """Markdown without code; comments in code blocks stay."""
    comments = "\n".join(
        comment
        for block in re.findall(r"```.*?```", markdown, flags=re.S)
        for comment in re.findall(r"#(.*)", block)
    )
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", markdown, flags=re.S) + "\n" + comments


def _offences(texts: Iterator[tuple[str, str]]) -> list[str]:
    found = []
    for where, text in texts:
        text = " ".join(text.split())
        for place, phrase in ALLOWED:
            if place == where:
                text = text.replace(phrase, " ")
        for word, instead in AVOID.items():
            for match in re.finditer(rf"(?<![\w-])(?:{word})(?![\w-])", text, flags=re.I):
                around = text[max(0, match.start() - 40) : match.end() + 40]
                found.append(f"{where}: {match[0]!r} (write: {instead}) in '...{around}...'")
    return found


def test_help_keeps_to_the_vocabulary(capsys) -> None:
    offences = _offences(_help(capsys))
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize(
    "texts", [_captions, _page, _messages, _documents], ids=["captions", "page", "messages", "documents"]
)
def test_texts_keep_to_the_vocabulary(texts) -> None:
    found = list(texts())
    assert sum(len(text) for _, text in found) > 1000, "the texts were not found"
    offences = _offences(iter(found))
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize(
    "text",
    [
        "accuracy of every read, beside chance",
        "the untrained twin pays .3",
        "prompts of another law",
        "go on with a run that was broken off",
        "false alarms; decoy heads; clamps in force",
    ],
)
def test_the_old_words_are_found(text) -> None:
    assert _offences(iter([("here", text)]))


@pytest.mark.parametrize(
    "text",
    ["read by a readout", "look-up and look-ahead heads", "beta floors_x", "armchair", "what the head reads"],
)
def test_other_words_are_left_alone(text) -> None:
    assert not _offences(iter([("here", text)]))
