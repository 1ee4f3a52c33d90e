"""The words of a page, each in one line where it stands: relations, pairs, controls, reference levels, blank cells.

Owns the meanings of the names that shipped tasks give to relations and pairs; what a task of one's own names is said
to be the task's. Reasons for a level (why chance is 1/16) are the task's own (`tasks.Level.source`), and which output
positions have nothing to learn is read from the levels. Words only: no number here is a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from interp.pictures.labels import relation_label
from interp.report.model import RunReport

Term = tuple[str, str]
RELATIONS = (
    (r"query -> link_(\d+)", "from the query to link {0} of its chain, the pair that answers hop {0}"),
    (r"link_(\d+) -> link_(\d+)", "from link {0} of the queried chain to its link {1}"),
    (r"rival link -> next", "from a link of a chain that is not asked for to that chain's next link"),
    (r"rival link -> previous", "from a link of a chain that is not asked for to the link before it"),
    (r"value -> key", "from the value of a link to the key it belongs to"),
    (r"query -> name", "from the end of the question to the name that it asks about"),
    (r"previous token", "from every token to the one before it"),
    (r"duplicate token", "from a token to its earlier copies"),
    (r"induction", "from a token to what followed its earlier copies"),
    (
        r"follows the same (\w+)",
        "from a position to what followed earlier occurrences of the same {0} as there",
    ),
    (r"start token", "from every token to the first one"),
    (r"hop token", "from every token to the token that announces how many hops are asked"),
    (r"find\^(\d+)", "from every token to the place where its answer after {0} hops stands"),
    (r"y_i -> x_i", "from the label of an example to its own input"),
    (r"query -> examples", "from the last input to all examples before it"),
    (r"query -> x", "from the last input to the inputs of the examples"),
    (r"query -> y", "from the last input to the labels of the examples"),
    (r"x -> earlier (x|y)", "from every input to the {0} of earlier examples"),
)
PAIRS = (
    (r"swap-hop-(\d+)", "hop {0} of the queried chain and of another one trade their values"),
    (r"swap-query", "the query asks for another chain"),
    (r"replace-transition", "one transition out of the last symbol goes elsewhere"),
    (
        r"swap-row",
        "after every earlier occurrence of the last symbol two of the other symbols are exchanged",
    ),
    (r"replace-w", "all labels are of another function"),
    (r"swap-example", "one example is replaced by another of the same function"),
    (r"replace-query", "the last input is another one"),
    (r"negate-w", "every label has its sign turned"),
    (r"hop-token", "another number of hops is asked for"),
    (r"first-half", "the first half of the letters is drawn again"),
    (r"rebind", "one token on the way to the answer becomes another one, and the answer with it"),
    (r"other-copies", "all showings but the last are of another word, so that nothing is repeated"),
)
CONTROLS = {
    "untrained": "the same measurement on this model before training: what nobody had to learn",
    "shuffled": "the same readout fitted to shuffled targets: what a fit finds where nothing is to be found",
    "uniform": "attention spread evenly over the keys that the mask allows",
    "zero": "the error of always predicting 0",
}
MATCHES = {
    "SimE": "similarity of errors: cosine between both errors over a prompt's output positions; 1: the same. There is"
    " no chance level: predicting 0 scores high",
    "SimW": "similarity of induced weights: mean cosine over output positions; 1: one direction, 0: unrelated",
    "relative L2": "distance of both predictions over the size of the readout's; 0: the same, 1: predicting 0",
}
JUDGED = (
    (
        "share of the behaviour",
        "1: as much as the whole model; 0: as little as with every edge resample-ablated",
    ),
    ("matched random circuits", "as many edges between the same layers and slots, drawn at random"),
    ("completeness", "1: nothing of the behaviour is left outside the circuit"),
    ("minimality", "what is lost with the circuit's weakest edge; 0 or less: that edge was not needed"),
)
EMERGED = (
    (
        "emerged",
        "the curve crossed its threshold and stayed: half-way between chance and 1 for an accuracy, between uniform"
        " attention and 1 for a head; half of its own fall for a loss",
    ),
    ("right-censored", "not emerged by the last checkpoint: the onset is later, or never"),
)
UNTRAINED_FALL = (
    "Bayes risk equals chance there: the prompt holds nothing to learn from. A loss can fall there only while the"
    " untrained model's outputs are off, and an onset there dates that"
)


def terms(report: RunReport) -> dict[str, list[Term]]:
    """The words of each section that this report's tables use, with their meanings; sections without any left out."""
    found = {
        "learning": _levels(report),
        "patching": _patching(report.table("patching")),
        "heads": [*_relations(report.table("heads")), *_controls(report.table("heads"))],
        "emergence": list(EMERGED) if report.table("emergence") is not None else [],
        "probes": _controls(report.table("probes")),
        "faithfulness": list(JUDGED) if report.table("faithfulness") is not None else [],
        "algorithms": _matches(report.table("algorithms")),
    }
    return {section: words for section, words in found.items() if words}


