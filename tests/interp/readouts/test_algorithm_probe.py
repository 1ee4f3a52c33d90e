"""Which algorithm a layer runs, from activations to verdicts: planted models, wired nets, nets that learnt nothing."""

from __future__ import annotations

import json

import pytest
import torch

from interp.cli import matches
from interp.cli import run as cli
from interp.config.run import configure
from interp.models.constructed_algorithms import constructed_gradient_descent, constructed_newton
from interp.readouts.algorithms import AlgorithmAccumulator, AlgorithmMatch
from interp.run import Run, load
from interp.train import train
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from tasks import UserError
from tasks.regression import InContextRegression
from tasks.retrieval import MultiHopRetrieval

D, N = 5, 10
SPECTRUM = (3.0, 1.0, 0.5, 0.3, 0.2)
INTERLEAVED = InContextRegression(d=D, n=N, eigenvalues=SPECTRUM)
MERGED = InContextRegression(d=D, n=N, layout="merged", eigenvalues=SPECTRUM)
QUICK = {"chunks": 5, "validation_chunks": 1, "test_chunks": 1, "draws": 100}
PLANTED = (2, 5, 8)
LAST = "blocks.2.hook_resid_post"


class Pseudo:
    """A stand-in for a model: block l's stream holds a Newton iterate of its prompt at every x, among noise."""

    class config:
        n_layers = len(PLANTED)

    def __init__(self, noise: float = 0.02):
        self.noise = noise
        self.directions = torch.randn(len(PLANTED), 12, generator=torch.Generator().manual_seed(7)).double()

    def run_with_cache(self, inputs, names_filter):
        x, y = inputs[:, 0::2], inputs[:, 1::2, 0]
        problems = Problems.of(x, y, range(x.shape[1]))
        members = [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in PLANTED]
        streams = [torch.zeros(len(problems.eigenvalues), x.shape[1]).double()]
        streams += list(algorithms.predictions(problems, members))
        gen = torch.Generator().manual_seed(len(inputs))
        cache = {}
        for name, layer, clean in zip(names_filter, (0, *range(len(PLANTED))), streams, strict=True):
            size = self.noise * (clean.std() if layer or name != names_filter[0] else 1.0)
            stream = torch.randn(*inputs.shape[:2], 12, generator=gen, dtype=torch.float64) * size
            stream[:, 0::2] += clean[..., None] * self.directions[layer]
            cache[name] = stream
        return None, cache


def measure(model, task, **settings):
    analysis = AlgorithmMatch(**{**QUICK, **settings})
    accumulator = analysis.accumulator(model, task, None)
    for chunk in range(analysis.chunks):
        batch = task.sample(0, "analysis", chunk, 256).double()
        _, cache = model.run_with_cache(batch.inputs, names_filter=analysis.hooks(model))
        accumulator.add(chunk, batch, torch.zeros(256, task.interface.n_ctx, 1), cache)
    return accumulator.table()


def values(table, metric, **where):
    rows = table[(table["metric"] == metric) & (table["control"] == "none")]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    return rows


@pytest.fixture(scope="module")
def planted():
    return measure(Pseudo(), INTERLEAVED, context=N)


def test_best_steps_are_those_planted(planted):
    steps = values(planted, "best step", algorithm="newton", position="all")
    blocks = steps[steps["site"] != "blocks.0.hook_resid_pre"]
    assert blocks["value"].tolist() == list(PLANTED)
    assert blocks["member"].str.contains(r"alpha=1 / |S|", regex=False).all()
    low, high = (values(planted, m, algorithm="newton", position="all") for m in ("band low", "band high"))
    assert (low["value"].to_numpy() <= steps["value"].to_numpy()).all()
    assert (steps["value"].to_numpy() <= high["value"].to_numpy()).all()


