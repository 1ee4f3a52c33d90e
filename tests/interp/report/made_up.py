"""Parts of made-up runs for pages: curves that rise, attention, patches, circuits, weights, readouts of algorithms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from interp.report.model import DrawnAttention, DrawnCircuit, DrawnLink, Fact, Node


def rise(step: np.ndarray | int, middle: float, width: float = 220.0) -> np.ndarray:
    return 1 / (1 + np.exp(-(np.asarray(step, dtype=float) - middle) / width))


def checkpoints(count: int, last: int) -> tuple[int, ...]:
    """A third of them log-spaced early, the rest evenly spaced."""
    early = np.geomspace(4, last / 8, count // 3).astype(int)
    late = np.linspace(last / 7, last, count - 1 - len(early)).astype(int)
    return tuple(int(s) for s in [0, *early, *late])


def facts(task: str, optimiser: str) -> tuple[Fact, ...]:
    return (
        Fact("Run", "task", task),
        Fact("Run", "command", "interp train retrieval --out runs/demo/retrieval --seed 0"),
        Fact("Run", "seeds", "init 0, data 0"),
        Fact("Model", "shape", "3 layers, 4 heads, width 64"),
        Fact("Optimiser", "name", optimiser),
        Fact("Optimiser", "learning rate", "0.02"),
        Fact("Versions", "algoscope", "0.1.0"),
        Fact("Versions", "torch", "2.13.0+cpu"),
        Fact("Hashes", "config", "blake2b:9f3c1c77d04ab6de2a51"),
        Fact("Hashes", "last weights", "blake2b:0b9d2f8872c10a4e55f3"),
    )


def circuit(steps: tuple[int, ...], tokens: list[str]) -> DrawnCircuit:
    """Three heads in a row carry the answer, one works against it, one does nothing."""
    last = len(tokens) - 1
    places = [min(p, last - 1) for p in (5, 17, 30)]
    nodes = [Node(f"link {k + 1}", "token", p) for k, p in enumerate(places)]
    chain = [
        Node("L0H1", "head", last, 0, 1),
        Node("L1H3", "head", last, 1, 3),
        Node("L2H0", "head", last, 2, 0),
    ]
    others = [
        Node("L1H2", "head", last, 1, 2),
        Node("L2H3", "head", last, 2, 3),
        Node("answer", "output", last),
    ]
    rows = []
    for s in steps:
        up = [float(rise(s, m)) for m in (650, 1400, 2500)]
        effects = [(f"link {k + 1}", chain[k].name, 0.9 * up[k]) for k in range(3)]
        effects += [
            ("L0H1", "L1H3", 0.8 * up[1]),
            ("L1H3", "L2H0", 0.8 * up[2]),
            ("L2H0", "answer", 0.95 * up[2]),
        ]
        effects += [("L1H2", "answer", -0.25 * up[1]), ("L2H3", "answer", 0.01)]
        rows += [
            {"source": a, "target": b, "step": s, "value": v, "ci_low": v - 0.04, "ci_high": v + 0.04}
            for a, b, v in effects
        ]
    return DrawnCircuit(
        tuple(tokens), (*nodes, *chain, *others), pd.DataFrame(rows), "share of the logit difference"
    )


def softmax_attention(rng: np.random.Generator, steps: tuple[int, ...], tokens: list[str]) -> DrawnAttention:
    n = len(tokens)
    logits = rng.standard_normal((1, 3, 4, n, n)) + 0.1 * rng.standard_normal((len(steps), 3, 4, n, n))
    links = [(0, 1, 650, 5), (1, 3, 1400, 17), (2, 0, 2500, 30)]
    for layer, head, middle, source in links:
        logits[:, layer, head, n - 1, min(source, n - 1)] += 9 * rise(np.array(steps), middle)
        logits[:, layer, head, np.arange(1, n), np.arange(n - 1)] += (
            6 * rise(np.array(steps), middle)[:, None]
        )
    logits = np.where(np.tril(np.ones((n, n), dtype=bool)), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return DrawnAttention(
        name="prompt 1",
        tokens=tuple(tokens),
        steps=steps,
        pattern=(weights / weights.sum(-1, keepdims=True)).astype(np.float32),
        links=tuple(DrawnLink(f"hop {k + 1}", n - 1, min(s, n - 1)) for k, (_, _, _, s) in enumerate(links)),
        note="The last row is the query: a head that carries a hop looks from there at the token of that hop.",
    )


def near(value: float, by: float = 0.05) -> dict[str, float]:
    return {"value": value, "ci_low": value - by, "ci_high": value + by}


def patching(steps: tuple[int, ...], tokens: list[str]) -> pd.DataFrame:
    """L1H3 and the last position bring the answer back once hop 2 is there; everything else includes zero."""
    last = len(tokens) - 1
    cells = [("head outputs", layer, f"H{h}", (layer, h) == (1, 3)) for layer in range(3) for h in range(4)]
    cells += [
        ("residual stream", layer, f"{p} · {token}", p == last)
        for layer in range(3)
        for p, token in enumerate(tokens)
    ]
    return pd.DataFrame(
        [
            {"step": s, "grid": grid, "pair": "swap-hop-2", "layer": layer, "column": column}
            | near(float(0.9 * rise(s, 1400)) if carries else 0.0)
            for s, (grid, layer, column, carries) in product(steps, cells)
        ]
    )


def faithfulness() -> pd.DataFrame:
    told = [
        ("none", 0.95),
        ("full", 1.0),
        ("empty", 0.0),
        ("random", 0.02),
        ("random", 0.1),
        ("random", 0.07),
    ]
    return pd.DataFrame(
        [{"metric": "faithfulness", "control": c, "edges": 8} | near(v, 0.03) for c, v in told]
        + [{"metric": "completeness", "control": "none", "edges": 8} | near(0.9)]
        + [
            {"metric": "faithfulness", "control": "curve", "edges": e, "heads": h, "note": n} | near(v, 0.03)
            for e, h, v, n in ((20, 6, 1.0, ""), (8, 4, 0.95, "chosen"), (4, 2, 0.6, ""))
        ]
    )


def weights(steps: tuple[int, ...]) -> pd.DataFrame:
    """Positive shares that grow with the head's number; every later head reads L0H1 by its keys."""
    rows = []
    for s, layer, head in product(steps, range(3), range(4)):
        place = {"step": s, "layer": layer, "head": head, "control": "none", "sender": ""}
        rows += [{**place, "metric": f"{name} positive share", "value": 0.1 * head} for name in ("OV", "QK")]
        if layer:
            rows.append(
                {**place, "metric": "K-composition", "value": 0.4, "sender": "L0H1", "random_high": 0.13}
            )
    return pd.DataFrame(rows)