def meaning(name: str, known: Sequence[tuple[str, str]]) -> str:
    """What a name stands for; names that no shipped task gives are the task's own.

    >>> meaning("query -> link_2", RELATIONS)
    'from the query to link 2 of its chain, the pair that answers hop 2'
    """
    for pattern, text in known:
        if match := re.fullmatch(pattern, name):
            return text.format(*match.groups())
    return "as the run's own task defines it"


def _levels(report: RunReport) -> list[Term]:
    table = report.table("levels")
    if table is None:
        return []
    found = []
    for level, name, what in (
        ("chance", "chance", "the best guess that ignores the prompt's examples"),
        ("bayes_risk", "Bayes risk", "the smallest expected loss that any predictor can reach"),
    ):
        rows = table[table["level"] == level]
        if len(rows):
            why = f" ({report.reasons[level]})" if report.reasons.get(level) else ""
            found.append((name, f"{what}{why}; here {_values(rows)}"))
    if found and found[-1][0] == "Bayes risk":
        found.append(("below the Bayes risk", "a measured loss lies there by the draw of prompts alone"))
    empty = _nothing_to_learn(table)
    return [*found, *([(_few(empty), UNTRAINED_FALL)] if empty else [])]


def _values(rows: pd.DataFrame) -> str:
    """Every level with the output positions that share it; a range where they are many."""
    shared = {
        f"{value:.3g}": list(own["position"].astype(str)) for value, own in rows.groupby("value", sort=False)
    }
    if len(shared) == 1:
        return next(iter(shared))
    if len(shared) > 4:
        return f"from {rows['value'].max():.3g} to {rows['value'].min():.3g}"
    return ", ".join(f"{value} for {_few(positions)}" for value, positions in shared.items())


def _nothing_to_learn(table: pd.DataFrame) -> list[str]:
    """Output positions whose Bayes risk is no smaller than chance, both losses on one scale."""
    scale = table.assign(metric=table["metric"].str.replace(r"^loss / .*", "loss", regex=True))
    levels = scale.pivot_table(index=["metric", "position"], columns="level", values="value", sort=False)
    if not {"chance", "bayes_risk"} <= set(levels.columns):
        return []
    same = levels[levels["bayes_risk"] >= levels["chance"] - 1e-9]
    return [str(position) for _, position in same.index]


def _few(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _relations(table: pd.DataFrame | None) -> list[Term]:
    if table is None:
        return []
    return [(relation_label(name), meaning(name, RELATIONS)) for name in _own(table)]


def _own(table: pd.DataFrame) -> list[str]:
    own = table[table["control"] == "none"] if "control" in table else table
    return [str(name) for name in dict.fromkeys(own["metric"])]


def _controls(table: pd.DataFrame | None) -> list[Term]:
    if table is None:
        return []
    there: Iterable[str] = dict.fromkeys(table["control"].dropna()) if "control" in table else ()
    shown = [(_named(name), CONTROLS[name]) for name in there if name in CONTROLS]
    return [*shown, ("a blank cell", "not measured at that checkpoint")]


def _named(control: str) -> str:
    """A control as the page's script names it (`words.js`)."""
    return {"untrained": "untrained model", "shuffled": "shuffled targets", "uniform": "uniform attention"}.get(
        control, f"{control} predictor"
    )  # fmt: skip


def _patching(table: pd.DataFrame | None) -> list[Term]:
    if table is None:
        return []
    pairs = [
        (str(pair), f"the corrupt prompt: {meaning(str(pair), PAIRS)}")
        for pair in dict.fromkeys(table["pair"])
    ]
    return [
        *pairs,
        ("a blank cell", "its 95% CI includes 0: no effect was shown (the readout has the number)"),
    ]


def _matches(table: pd.DataFrame | None) -> list[Term]:
    if table is None:
        return []
    return [(name, text) for name, text in MATCHES.items() if (table["metric"] == name).any()]
