"""Readouts of w, X'y, the spectrum and iterates: found where they were planted, nowhere else; prompts of other laws."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from interp.cli import target_tables
from interp.config.run import configure
from interp.models import build_model
from interp.models.resized import resized
from interp.readouts.algorithms import AlgorithmMatch
from interp.readouts.iterates import FAMILIES, Posed
from interp.readouts.readouts import Readouts
from interp.readouts.shift import shifted
from interp.readouts.target_readouts import TARGETS, TargetReadouts
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.targets import regression_targets
from tasks import UserError
from tasks.regression import InContextRegression
from tasks.retrieval import MultiHopRetrieval

D, N = 3, 8
TASK = InContextRegression(d=D, n=N)
SPLIT = {"chunks": 4, "validation_chunks": 1, "test_chunks": 1}
STEP = Algorithm("newton", 5, "norm", {"alpha": 1.0})
EMBED, HELD, OTHER = "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"


class Pseudo:
    """A stand-in for a model: block 0's stream holds chosen quantities at every x, the others hold noise."""

    class config:
        n_layers = 2

    interface = InContextRegression(d=D, n=2 * N).interface  # it runs prompts of any length

    def __init__(self, quantities, noise=0.02):
        self.quantities, self.noise = quantities, noise
        self.mix = torch.randn(64, 24, generator=torch.Generator().manual_seed(3)).double()

    def run_with_cache(self, inputs, names_filter):
        gen = torch.Generator().manual_seed(len(inputs))
        stream = {name: torch.randn(*inputs.shape[:2], 24, generator=gen).double() for name in names_filter}
        values = self.quantities(inputs[:, 0::2], inputs[:, 1::2, 0])
        stream[HELD] *= self.noise
        stream[HELD][:, 0::2] += values @ self.mix[: values.shape[-1]]
        return None, stream


def iterate(x, y):
    problems = Problems.of(x, y, range(x.shape[1]))
    return algorithms.predictions(problems, [STEP])[0][..., None]


def vectors(x, y):
    """X'y / t and the eigenvalues of X'X / t."""
    y = torch.cat([y, y[:, :1]], 1)
    names, values = regression_targets(x, y, torch.zeros(len(x), D), tuple(range(x.shape[1])))
    return values[..., [i for i, name in enumerate(names) if name.startswith(("X'y", "eigen"))]]


def measure(analysis, model, task, untrained=None):
    accumulator = analysis.accumulator(model, task, untrained)
    for chunk in range(analysis.chunks):
        asked = analysis.distribution(task, chunk)
        batch = asked.sample(0, "analysis", chunk, 256).double()
        _, cache = model.run_with_cache(batch.inputs, names_filter=analysis.hooks(model))
        accumulator.add(chunk, batch, torch.zeros(256, asked.interface.n_ctx, 1), cache)
    return accumulator


def r2(table, site, control="none", position="all"):
    rows = table[(table["metric"] == "r2") & (table["site"] == site) & (table["control"] == control)]
    return rows[(rows["position"] == position) & (rows["readout"] == position)].set_index("target")["value"]


def test_the_planted_step_is_read_best_and_only_where_it_is():
    analysis = TargetReadouts(targets=("label", "newton"), **SPLIT)
    accumulator = measure(analysis, Pseudo(iterate), TASK)
    table = accumulator.table()
    found = r2(table, HELD).drop("label")
    assert found["newton(5)"] > 0.99
    assert (accumulator.ladders[0].k, accumulator.ladders[0].members[4].label) == (
        tuple(range(1, 25)),
        STEP.label,
    )
    assert found.idxmax() == "newton(5)"
    assert found["newton(1)"] < 0.95
    assert r2(table, OTHER).max() < 0.05
    notes = table[(table["site"] == OTHER) & (table["control"] == "none") & (table["metric"] == "r2")]["note"]
    assert notes.str.contains("no better than control").mean() > 0.9
    shown = target_tables.by_site(_pooled(table).assign(step=0))
    assert shown.set_index("target").loc["newton", "L0"].endswith("@5")
    assert shown.set_index("target").loc["newton", "L1"].endswith("(-)")


