"""Illusions planted in nets by hand: found, and not called used; counts over 100 seeds with ALGOSCOPE_FULL=1."""

from __future__ import annotations

import os

import pytest
import torch
from scipy.stats import binom

from interp.calibration.illusion_nets import turned, unused_iterate
from interp.calibration.illusions import CASES

torch.set_num_threads(1)
SEEDS = 100 if os.environ.get("ALGOSCOPE_FULL") == "1" else 4


@pytest.mark.parametrize("case", list(CASES))
def test_illusions_are_found_and_not_called_used(case, record_property):
    """Full counts: found in 90 of 100, wrongly used in at most 5; small ones: what these shares do not rule out."""
    planted, once = CASES[case]
    outcomes = [once(seed) for seed in range(SEEDS)]
    found, wrong = sum(o.found for o in outcomes), sum(o.wrongly_used for o in outcomes)
    naive = sum(o.naive for o in outcomes)
    record_property("trust", {
        "section": "illusions", "what": f"{case} ({planted})", "tried": SEEDS,
        "result": f"found {found}, wrongly used {wrong}", "remark": f"the plain instrument is wrong in {naive}",
    })  # fmt: skip
    assert found >= (90 if SEEDS == 100 else binom.ppf(0.05, SEEDS, 0.9))
    assert wrong <= (5 if SEEDS == 100 else binom.ppf(0.95, SEEDS, 0.05))
    if "used" not in case.split(": ")[1].split() and "needed" not in case:
        assert naive >= 0.9 * SEEDS, "an illusion has to deceive the plain instrument"


def test_turning_the_stream_changes_no_output():
    net = unused_iterate(0)
    batch = net.task.sample(0, "turn", 0, 8).double()
    with torch.no_grad():
        before = net.model(batch.inputs)
        turned(net.model, 5)
        assert torch.allclose(net.model(batch.inputs), before, atol=1e-12)