def test_the_slope_over_layers_is_the_planted_one(planted):
    (slope,) = values(planted, "slope of best step", algorithm="newton", position="all").itertuples()
    assert slope.value == pytest.approx(3.0)
    assert slope.ci_low <= 3.0 <= slope.ci_high
    assert slope.note == "over layers 0, 1, 2"


def test_induced_weights_are_nearest_the_planted_step(planted):
    for site, wanted in zip([f"blocks.{i}.hook_resid_post" for i in range(3)], PLANTED, strict=True):
        rows = values(planted, "SimW", site=site, algorithm="newton")
        best = rows.loc[rows["value"].idxmax()]
        assert best["k"] == wanted
        assert best["value"] > 0.95
    nothing = values(planted, "SimW", site="blocks.0.hook_resid_pre")["value"]
    assert nothing.abs().max() < 0.3


def test_the_contrast_stands_beside_its_controls(planted):
    rows = planted[(planted["metric"] == "partial r2") & (planted["site"] == LAST)]
    by_control = rows.groupby("control")["value"].max()
    assert by_control["none"] > 0.5
    assert by_control["shuffled"] < 0.1
    assert by_control["random w"] < 0.1
    assert list(matches.contrast_controls(planted)["site"]) == ["L0", "L1", "L2"]


def test_a_noisy_stream_before_the_first_block_is_given_nothing(planted):
    embed = values(planted, "filter verdict", site="blocks.0.hook_resid_pre").iloc[0]
    assert embed["algorithm"] == embed["verdict"] == "none"
    assert "zero" in embed["note"]
    best = values(planted, "best step", site="blocks.0.hook_resid_pre", position="all")
    assert best["note"].str.contains("no better than control: zero").all()


def test_newton_is_named_with_its_steps_and_its_slope_is_two(planted):
    blocks = values(planted, "filter verdict").iloc[1:]
    assert blocks["verdict"].isin(["identified", "indistinguishable"]).all()
    assert all("newton" in families.split(", ") for families in blocks["families"])
    assert (blocks["ci_high"] < 0.01).all()
    own = values(planted, "filter misfit", algorithm="newton")
    assert all(
        abs(k - planted) <= 1 for k, planted in zip(own["k"], PLANTED, strict=True)
    )  # alpha is free too
    free = values(planted, "filter misfit", algorithm="free filter")
    assert free["value"].tolist() == blocks["free_misfit"].tolist()
    slope = values(planted, "small-eigenvalue slope", site="blocks.1.hook_resid_post").iloc[0]
    assert slope["ci_low"] <= 2.0 <= slope["ci_high"]
    assert slope["ci_low"] > 1.2, "1 is the slope of gradient descent and ridge"


def test_every_step_of_the_grid_and_the_zero_predictor_are_in_the_table(planted):
    steps = {"gd", "newton", "ridge", "gd++", "cg", "bfgs", "lbfgs"}
    for metric in ("SimE", "relative L2"):
        rows = planted[(planted["metric"] == metric) & (planted["site"] == LAST)]
        assert set(rows["position"]) == {"all", "t<=d", "t>d"}
        assert set(rows["algorithm"]) == {*steps, "zero"}
    assert set(values(planted, "SimW", site=LAST)["algorithm"]) == steps
    zero = planted[(planted["metric"] == "relative L2") & (planted["algorithm"] == "zero")]
    assert zero["value"].to_numpy() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["gd", "gd++", "newton"])