def _pooled(table):
    return table[(table["metric"] == "r2") & (table["position"] == "all") & (table["readout"] == "all")]


def test_vectors_are_read_coordinate_by_coordinate():
    model, settings = Pseudo(vectors), TargetReadouts(targets=("w", "xy", "spectrum"), **SPLIT)
    untrained = measure(settings, Pseudo(lambda x, y: torch.zeros(*x.shape[:2], 1).double()), TASK)
    table = measure(settings, model, TASK, untrained).table()
    late = r2(table, HELD, position="t>d")
    assert late[[f"X'y {i}" for i in range(D)]].min() > 0.97
    assert late[[f"eigenvalue {i}" for i in range(D)]].min() > 0.97
    w = late[[f"w {i}" for i in range(D)]]
    assert 0.3 < w.max() < 0.95, "X'y says much of w where S is near a multiple of I, and not all"
    assert r2(table, HELD, "shuffled").max() < 0.05
    assert r2(table, HELD, "untrained").max() < 0.05
    lines = target_tables.by_step(_pooled(table)[lambda t: t["site"] == HELD].assign(step=7))
    assert list(lines.columns) == ["step", "w", "X'y", "spectrum"]
    assert lines["step"].tolist() == [7, "shuffled", "untrained"]


@pytest.mark.parametrize(
    "law",
    [
        {"noise": 0.3},
        {"noise": 0.0},
        {"noise": 0.3, "kappa": 10.0, "basis": "fixed", "prior": "inverse-covariance"},
    ],
)
def test_bayes_is_the_answer_of_the_task(law):
    task = InContextRegression(d=D, n=N, weight_scale=1.5, **law)
    batch = task.sample(0, "test", 0, 32).double()
    exact = torch.einsum("pnd,pd->pn", batch.x, batch.w)  # float32 labels of a plane lie a little off it
    batch = dataclasses.replace(batch, y=exact + batch.y - batch.clean)
    posed = Posed(task, batch.x, batch.y, batch.basis, task.contexts)
    rung = posed.ladder(batch.y, "bayes")
    assert (rung.k, rung.counts_steps) == ((0,), False)
    expected = task.answer(batch)[:, 0::2, 0]
    assert (posed.predictions(rung)[0] - expected).abs().max() < 1e-6


def test_preconditioned_descent_is_the_loop_with_the_inverse_covariance():
    task = InContextRegression(d=D, n=N, kappa=10.0, basis="prompt")
    batch = task.sample(0, "test", 0, 16)
    posed = Posed(task, batch.x, batch.y, batch.basis, (N,))
    rung = posed.ladder(batch.y.double()[:, [N]], "preconditioned-gd")
    eta, found = rung.members[2].sizes["eta"], posed.weights(rung)[2, :, 0]
    for p in range(16):
        x, y, v = (t.double() for t in (batch.x[p, :N], batch.y[p, :N], batch.basis[p]))
        inverse = v @ torch.diag(1 / torch.tensor(task.spectrum).double()) @ v.T
        scale = torch.linalg.eigvals(inverse @ x.T @ x).real.max()
        w = torch.zeros(D).double()
        for _ in range(3):
            w = w + eta / scale * inverse @ (x.T @ (y - x @ w))
        assert (found[p] - w).abs().max() < 1e-8


def test_every_algorithm_has_a_ladder_that_predicts():
    batch = TASK.sample(0, "test", 0, 16)
    posed = Posed(TASK, batch.x, batch.y, batch.basis, TASK.contexts)
    labels = batch.y.double()
    assert {"gd", "newton", "momentum", "chebyshev", "preconditioned-gd", "bfgs", "bayes", "ogd"} <= set(
        FAMILIES
    )
    for family in FAMILIES:
        rung = posed.ladder(labels, family)
        error = (posed.predictions(rung) - labels).square().mean((1, 2))
        assert rung.family == family
        assert float(error.min()) < 0.6 * float(labels.square().mean()), family


