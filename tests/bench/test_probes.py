from __future__ import annotations

import dataclasses

import torch

from tests.bench import probes, readouts
from tests.bench.readouts import QUICK


def test_rows_compare_the_same_work():
    rows = {row.name: row for row in readouts.readouts(dataclasses.replace(QUICK, width=16, prompts=400))}
    assert rows["weights at one strength: largest difference"].project < 1e-6
    assert rows["chosen strength: largest difference"].project <= 1
    for row in rows.values():
        assert row.baseline == 0 or abs(row.ratio * row.project - row.baseline) <= 1e-9 * row.baseline
        assert row.n >= 1


def test_published_protocol_multiplies_measured_steps():
    calls = []

    def forward(prompts):
        calls.append(prompts)
        return torch.zeros(prompts, 4, QUICK.width)

    row = probes.published_protocol(forward, 1.0, QUICK, steps=3)
    assert calls == [64] * 4 + [QUICK.batch]
    assert row.n == 3
    assert row.project > 1.0
    assert row.baseline > 0


def test_the_closed_form_is_no_worse_than_adam():
    row = probes.held_out_error(dataclasses.replace(QUICK, prompts=4000), steps=500)
    assert row.project <= row.baseline
    assert row.n == 500