def test_a_wired_net_is_named_at_its_last_layer(name):
    nets = {
        "gd": lambda: constructed_gradient_descent([0.1] * 4, D, N),
        "gd++": lambda: constructed_gradient_descent([0.3] * 4, D, N, [0.1] * 4),
        "newton": lambda: constructed_newton(4, D, N, 0.01),
    }
    model, _ = nets[name]()
    table = measure(model, MERGED)
    verdicts = values(table, "filter verdict")
    last = verdicts.iloc[-1]
    assert name in last["families"].split(", ")
    if (
        name == "newton"
    ):  # the label's readout draws on more than the iterate: Newton is the nearest, and misses by .9%
        assert (last["verdict"], last["families"].split(", ")[0]) == ("not a filter", name)
    else:
        assert last["verdict"] in ("identified", "indistinguishable")
    assert "SimE" not in set(table["metric"]), "the cosine of a single read is only a sign"
    assert values(table, "filter misfit", algorithm=name).iloc[-1]["value"] < 0.01


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "regression"
    small = ["train.steps=4", "train.batch=16", "train.eval_batch=16", "train.warmup=1"]
    small += ["train.schedule.log=0", "train.schedule.every=4", "train.save_every=4"]
    train(
        configure(
            "regression", overrides=[*small, "model.n_layers=2", "model.n_heads=2", "model.d_model=16"]
        ),
        path,
    )
    return load(path)


def test_no_family_is_named_on_an_untrained_net(run):
    table = run.probe([0], algorithms=True).table
    verdicts = table[table["metric"] == "filter verdict"]
    assert set(verdicts["control"]) == {"none", "untrained"}
    assert set(verdicts["verdict"]) <= {"none", "not a filter"}


def test_a_second_call_measures_nothing(run, monkeypatch):
    first = run.probe([0], algorithms=True).table

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(AlgorithmAccumulator, "add", refuse)
    again = run.probe([0], algorithms=True).table
    assert again.equals(first)
    with pytest.raises(AssertionError, match="measured again"):
        run.probe([4], algorithms=True)


def test_the_command_prints_tables_that_fit_and_one_document(run, capsys):
    assert cli(["probe", str(run.path), "--algorithms", "--steps", "0"]) == 0
    shown = capsys.readouterr().out
    assert "readout error, filter verdict" in shown
    assert "best step [range] of each algorithm" in shown
    assert "the untrained model" in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert cli(["probe", str(run.path), "--algorithms", "--steps", "all"]) == 0
    assert "the last layer, by checkpoint" in capsys.readouterr().out
    assert cli(["probe", str(run.path), "--algorithms", "--steps", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["analysis"] == "algorithms"


def test_the_tables_of_a_planted_model_show_steps_and_verdict(planted):
    shown = matches.by_site(planted.assign(step=0)).set_index("site")
    assert shown.loc["embed", "newton"] == "-"
    assert shown.loc["L0", "newton"] == "2 [2-2]"
    assert "newton" in shown.loc["L0", "verdict"]
    assert "[" in shown.loc["L0", "misfit"]
    assert "[" in shown.loc["L0", "free filter"]
    assert shown.loc["embed", "verdict"].startswith("none (no better than control")
    assert list(matches.slopes(planted)["algorithm"]) == ["gd", "newton", "gd++", "cg", "bfgs", "lbfgs"]
    assert list(matches.contrasts(planted)["site"]) == ["L0", "L1", "L2"]


def test_other_tasks_and_contexts_that_are_not_read_are_refused():
    with pytest.raises(UserError, match="regression runs only: task 'retrieval'"):
        AlgorithmMatch().accumulator(Pseudo(), MultiHopRetrieval(), None)
    with pytest.raises(UserError, match="context 11 is not read"):
        AlgorithmMatch(context=11).accumulator(Pseudo(), INTERLEAVED, None)
    with pytest.raises(UserError, match="5 probe queries cannot fix 5 weights"):
        AlgorithmMatch(queries=5).accumulator(Pseudo(), INTERLEAVED, None)
    with pytest.raises(UserError, match="'adam'"):
        AlgorithmMatch(families=("gd", "adam")).accumulator(Pseudo(), INTERLEAVED, None)


def test_one_dimension_has_matches_but_no_slope_of_the_filter():
    table = measure(Pseudo(), InContextRegression(d=1, n=4), filter_prompts=64)
    slopes = values(table, "small-eigenvalue slope")
    assert slopes["value"].isna().all()
    assert slopes["note"].str.contains("too few to read").all()
    assert len(values(table, "filter verdict")) == len(PLANTED) + 1
