"""Runs through edges among a few nodes: those of the whole edge graph with every other edge kept, layer by layer."""

import pytest
import torch

import interp
from interp.causal.among import RunsAmong
from interp.causal.attribution import attribute_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.metrics import custom, metric_of
from interp.causal.random_circuits import band_of, matched_circuit
from tasks import UserError
from tasks.base import Pair
from tests.external.adopting import theirs
from tests.interp.causal.test_hooked_edges import own

INDUCTION = {"kind": "induction", "vocabulary": 13, "length": 5, "candidates": 0}
KINDS = ("own", "Llama", "GPT-NeoX")  # ours; heads that share keys, and gates; attention and MLP side by side
SOME = ("L0H1", "L0.mlp_out", "L1H0", "L1.mlp_out")


@pytest.fixture(scope="module", params=KINDS)
def found(request):
    if request.param == "own":
        model, task = own()
    else:
        run = interp.adopt(theirs.drawn(theirs.KINDS[request.param]()), task=INDUCTION, quiet=True)
        model, task = run.model(), run.task
    return model, task, [task.sample(0, stream, 0, 4).inputs for stream in ("a", "b")]


def test_they_are_the_runs_of_the_edge_graph_with_all_other_edges_kept(found):
    model, task, prompts = found
    at = list(task.interface.output_positions)
    every, some = EdgeRuns(model, *prompts), RunsAmong(model, *prompts, SOME, at)
    assert set(some.known) < set(every.known)
    kept, gen = set(every.known) - some.known, torch.Generator().manual_seed(0)
    for share in (1.0, 0.0, 0.3, 0.9, 0.95, 0.97, 0.6):  # few changes start late, many at the first layer
        circuit = {edge for edge in some.order if torch.rand(1, generator=gen) < share}
        wanted, outputs = every.outputs(kept | circuit), some.outputs(circuit)
        assert (outputs - wanted)[:, at].abs().max() < 1e-4
    with torch.no_grad():
        assert (some.outputs(some.known) - model(prompts[0]))[:, at].abs().max() < 1e-4
        assert (some.outputs(()) - model(prompts[1]))[
            :, at
        ].abs().max() > 1e-3  # the kept edges carry clean values


def test_what_two_runs_share_is_not_run_again(found):
    model, _, prompts = found
    runs = RunsAmong(model, *prompts, SOME)
    runs.outputs(runs.known)
    begun = []
    model_run = model.run_with_hooks

    def counted(inputs, **settings):
        begun.append(settings.get("start_at_layer"))
        return model_run(inputs, **settings)

    model.run_with_hooks = counted
    try:
        runs.outputs(runs.known - {("L0.mlp_out", "L1.mlp_pre")})
        runs.outputs(runs.known - {("L1H0", "output")})
        runs.outputs(runs.known - {("L1H0", "output"), ("embed", "output")})
    finally:
        del model.run_with_hooks
    assert begun == [1, 1]  # the last one differs in what the output reads alone


def test_estimates_are_those_of_the_same_edges_in_the_whole_graph(found):
    model, task, prompts = found
    clean, other = (task.sample(0, stream, 0, 4) for stream in ("a", "b"))
    pair = Pair("resample", clean, other, torch.ones(prompts[0].shape[:2], dtype=torch.bool))
    metric = metric_of(task, pair, "loss")
    runs = RunsAmong(model, *prompts, SOME, task.interface.output_positions)
    few, every = runs.effects(runs.known, metric), attribute_edges(model, *prompts, metric)
    wanted = dict(zip(every.edges, every.values, strict=True))
    for edge, value in few.items():
        assert torch.allclose(value, wanted[edge], atol=1e-4, rtol=1e-3)


def test_estimates_in_a_circuit_sum_to_what_its_edges_do_together():
    """Integrated gradients: a mean over shares from 0 to 1."""
    model, task = own()
    prompts = [task.sample(0, stream, 0, 4).inputs for stream in ("a", "b")]
    at = list(task.interface.output_positions)
    weight = torch.randn(task.interface.d_out, generator=torch.Generator().manual_seed(1))
    metric = custom("some", lambda outputs: (outputs[:, at] @ weight.to(outputs)).sum(1), tuple(at))
    runs = RunsAmong(model, *prompts, SOME, at)
    circuit = runs.known - {("embed", "L0.mlp_pre"), ("L0H1", "L1H0.q")}
    shares = [(k + 0.5) / 200 for k in range(200)]
    total = torch.stack([sum(runs.effects(circuit, metric, share).values()) for share in shares]).mean(0)
    gap = metric(runs.outputs(())) - metric(runs.outputs(circuit))
    assert gap.abs().min() > 1
    assert (total - gap).abs().mean() < 0.02 * gap.abs().mean()


def test_names_that_are_no_nodes_and_edges_elsewhere_are_refused(found):
    model, _, prompts = found
    with pytest.raises(UserError, match="'embed' is no head and no MLP"):
        RunsAmong(model, *prompts, ["embed"])
    with pytest.raises(UserError, match="no edge among the chosen nodes"):
        RunsAmong(model, *prompts, SOME).outputs([("L0H0", "output")])


def test_random_circuits_have_as_many_edges_of_each_kind_in_each_third():
    every = [(f"L{i}.mlp_out", f"L{j}.mlp_pre") for i in range(9) for j in range(i + 1, 9)]
    every += [("embed", f"L{j}.mlp_pre") for j in range(9)] + [("L8.mlp_out", "output")]
    own, kind = every[::3], band_of(9)
    drawn = [matched_circuit(every, own, 0, i, kind) for i in range(20)]
    assert len(set(drawn)) > 15
    for other in drawn:
        assert sorted(map(str, map(kind, other))) == sorted(map(str, map(kind, own)))
