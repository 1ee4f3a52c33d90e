"""Size and power of the tests of a circuit, over nets by hand: 300 nets each with full counts, 2 without."""

from __future__ import annotations

import os

import pytest
import torch

from interp.calibration.circuit_sizes import CASES, boundary_size, measured
from probes.stats import share

torch.set_num_threads(1)
FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
NETS = 300 if FULL else 2
LEAST_POWER = {"power": 0.6, "power, gain 1": 0.7}  # a number half as large gets past more often


@pytest.mark.parametrize("kind", ["size", "power"])
def test_each_test_keeps_its_size_and_has_power(kind, record_property):
    table = measured(NETS, 128 if FULL else 64, [kind])
    assert len(table) == sum(what.startswith(kind) for _, what in CASES)
    for row in table.itertuples():
        found = share(round(row.value * NETS), NETS, level=0.999)
        record_property("trust", {
            "section": "tests of a circuit", "what": f"{row.test}: {row.case}", "tried": NETS,
            "result": f"rejected in {row.value:.1%} [{row.ci_low:.1%}, {row.ci_high:.1%}]",
        })  # fmt: skip
        least = LEAST_POWER.get(row.case, 0.0) if FULL else 0.0
        most = 0.08 if kind == "size" else 1.0
        assert least <= row.value
        assert (0.02 <= row.value <= most) if FULL and kind == "size" else found.low <= most


def test_the_exact_size_of_equivalence_at_the_edge_of_its_null(record_property):
    sizes = {prompts: boundary_size(prompts) for prompts in (64, 128, 256)}
    record_property("trust", {
        "section": "tests of a circuit", "what": "equivalence: exact size where P(circuit better) = 0.6",
        "tried": len(sizes), "result": "; ".join(f"{n} prompts: {size:.1%}" for n, size in sizes.items()),
    })  # fmt: skip
    assert all(0.02 <= size <= 0.08 for size in sizes.values())
