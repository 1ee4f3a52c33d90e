"""Runs trained with clamps: settings, donors, going on, and measuring with the clamp in force or without."""

from __future__ import annotations

import json

import pytest
import torch

from interp.causal.circuits import find_circuit
from interp.cli import run as interp
from interp.config.run import configure, parse_config
from interp.run import Run, load
from interp.runs.source_models import clamps_of, resolve_sources
from interp.runs.verify import verify
from interp.train.loop import Interrupted, resume, train
from interp.train.stacked import train_stack
from tasks.errors import UserError

RETRIEVAL = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 3, "vocab": 8},
    "model": {
        "kind": "transformer",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "mlp": "none",
        "mask": "full",
    },
    "train": {
        "steps": 30,
        "batch": 16,
        "lr": 0.01,
        "eval_batch": 64,
        "save_every": 7,
        "schedule": {"every": 10},
    },
}
LOOK = {"site": "L0H1.pattern", "to": "relation", "relation": "query -> link_1"}
SILENT = {"site": "L0H0", "to": "uniform"}


def clamped(*clamps: dict, **train) -> dict:
    return {**RETRIEVAL, "train": {**RETRIEVAL["train"], "clamps": list(clamps), **train}}


def contents(path):
    skipped = {"timing.jsonl", ".lock"}
    return {
        str(f.relative_to(path)): f.read_bytes()
        for f in path.rglob("*")
        if f.is_file() and f.name not in skipped
    }


def test_a_run_without_clamps_is_written_as_ever_and_clamps_are_part_of_the_hash():
    plain, held = parse_config(RETRIEVAL), parse_config(clamped(LOOK))
    assert "clamps" not in plain.settings["train"]
    assert plain.hash == parse_config(clamped()).hash != held.hash
    assert parse_config(held.settings) == held
    text = 'train.clamps=[{site="L0H1.pattern", to="relation", relation="query -> link_1"}]'
    assert configure(RETRIEVAL, overrides=[text]) == held
    preset = configure("retrieval", overrides=[text])
    assert preset.train.clamps == held.train.clamps


def test_training_holds_the_clamp_and_runs_are_measured_with_it_or_without(tmp_path):
    run = Run.train(clamped(LOOK, SILENT), tmp_path / "held")
    final, untouched = run.folder.weights(30), run.folder.weights(0)
    moved = {name for name in final if not torch.equal(final[name], untouched[name])}
    queries, width = "blocks.0.attn.w_q", 8
    assert "W_U" in moved or "unembed.W_U" in moved
    columns = (final[queries] != untouched[queries]).any(0)
    assert not columns[:width].any()  # head 0 is silent, so nothing of it learns
    mass = run.heads(steps="last").table.query(
        "control == 'none' and head == 1 and metric == 'query -> link_1'"
    )
    own = (
        run.without_interventions()
        .heads(steps="last")
        .table.query("control == 'none' and head == 1 and metric == 'query -> link_1'")
    )
    assert mass["value"].item() == pytest.approx(1, abs=1e-6)
    assert own["value"].item() < 0.9
    logged = run.metrics().query("split == 'eval' and metric == 'loss' and step == 30")["value"].mean()
    scores = [r.scores(steps="last").table for r in (run, run.without_interventions())]
    held, free = (t[(t["metric"] == "loss") & (t["step"] == 30)]["value"].mean() for t in scores)
    assert abs(held - logged) < 0.5 * abs(free - logged)
    assert {p.name for p in run.folder.analysis_path.glob("scores*")} == {
        "scores.parquet",
        "scores-without-interventions.parquet",
    }
    assert verify(tmp_path / "held").ok


def test_analyses_that_run_weights_alone_refuse_a_clamp_in_force(tmp_path):
    run = Run.train(clamped({**LOOK, "stop": 15}), tmp_path / "held")
    with pytest.raises(UserError, match=r"without.interventions"):
        run.circuit(steps=10)
    with pytest.raises(UserError, match=r"without.interventions"):
        run.model(10)
    assert run.circuit(steps=30, prompts=8).table is not None  # let go of at step 15: nothing is held there
    assert find_circuit(run.without_interventions().model(10), run.task, prompts=32) is not None


def test_a_donor_is_pinned_and_another_one_in_its_place_is_refused(tmp_path):
    train(parse_config(RETRIEVAL), tmp_path / "free")
    donor = {"site": "L0H1", "to": "donor", "donor": str(tmp_path / "free")}
    config = resolve_sources(configure(clamped(donor)))
    written = config.train.clamps[0]
    assert (written.donor_step, len(written.donor_weights)) == (30, 64)
    run = Run.train(parse_config(clamped(donor)), tmp_path / "held")
    assert run.config == config
    batch = run.task.sample(0, "test", 0, 4)
    model, hook = run.without_interventions().model(), "blocks.0.attn.hook_z"
    with run.with_interventions(model, batch, 30):
        own = model.run_with_cache(batch.inputs, names_filter=hook)[1][hook]
    given = load(tmp_path / "free").model().run_with_cache(batch.inputs, names_filter=hook)[1][hook]
    assert torch.equal(own[:, :, 1], given[:, :, 1])
    assert not torch.equal(own[:, :, 0], given[:, :, 0])
    other = json.loads(json.dumps(config.settings))
    other["train"]["clamps"][0]["donor_step"] = 20
    with pytest.raises(UserError, match="not those this run began with"):
        train(parse_config(other), tmp_path / "else")
    assert not (tmp_path / "else").exists()