def algorithms(step: int) -> pd.DataFrame:
    """Block l is nearest to l + 1 steps; its filter is gradient descent's or ridge's."""
    rows = []
    for i, family in product(range(4), ("gd", "newton")):
        shared = {"site": f"blocks.{i}.hook_resid_post", "position": "all", "algorithm": family}
        rows += [
            {**shared, "metric": "SimE", "k": k, "value": 1 - 0.05 * abs(k - i - 1)} for k in range(1, 7)
        ]
        for name, value in (("best step", i + 1), ("band low", max(i, 1)), ("band high", i + 2)):
            rows.append({**shared, "metric": name, "k": i + 1, "value": value})
    for i in range(4):
        told = (
            ("none", "", "no better than control: zero") if i == 0 else ("indistinguishable", "gd, ridge", "")
        )
        shared = {"site": f"blocks.{i}.hook_resid_post", "position": "t=5", "metric": "filter verdict"}
        said = dict(zip(("verdict", "families", "note"), told, strict=True))
        free = {"free_misfit": 0.003, "free_low": 0.002, "free_high": 0.004}
        rows.append({**shared, "algorithm": told[0], **said, **(near(0.004) | free if i else {})})
    slope = {"site": "all blocks", "position": "all", "metric": "slope of best step", "algorithm": "gd"}
    return pd.DataFrame([*rows, slope | near(1.0)]).assign(step=step, control="none")


def filters(step: int) -> pd.DataFrame:
    at = np.array([0.1, 0.5, 1.0, 3.0, 8.0])
    descent = 1 - (1 - 0.1 * at) ** 8
    curves = {"measured": descent, "gd": descent, "ridge": at / (at + 1)}
    rows = [
        {"algorithm": name, "eigenvalue": x, "member": f"{name}(8)", "misfit": 0.04} | near(float(y))
        for name, curve in curves.items()
        for x, y in zip(at, curve, strict=True)
    ]
    return pd.DataFrame(rows).assign(step=step, site="blocks.3.hook_resid_post", control="none")
