"""The picture of a circuit: its nodes by layer from bottom to top, edge width by ablation effect.

Positions are not drawn (the report's circuit view has them): a table of edges lists components only.
"""

from __future__ import annotations

import re

import pandas as pd

from interp.pictures.svg import COLOURS, INK, Canvas, Picture

RISE, STEP = 70, 74


def circuit(table: pd.DataFrame) -> Picture | None:
    """The circuit of the last checkpoint; None where there was no behaviour to explain."""
    rows = table[table["step"] == table["step"].max()]
    edges = rows[(rows["metric"] == "edge") & rows["value"].notna()]
    if edges.empty:
        return None
    edges = edges.assign(target=edges["receiver"].str.partition(".")[0])
    strongest = edges.groupby(["sender", "target"], sort=False)["value"].max().reset_index()
    places = _places([*strongest["sender"], *strongest["target"]])
    title = f"circuit at step {int(rows['step'].max()):,}: {len(edges)} edges{_faithful(rows)}"
    wide = max(7 * len(title), max(x for x, _ in places.values()) + 60)
    canvas = Canvas(wide, max(y for _, y in places.values()) + 40, title)
    canvas.text(10, 16, title, size=13)
    most = strongest["value"].abs().max()
    for row in strongest.itertuples():
        width = 0.6 + 5 * abs(float(row.value)) / most
        colour = COLOURS[0] if row.value >= 0 else COLOURS[1]
        ends = [places[str(row.sender)], places[str(row.target)]]
        canvas.line(ends, colour, width=width, says=f"{row.sender} to {row.target}: {row.value:.3g}")
    for name, (x, y) in places.items():
        half = 4 + 3.4 * len(name)
        canvas.box(x - half - 1, y - 11, 2 * half + 2, 22, INK)
        canvas.box(x - half, y - 10, 2 * half, 20, "#ffffff")
        canvas.text(x, y + 4, name, anchor="middle")
    return canvas.picture()


def _faithful(rows: pd.DataFrame) -> str:
    own = rows[(rows["metric"] == "faithfulness") & (rows["control"] == "none")]
    drawn = rows[(rows["metric"] == "faithfulness") & (rows["control"] == "random")]["value"]
    if own.empty or drawn.empty:
        return ""
    return (
        f", faithfulness {own['value'].iloc[0]:.2f} (random circuits of its size: at most {drawn.max():.2f})"
    )


def _places(names: list[str]) -> dict[str, tuple[float, float]]:
    """Centre of each node: the embedding at the bottom, a block's heads, then its MLP, the output at the top."""
    levels: dict[float, list[str]] = {}
    for name in dict.fromkeys(names):
        levels.setdefault(_level(name), []).append(name)
    widest = max(map(len, levels.values()))
    places = {}
    for row, level in enumerate(sorted(levels, reverse=True)):
        nodes = sorted(levels[level])
        left = (
            90 + STEP * (widest - len(nodes)) / 2 + (row % 3 - 1) * STEP / 3
        )  # no edge straight through a node
        for column, name in enumerate(nodes):
            places[name] = (left + column * STEP, 48.0 + row * RISE)
    return places


def _level(name: str) -> float:
    """Height of a node; anything unknown is placed between the last block and the output."""
    if name == "embed":
        return -1.0
    if name == "output":
        return 1e6
    found = re.match(r"L(\d+)(H?)", name)
    return 1e5 if found is None else int(found[1]) + (0.0 if found[2] else 0.5)