def test_a_clamped_run_cut_off_ends_with_the_same_bytes(tmp_path):
    train(parse_config(RETRIEVAL), tmp_path / "free")
    donor = {
        "site": "L0H0.pattern",
        "to": "donor",
        "donor": str(tmp_path / "free"),
        "donor_step": 20,
        "start": 9,
    }
    config = resolve_sources(configure(clamped({**LOOK, "stop": 20}, donor)))
    train(config, tmp_path / "whole")

    def stop_at(step, loss):
        if step == 17:
            raise Interrupted(tmp_path / "cut", step)

    with pytest.raises(Interrupted):
        train(config, tmp_path / "cut", progress=stop_at)
    resume(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_clamp_that_changes_nothing_changes_no_bit(tmp_path):
    """Held between updates that never come, the run is the plain one but for its name."""
    train(parse_config(RETRIEVAL), tmp_path / "free")
    train(parse_config(clamped({**LOOK, "start": 31})), tmp_path / "never")
    free, never = (load(tmp_path / name).folder for name in ("free", "never"))
    for name, value in free.weights(30).items():
        assert torch.equal(value, never.weights(30)[name])


@pytest.mark.parametrize(
    ("clamp", "said"),
    [
        ({**LOOK, "site": "L7H0.pattern"}, "1 layers"),
        ({**LOOK, "site": "L0H5.pattern"}, "2 heads"),
        ({**LOOK, "site": "somewhere"}, "is no site"),
        ({**LOOK, "relation": "query -> link1"}, "did you mean 'query -> link_1'"),
        ({**SILENT, "to": "nothing"}, "uniform"),
        ({"site": "L0H0", "to": "donor", "donor": "/nowhere"}, "/nowhere: no such folder"),
        ({**SILENT, "relations": "x"}, "relations"),
    ],
)
def test_bad_names_are_refused_in_one_line_and_leave_no_folder(tmp_path, clamp, said):
    with pytest.raises(UserError, match=said) as refused:
        resolve_sources(configure(clamped(clamp)))
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError):
        train(parse_config(clamped(clamp)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_donors_that_will_not_do_are_refused(tmp_path):
    train(parse_config(clamped(SILENT, steps=1, schedule={"every": 1})), tmp_path / "held")
    short = {**RETRIEVAL, "task": {**RETRIEVAL["task"], "chains": 2}}
    train(
        parse_config({**short, "train": {**RETRIEVAL["train"], "steps": 1, "schedule": {"every": 1}}}),
        tmp_path / "short",
    )
    for name, said in (("held", "clamps of its own"), ("short", "n_ctx differs")):
        with pytest.raises(UserError, match=said):
            resolve_sources(
                configure(clamped({"site": "L0H0", "to": "donor", "donor": str(tmp_path / name)}))
            )


def test_stacks_and_compiled_models_refuse_clamps():
    with pytest.raises(UserError, match="without clamps"):
        train_stack([parse_config(clamped(SILENT, schedule={"every": 1}))])
    with pytest.raises(UserError, match=r"train.compile=false"):
        parse_config(clamped(SILENT, compile=True))


def test_the_command_line_trains_and_measures_clamped_runs(tmp_path, capsys):
    out = str(tmp_path / "held")
    file = tmp_path / "small.toml"
    rows = [f"[{part}]" + "".join(f"\n{k} = {json.dumps(v)}" for k, v in RETRIEVAL[part].items() if k != "schedule")
            for part in ("task", "model", "train")]  # fmt: skip
    held = '[[train.clamps]]\nsite = "L0H1.pattern"\nto = "relation"\nrelation = "query -> link_1"\n'
    file.write_text("\n".join([*rows, held]))
    assert interp(["train", str(file), "--out", out]) == 0
    capsys.readouterr()
    assert interp(["scores", out, "--steps", "last", "--without-interventions", "--json"]) == 0
    free = json.loads(capsys.readouterr().out)["rows"]
    assert interp(["scores", out, "--steps", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] != free
    assert interp(["circuit", out]) != 0
    assert "--without-interventions" in capsys.readouterr().err


def test_donors_come_in_the_runs_floating_type(tmp_path):
    train(parse_config(RETRIEVAL), tmp_path / "free")
    donor = {"site": "L0H1", "to": "donor", "donor": str(tmp_path / "free")}
    double = clamped(donor)
    double["model"] = {**double["model"], "dtype": "float64"}
    config = configure(double)
    (model,) = clamps_of(config, load(tmp_path / "free").untrained_model().double()).source_models.values()
    assert next(model.parameters()).dtype == torch.float64
