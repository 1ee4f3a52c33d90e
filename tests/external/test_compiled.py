"""Compiled programs whose circuit is known: what the default search finds of it, in any basis and among distractors.

The edges that must be found are those whose single exact replacement moves some prompt's output, by a loop that shares
no code with the package (`tests.external.compiled`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from interp.causal.attribution import attribute_edges
from interp.causal.behaviour import resampled_pair
from interp.causal.circuits import find_circuit
from interp.causal.edge_effects import exact_edges
from interp.causal.given import compared, known_circuit
from interp.causal.metrics import metric_of
from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from tasks.program_files import of_lengths, read_program
from tests.external.compiled import Plain, area, distracted, moving_edges, turned

FOLDER = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "tracr"
NAMES = (
    "count_less_freq",
    "frac_prevs_causal",
    "hist",
    "pair_balance",
    "reverse",
    "shift_by_2",
    "sort_unique",
)
PADDED = (
    "count_less_freq",
    "sort_unique",
)  # answer otherwise where a prompt is filled up: one length alone is theirs
SOME = NAMES if os.environ.get("ALGOSCOPE_FULL") == "1" else ("frac_prevs_causal", "hist")
SEVERAL = [name for name in NAMES if name not in PADDED] if SOME == NAMES else ["shift_by_2"]
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="compiled programs: set ALGOSCOPE_DATA to the folder that holds tracr/"
)


def loaded(name, change=None):
    """The task, the model, its plain weights and settings, and the true circuit."""
    file = read_program(FOLDER / name)
    weights, settings = torch.load(FOLDER / name / "weights.pt", weights_only=True), dict(file.model)
    if change == "basis":
        weights = turned(weights, settings["d_model"])
    if change == "distractors":
        weights, settings = distracted(weights, settings, 20)
    model = build_model(TransformerConfig(**settings), file.task.interface, 0).eval()
    model.load_state_dict(weights)
    return file.task, model, weights, settings, known_circuit(FOLDER / name / "program.json")


def needed(task, weights, settings, edges):
    """Edges that move an output, on as many prompts as a search sees."""
    pairs = [resampled_pair(task, 0, 64, stream) for stream in ("circuit", "circuit, validation")]
    found = set()
    for pair in pairs:
        counted = torch.nn.functional.pad(pair.clean.defined, (1, 0)).double()
        found |= moving_edges(weights, settings, edges, pair.clean.inputs, pair.corrupt.inputs, counted)
    return found


@pytest.mark.parametrize("change", [None, "basis", "distractors"])
@pytest.mark.parametrize("name", SOME)
def test_no_edge_is_false_and_each_that_moves_an_output_is_found(name, change):
    task, model, weights, settings, known = loaded(name, change)
    with torch.no_grad():
        batch = task.every()
        assert (model(batch.inputs) - Plain(weights, settings).run(batch.inputs)[0]).abs().max() < 1e-4
    found = set(find_circuit(model, task).edges)
    rows = compared(found, known).set_index("metric")["value"]
    assert rows["edge precision"] == 1
    true = needed(task, weights, settings, known.edges)
    assert true
    assert true <= found


@pytest.mark.parametrize("name", SEVERAL)
def test_prompts_of_several_lengths_show_more_of_the_circuit(name):
    task, model, weights, settings, known = loaded(name)
    run = torch.no_grad()(model)
    several = of_lengths(task, range(3, max(task.lengths) + 1), run)
    found = set(find_circuit(model, several).edges)
    assert found <= known.edges
    assert needed(several, weights, settings, known.edges) <= found


def rankings(name):
    """Areas under the precision-recall curve of the edges that move an output: exact, EAP, EAP-IG, at random."""
    task, model, weights, settings, known = loaded(name)
    true = needed(task, weights, settings, known.edges)
    pair = resampled_pair(task, 0, 64)
    with torch.no_grad():
        measure = metric_of(task, pair, "squared_output_distance", clean_outputs=model(pair.clean.inputs))
        signed = metric_of(task, pair, "loss", clean_outputs=model(pair.clean.inputs))
    prompts = (model, pair.clean.inputs, pair.corrupt.inputs)
    exact = exact_edges(*prompts, measure).means()
    attributed = {steps: attribute_edges(*prompts, signed, ig_steps=steps) for steps in (0, 8)}
    source = torch.Generator().manual_seed(0)
    drawn = [
        area(dict(zip(exact, torch.rand(len(exact), generator=source).tolist(), strict=True)), true)
        for _ in range(50)
    ]
    sized = {steps: {e: abs(v) for e, v in scores.means().items()} for steps, scores in attributed.items()}
    return {
        "exact": area({e: v if v > 1e-9 else 0.0 for e, v in exact.items()}, true), "EAP": area(sized[0], true),
        "EAP-IG": area(sized[8], true), "random": sum(drawn) / len(drawn), "edges": len(exact), "true": len(true),
        "EAP-IG error": attributed[8].error,
    }  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_exact_effects_rank_the_edges_that_move_an_output_before_all_others(name):
    found = rankings(name)
    assert found["exact"] == 1
    assert found["random"] < 0.7
    if name == "hist":  # its loss falls within a thousandth of the way, which no midpoint meets
        assert found["EAP-IG error"] > 0.9