def test_a_readout_is_scored_on_prompts_of_another_law():
    """A stream of least squares holds for any w; one that saturates does not."""

    def saturating(x, y):
        return (1.5 * (iterate(x, y) / 1.5).tanh()).double()

    settings = {**SPLIT, "shift": {"weight_scale": 4.0}}
    for quantity, holds in ((iterate, True), (saturating, False)):
        errors = {
            name: measure(Readouts(**given), Pseudo(quantity), TASK).table()
            for name, given in (("own", SPLIT), ("shifted", settings))
        }
        own, moved = (r2(table, HELD)["label"] for table in errors.values())
        assert (abs(own - moved) < 0.05) == holds
        mse = errors["shifted"][
            (errors["shifted"]["metric"] == "mse") & (errors["shifted"]["control"] == "zero")
        ]
        assert mse[mse["position"] == "all"]["value"].mean() == pytest.approx(1, abs=0.2)


def test_longer_prompts_are_read_by_the_readout_of_the_trained_reads():
    own = measure(Readouts(**SPLIT), Pseudo(iterate), TASK)
    longer = measure(Readouts(**SPLIT, shift={"n": 2 * N}), Pseudo(iterate), TASK)
    assert longer.probe.config.fitted_outputs == N + 1
    table = longer.table()
    assert f"x {2 * N + 1}" in set(table["position"])
    assert r2(table, HELD)["label"] >= r2(own.table(), HELD)["label"]
    matched = measure(
        AlgorithmMatch(**SPLIT, shift={"n": 2 * N}, families=("newton", "gd"), draws=50),
        Pseudo(iterate),
        TASK,
    )
    best = matched.table().query("metric == 'best step' and algorithm == 'newton' and position == 'all'")
    assert best.set_index("site").loc[HELD, "value"] == 5


def test_a_net_without_learned_positions_runs_longer_prompts_with_the_same_weights():
    small = ["model.n_layers=1", "model.n_heads=1", "model.d_model=8"]
    for positions, fits in (("token_type", True), ("both", False)):
        config = configure("regression", overrides=[*small, f"model.positions={positions}"])
        task = config.task
        model = build_model(config.model, task.interface, 0).eval()
        longer = shifted(task, {"n": 2 * task.n})
        inputs = longer.sample(0, "test", 0, 4).inputs
        assert resized(model, task.interface) is model
        if fits:
            wide = resized(model, longer.interface)
            assert torch.allclose(
                wide(inputs)[:, : task.interface.n_ctx], model(inputs[:, : task.interface.n_ctx]), atol=1e-6
            )
            assert wide(inputs).shape[1] == longer.interface.n_ctx
        else:
            with pytest.raises(UserError, match="W_pos has no weights"):
                resized(model, longer.interface)
            assert resized(model, shifted(task, {"n": 2}).interface) is model


def test_what_will_not_do_is_said_in_one_line():
    merged = InContextRegression(d=D, n=N, layout="merged")
    nets = InContextRegression(d=D, n=N, target="relu")
    cases = [
        (lambda: shifted(TASK, {"d": 9}), "'d' cannot change"),
        (lambda: shifted(TASK, {"xscale": 2}), "did you mean 'x_scale'"),
        (lambda: shifted(TASK, {"kappa": -1}), "kappa"),
        (lambda: shifted(merged, {"n": 9}), "n stays 8"),
        (lambda: shifted(MultiHopRetrieval(), {"n": 9}), "regression runs only"),
        (lambda: TargetReadouts(targets=("v",)).accumulator(Pseudo(iterate), TASK, None), "no target 'v'"),
        (lambda: TargetReadouts(targets=()).accumulator(Pseudo(iterate), TASK, None), "no target was asked"),
        (lambda: TargetReadouts(targets=("w",)).accumulator(Pseudo(iterate), nets, None), "no weight vector"),
        (
            lambda: TargetReadouts(targets=("w",), shift={"target": "relu"}).accumulator(
                Pseudo(iterate), TASK, None
            ),
            "no weight vector",
        ),
        (
            lambda: TargetReadouts(targets=("w",)).accumulator(Pseudo(iterate), MultiHopRetrieval(), None),
            "regression runs only",
        ),
        (
            lambda: measure(
                Readouts(**SPLIT, per_position=True, shift={"n": 20}), Pseudo(iterate), TASK
            ).table(),
            "leave per_position out",
        ),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert set(TARGETS) > {"label", "w", "xy", "spectrum", "iterates", "newton"}
