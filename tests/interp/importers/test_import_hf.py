"""Hugging Face models as runs: the bridge computes what the model computes, and every tool works on its revisions."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import interp
from interp.importers.hf import import_hf, lexicon
from interp.importers.hf_memory import PUBLISHED, memory, parameters_of, published, show
from interp.models.bridge import quiet
from interp.report.words import verdict
from interp.runs.verify import verify
from interp.studies.retrieval_prompts.runs_weights import tokenizer_of
from tasks import TextRetrieval, UserError
from tasks.prompts_lexicon import word_level
from tests.interp.importers.small_hf import FAMILIES, STEPS


@pytest.fixture(scope="module")
def runs(folders, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for family in FAMILIES:
        import_hf(str(folders / family), place / family, hops=2, chains=2)
    return {family: interp.load(place / family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_through_the_bridge_are_the_models_own(family, folders, runs):
    run = runs[family]
    batch = run.task.sample(0, "test", 0, 6)
    assert run.steps == STEPS
    model = None
    for step in STEPS:
        with quiet():
            plain = AutoModelForCausalLM.from_pretrained(folders / family / f"step{step}").eval()
        model = run.model(step, into=model)
        with torch.no_grad():
            theirs, ours = plain(batch.inputs).logits, model.logits(batch.inputs)
            outputs = model(batch.inputs)
        assert theirs.std() > 0.1
        assert (theirs - ours).abs().max() < 1e-4
        assert (outputs[:, -1] - theirs[:, -1, list(run.task.interface.outputs)]).abs().max() < 1e-4
        assert outputs[:, :-1].abs().max() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_hook_acts_and_layers_can_be_entered_and_left(family, runs):
    run = runs[family]
    model, batch = run.model("last"), run.task.sample(0, "test", 0, 3)
    with torch.no_grad():
        outputs, cache = model.run_with_cache(batch.inputs)
        for name in model.hook_dict:
            moved = model.run_with_hooks(
                batch.inputs, fwd_hooks=[(name, lambda a, hook: a + torch.randn_like(a))]
            )
            assert (moved - outputs).abs().max() > 1e-4, name
        assert cache["blocks.1.attn.hook_q"].shape == (3, batch.inputs.shape[1], 2, 8)
        assert ("blocks.0.hook_resid_mid" in model.hook_dict) == (family == "gpt2")
        middle = model(batch.inputs, stop_at_layer=1)
        assert torch.equal(middle, cache["blocks.1.hook_resid_pre"])
        assert (model(middle, start_at_layer=1) - outputs).abs().max() < 1e-5
        last = model(batch.inputs, stop_at_layer=2)
        assert (model(last, start_at_layer=2) - outputs).abs().max() < 1e-5
    with pytest.raises(UserError, match="unknown hook"):
        model.run_with_cache(batch.inputs, names_filter="blocks.0.attn.hook_Q")
    with pytest.raises(UserError, match="looked at, not trained"):
        model.train()


def test_gradients_reach_what_hooks_see(runs):
    from interp.causal.attribution import gradients
    from interp.causal.metrics import metric_of

    run = runs["gpt-neox"]
    pair = run.task.pair("rebind-hop-1", 0, "test", 0, 4)
    names = ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"]
    found = gradients(run.model("last"), pair.clean.inputs, names, metric_of(run.task, pair))
    assert all(found[name].abs().max() > 0 for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_analyses_of_a_run_work_on_revisions(family, runs):
    run = runs[family]
    scores = run.scores().table.query("metric == 'accuracy'")
    chance = scores[scores["control"] == "chance"]["value"].item()
    assert chance == 0.5
    ours = scores[scores["control"] == "none"]
    assert ours["step"].tolist() == list(STEPS)
    said = verdict(run, {"scores": scores})
    assert "a chain of 2 of them" in said
    assert (
        "was trained elsewhere; its checkpoints are 2 revisions, prompted here in the form 'equations'"
        in said
    )
    assert ((ours["value"] - chance).abs() < 0.2).all()  # they have learned nothing
    heads = run.heads(steps="last").table
    assert set(heads["metric"]) >= {"query -> link_1", "query -> link_2", "value -> key", "query -> name"}
    assert set(heads["control"]) == {"none", "untrained", "uniform"}
    patched = run.patch("z", by=("layer", "head"), prompts=16, metric="squared_output_distance").table
    assert len(patched) == 4
    assert patched["value"].isna().all()  # they have learned nothing, so there is no behaviour to restore
    assert patched["note"].str.startswith("no behaviour to restore").all()
    if family == "gpt2":
        return  # the rest costs seconds and knows no family
    probed = run.probe(steps="last").table
    assert "blocks.0.hook_resid_pre" not in set(probed["site"])  # the last word is the same in every prompt
    assert (run.emergence().table["state"] == "not emerged").all()


def test_half_the_bytes_say_nearly_the_same(folders, runs, tmp_path):
    import_hf(
        str(folders / "gpt2"), tmp_path / "run", revisions=("step20",), hops=2, chains=2, dtype="bfloat16"
    )
    half = interp.load(tmp_path / "run")
    model, whole = half.model("last"), runs["gpt2"].model("last")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    inputs = half.task.sample(0, "test", 0, 16).inputs
    with torch.no_grad():
        ours, theirs = model(inputs)[:, -1].float(), whole(inputs)[:, -1]
    assert 0 < (ours - theirs).abs().max() < 0.1 * theirs.std() * 4
    table = half.heads(steps="last").table
    assert table["value"].notna().all()


def test_weights_are_referred_to_and_verify_reads_them(folders, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(folders / "gpt2", source)
    run = import_hf(str(source), tmp_path / "run", hops=1)
    assert sum(f.stat().st_size for f in run.path.rglob("*.safetensors")) < 3000
    assert verify(run.path).ok
    import_hf(str(source), tmp_path / "run", hops=1)  # the same again changes nothing
    weights = source / "step20" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "altered since the import" in str(verify(run.path))
    with pytest.raises(UserError, match="altered since the import"):
        interp.load(run.path).scores()
    weights.unlink()
    assert "missing" in str(verify(run.path)) or "no weights" in str(verify(run.path))
    weights.write_bytes(whole)
    shutil.move(source, tmp_path / "moved")
    assert "put them back" in str(verify(run.path))


@pytest.mark.parametrize("family", FAMILIES)
def test_counted_bytes_are_those_held(family, runs):
    model = runs[family].model("last")
    held = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for module in model.bridge.modules()
        for t in module._parameters.values()  # buffers are a table of frequencies and the like
        if t is not None
    }
    counted = memory(model.config, model.interface, 8).set_index("metric")["value"]
    own = 4 * sum(weight.numel() for weight in model.parameters())
    assert parameters_of(model.config) * 4 == own
    assert own <= sum(held.values()) <= counted["weights"] < 1.5 * own
    assert counted["logits"] == 8 * word_level().vocabulary * 4


def test_published_sizes_have_the_parameters_their_makers_count(capsys):
    assert parameters_of(published("GPT-2 small")) == 124_439_808
    assert parameters_of(published("Pythia 1B")) == 1_011_781_632
    task = TextRetrieval(hops=2)
    for name in PUBLISHED:
        wide, narrow = (
            memory(published(name, dtype), task.interface, 8)["value"] for dtype in ("float32", "bfloat16")
        )
        assert (wide == 2 * narrow).all()
    show()
    page = Path(__file__).parents[3] / "docs" / "recipes" / "language-models.md"
    text = page.read_text(encoding="utf-8")
    for line in capsys.readouterr().out.splitlines():
        assert line in text


def test_a_tokenizer_with_a_mark_before_each_text_keeps_it(folders):
    from tokenizers.processors import TemplateProcessing

    tokenizer = tokenizer_of()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", 0)]
    )
    assert lexicon(tokenizer).prefix == (0,)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <unk>", special_tokens=[("<unk>", 0)]
    )
    with pytest.raises(UserError, match="adds tokens after a text"):
        lexicon(tokenizer)
