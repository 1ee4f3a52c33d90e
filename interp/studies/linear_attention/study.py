"""Study: linear attention is (maybe) all you need to understand transformer optimisation (Ahn et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from interp.studies.context import Report, StudyContext
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_attention import rows_learned, rows_noise, rows_optimisers
from interp.studies.linear_attention.claims import CLAIMS
from interp.studies.linear_attention.runs import NAME, SEEDS, SIZES

PARTS = (
    rows_learned.lemma,
    rows_learned.deep,
    rows_optimisers.gaps,
    rows_optimisers.conditions,
    rows_optimisers.paths,
    rows_noise.tails,
    rows_optimisers.depth,
    rows_optimisers.softmax,
    rows_optimisers.features,
)


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused.

    `seeds` default to 9, and to more in conditions whose criteria need more.
    """
    chosen = tuple(range(SEEDS[scale])) if seeds is None else tuple(seeds)
    sizes = SIZES[scale]
    if seeds is not None:
        sizes = replace(sizes, wide=len(chosen), few=len(chosen), noisy=len(chosen))
    study = StudyContext(NAME, scale, Path(out), chosen, report, sizes, CLAIMS)
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__)
        found += part(study)
    page = study.out / f"figures-{scale}.html"
    write_page(page, "Shallow linear transformers: what is learned, and how", study.parts)
    return study.ledger(found)
