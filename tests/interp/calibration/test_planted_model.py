"""From activations to verdicts: a pseudo-model whose layer l carries a known iterate."""

from __future__ import annotations

import pytest
import torch

from interp.calibration import planted_model as planted
from probes import matching
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.matching import Match
from probes.readout import Readout, ReadoutConfig
from probes.targets import regression_targets

D, N, WIDTH = 5, 20, 16
CONTEXTS = tuple(range(N + 1))
READS = [f"x {t + 1}" for t in CONTEXTS]
LADDER = tuple(range(1, 13))
NEWTON = [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in LADDER]
PLANTED = (2, 5, 8)
DIRECTIONS = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
CONFIG = ReadoutConfig(per_position=False, normalised=False, draws=200, pools={"t<=d": tuple(range(D + 1))})


def stream(split, count=400):
    gen = torch.Generator().manual_seed({"fit": 1, "validation": 2, "test": 3}[split])
    prompts = planted.prompts([1.0] * D, N, count, 1, 0.0, gen)
    problems = Problems.of(prompts.x, prompts.y, CONTEXTS)
    held = planted.activations(problems, [NEWTON[k - 1] for k in PLANTED], DIRECTIONS, 0.01, gen)
    twin = {site: torch.randn(x.shape, generator=gen, dtype=torch.float64) for site, x in held.items()}
    return prompts, problems, held, twin


@pytest.fixture(scope="module")
def probed():
    readout = Readout(READS, ["label"], CONFIG)
    for split in ("fit", "validation", "test"):
        prompts, problems, held, twin = stream(split)
        readout.add(split, held, prompts.y[..., None], twin)
    layers = torch.stack([readout.predict(site, x)[..., 0] for site, x in held.items()])
    untrained = torch.stack([readout.predict(s, x, control="untrained")[..., 0] for s, x in twin.items()])
    return {
        "table": readout.table(),
        "layers": layers,
        "untrained": untrained,
        "problems": problems,
        "y": prompts.y,
    }


def test_label_error_falls_with_the_layer_and_the_twin_reads_nothing(probed):
    table = probed["table"]
    r2 = table[(table.metric == "r2") & (table.position == "all") & (table.readout == "all")]
    own = r2[r2.control == "none"].set_index("site").value.tolist()
    assert own == sorted(own)
    assert own[-1] > 0.7
    assert (r2[r2.control == "untrained"].ci_low < 0.01).all()
    assert (r2[r2.control == "untrained"].value < 0.05).all()


def test_readout_of_the_label_matches_the_planted_steps(probed):
    steps = algorithms.predictions(probed["problems"], NEWTON)
    match = Match.of(matching.similarity_of_errors(probed["layers"], steps, probed["y"]), LADDER, 200)
    for k, best, band in zip(PLANTED, match.best, match.bands, strict=True):
        assert (
            k in band or abs(best - k) <= 1
        )  # the readout's gain is fitted to the label, not to the iterate


def test_untrained_twin_matches_nothing_but_the_zero_predictor(probed):
    steps = algorithms.predictions(probed["problems"], [Algorithm("zero"), *NEWTON])
    near = Match.of(matching.similarity_of_errors(probed["untrained"], steps, probed["y"]), (0, *LADDER), 200)
    assert near.best == [0, 0, 0]


def test_targets_are_what_their_names_say():
    prompts, problems, _, _ = stream("fit", 20)
    w = torch.randn(20, D, dtype=torch.float64)
    names, values = regression_targets(prompts.x, prompts.y, w, CONTEXTS, tuple(NEWTON[:2]))
    assert values.shape == (20, N + 1, len(names))
    column = dict(zip(names, values.unbind(-1), strict=True))
    assert torch.equal(column["label"], prompts.y)
    assert torch.allclose(column[NEWTON[1].label], algorithms.predictions(problems, [NEWTON[1]])[0])
    assert torch.equal(column["w 3"], w[:, 3, None].expand(-1, N + 1))
    x, y = prompts.x[4, :7], prompts.y[4, :7]
    assert torch.allclose(column["X'y 2"][4, 7], (x.T @ y)[2] / 7)
    spectrum = torch.linalg.eigvalsh(x.T @ x) / 7
    assert torch.allclose(torch.stack([column[f"eigenvalue {i}"][4, 7] for i in range(D)]), spectrum)
    assert float(column["X'y 0"][:, 0].abs().max()) == 0
