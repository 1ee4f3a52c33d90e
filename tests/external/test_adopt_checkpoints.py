"""Checkpoints of adopted modules: folders, patterns, state dicts in memory; referred to, verified, never executed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import interp
from interp.cli import run as cli
from interp.models import adopted, builders
from interp.runs import proven as kept_proofs
from interp.runs.verify import verify
from tasks import UserError
from tests.external.adopting import HERE, TASK, theirs


@pytest.fixture(scope="module", autouse=True)
def _installed():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "installed"))
        yield


@pytest.fixture
def folder(tmp_path):
    """Checkpoints as a nanoGPT run leaves them: compiled names, optimiser beside the weights, the step inside."""
    for step in (0, 100, 250):
        module = theirs.drawn(theirs.NanoGPT(), step)
        state = {f"_orig_mod.{name}": value for name, value in module.state_dict().items()}
        content = {"model": state, "optimizer": {"lr": 1e-3}, "iter_num": step, "config": {"n": 1}}
        torch.save(content, tmp_path / f"ckpt_{step}.pt")
    return tmp_path


def test_a_pattern_of_checkpoints_is_referred_to_and_verified(folder, tmp_path):
    run = interp.adopt(
        theirs.NanoGPT, checkpoints=folder / "ckpt_*.pt", task=TASK, out=tmp_path / "run", quiet=True
    )
    assert run.steps == (0, 100, 250)
    assert sum(f.stat().st_size for f in run.path.rglob("*") if f.is_file()) < 20_000
    inputs = run.task.sample(0, "eval", 0, 2).inputs
    for step in run.steps:
        wanted = theirs.drawn(theirs.NanoGPT(), step)(inputs, inputs)[0]
        assert (run.model(step)(inputs)[:, 1:] - wanted[:, 1:]).abs().max() < 1e-4 * wanted.abs().max()
    assert verify(run.path).ok
    file = folder / "ckpt_100.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(bytes(data))
    assert "altered since it was adopted" in str(verify(run.path))
    with pytest.raises(UserError, match="altered since it was adopted"):
        run.model(100)


def test_same_size_and_time_but_other_bytes_are_found_by_verify(folder, tmp_path):
    run = interp.adopt(
        theirs.NanoGPT, checkpoints=folder / "ckpt_*.pt", task=TASK, out=tmp_path / "run", quiet=True
    )
    assert verify(run.path).ok
    file = folder / "ckpt_250.pt"
    facts, data = file.stat(), bytearray(file.read_bytes())
    data[-2000] ^= 255
    file.write_bytes(bytes(data))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert "altered" in str(verify(run.path))


def test_state_dicts_under_other_prefixes_and_in_memory(tmp_path):
    module = theirs.drawn(theirs.bare_gpt2())
    inner = {f"backbone.{name}": value for name, value in module.state_dict().items()}
    buffered = {**inner, "backbone.h.0.attn.bias": torch.ones(1, 1, 8, 8)}
    run = interp.adopt(theirs.bare_gpt2, checkpoints={5: buffered}, task=TASK, quiet=True)
    assert run.steps == (5,)
    del buffered["backbone.ln_f.weight"]
    with pytest.raises(UserError, match=r"without weight 'ln_f\.weight'"):
        interp.adopt(theirs.bare_gpt2, checkpoints={5: buffered}, task=TASK, quiet=True)
    odd = {**inner, "backbone.extra.weight": torch.ones(2)}
    with pytest.raises(UserError, match=r"extra\.weight' is no weight of GPT2Model"):
        interp.adopt(theirs.bare_gpt2, checkpoints={5: odd}, task=TASK, quiet=True)


def test_folders_of_safetensors_with_steps_in_their_names(tmp_path):
    for step in (10, 20):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        weights = {k: v.contiguous() for k, v in theirs.drawn(theirs.llama(), step).state_dict().items()}
        half = len(weights) // 2
        for part, names in enumerate((list(weights)[:half], list(weights)[half:])):
            save_file({n: weights[n] for n in names}, place / f"model-0000{part + 1}-of-00002.safetensors")
        torch.save({"lr": 1.0}, place / "optimizer.pt")
    run = interp.adopt(theirs.llama, checkpoints=tmp_path, task=TASK, quiet=True)
    assert run.steps == (10, 20)
    assert set(run.scores().table["step"].dropna()) == {10, 20}
    called = interp.adopt(
        theirs.llama, checkpoints=lambda step: theirs.drawn(theirs.llama(), step).state_dict(), steps=[10], task=TASK,
        quiet=True,
    )  # fmt: skip
    assert torch.equal(called.model().W_U, run.model(10).W_U)


def test_a_file_that_could_run_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"model": {"w": torch.ones(1)}, "args": Hostile()}, tmp_path / "ckpt_1.pt")
    with pytest.raises(UserError, match="could run code"):
        interp.adopt(theirs.NanoGPT, checkpoints=tmp_path / "ckpt_1.pt", task=TASK, quiet=True)


def test_a_run_names_its_builder_and_imports_nothing_on_its_own_word(folder, tmp_path, monkeypatch):
    from interp.models import builders

    run = interp.adopt(
        "modules:NanoGPT", checkpoints=folder / "ckpt_0.pt", task=TASK, out=tmp_path / "run", quiet=True
    )
    monkeypatch.setattr(builders, "_KNOWN", {})
    with pytest.raises(UserError, match="ALGOSCOPE_MODELS=modules"):
        interp.load(run.path).model()
    monkeypatch.setenv("ALGOSCOPE_MODELS", "modules")
    assert interp.load(run.path).model().config.architecture == "NanoGPT"


def test_import_plain_takes_a_module_and_a_layout_at_the_terminal(folder, tmp_path, capsys):
    (tmp_path / "task.toml").write_text('[task]\nkind = "previous-token"\nn = 8\nvocabulary = 13\n')
    (tmp_path / "mine.toml").write_text(
        'like = "mingpt"\nnorm1 = "{l}.ln_1"\n'.replace("{l}.", "transformer.h.{l}.")
    )
    words = ["import", "plain", str(folder / "ckpt_100.pt"), "--config", str(tmp_path / "task.toml")]
    for layout in ("mingpt", str(tmp_path / "mine.toml")):
        out = tmp_path / Path(layout).stem
        assert cli([*words, "--module", "modules:NanoGPT", "--layout", layout, "--out", str(out)]) == 0
        run = interp.load(out)
        inputs = run.task.sample(0, "eval", 0, 2).inputs
        wanted = theirs.drawn(theirs.NanoGPT(), 100)(inputs, inputs)[0]
        assert (run.model()(inputs)[:, 1:] - wanted[:, 1:]).abs().max() < 1e-4 * wanted.abs().max()
        assert run.steps == (100,)
    for wrong, told in (
        (["--layout", "mingpt"], "or the module of the weights"),
        (["--module", "modules:Nothing"], "has no function 'Nothing'"),
        (["--module", "modules:NanoGPT", "--layout", "minigpt"], "did you mean 'mingpt'"),
        (["--module", "modules:gpt2"], "and the module has"),
    ):
        assert cli([*words, *wrong, "--out", str(tmp_path / "no")]) == 2
        assert told in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "no").exists()


def test_weights_are_drawn_for_the_untrained_model_alone(tmp_path, monkeypatch):
    """Initialisation takes a third of the time that a pretrained model takes to load."""
    module = theirs.drawn(theirs.KINDS["Llama"]())
    module.save_pretrained(tmp_path / "saved")
    run = interp.adopt(tmp_path / "saved", task=TASK, quiet=True)
    own, asked = builders._hugging_face, []
    monkeypatch.setattr(
        builders, "_hugging_face", lambda settings, drawn: (asked.append(drawn), own(settings, drawn))[1]
    )
    weights = dict(module.named_parameters())
    assert all(
        torch.equal(w, weights[name]) for name, w in interp.load(run.path).model().own_weights().items()
    )
    untrained = run.untrained_model()
    assert asked == [False, True]
    assert float(untrained.own_weights()["model.embed_tokens.weight"].std()) == pytest.approx(0.02, rel=0.3)
    inputs = run.task.sample(0, "eval", 0, 2).inputs
    assert torch.allclose(run.model()(inputs)[:, 1:], module(inputs).logits[:, 1:], atol=1e-4)


@pytest.fixture
def tries(monkeypatch):
    """How often an adopted model was proven."""
    made: list[str] = []
    own = adopted.prove
    monkeypatch.setattr(adopted, "prove", lambda model: made.append(model.config.name) or own(model))
    return made


def test_what_was_proven_is_proven_once_for_the_same_weights_in_the_same_code(
    folder, tmp_path, tries, monkeypatch
):
    out = tmp_path / "run"
    run = interp.adopt(theirs.NanoGPT, checkpoints=folder / "ckpt_*.pt", task=TASK, out=out, quiet=True)
    first = run.model(0)
    assert len(tries) == 1
    assert first.proofs
    again = interp.load(out).model(0)
    assert len(tries) == 1
    assert again is not first
    assert (again.proofs, again.refused) == (first.proofs, first.refused)
    assert run.model(0) is not first  # given away once
    assert len(tries) == 1
    interp.load(out).model(100)  # other weights
    interp.load(out).model(100)
    interp.load(out).model(0)
    assert len(tries) == 2
    assert cli(["check", str(out)]) == 0
    assert len(tries) == 4  # the weights of the last step when loaded, and as asked
    monkeypatch.setattr(kept_proofs, "_own_code", lambda: "edited")
    interp.load(out).model(0)
    interp.load(out).model(0)
    assert len(tries) == 5
    assert len(json.loads((out / "proofs.json").read_text())) == 1  # those of other code are gone
    (out / "proofs.json").write_text('{"a": [{"holds": true}]}')
    with pytest.raises(UserError, match=r"proofs\.json: no list of proofs; delete it"):
        interp.load(out).model(0)


def test_a_folder_that_cannot_be_written_to_is_opened_and_proven_each_time(tmp_path, tries, monkeypatch):
    out = tmp_path / "run"
    weights = {0: theirs.drawn(theirs.NanoGPT()).state_dict()}
    interp.adopt(theirs.NanoGPT, task=TASK, checkpoints=weights, out=out, quiet=True)
    (out / "proofs.json").unlink()

    def refused(path, data):
        raise UserError(f"{path}: cannot be written")

    monkeypatch.setattr(kept_proofs, "write_atomically", refused)
    for count in (2, 3):
        assert interp.load(out).model(0).proofs
        assert len(tries) == count
    assert not (out / "proofs.json").exists()


def test_a_refusal_that_was_kept_is_refused_again(tmp_path, tries):
    out, broken = tmp_path / "run", {"like": "gpt2", "norm1": "ln_2", "norm2": "ln_1"}
    weights = {0: theirs.drawn(theirs.NanoGPT()).state_dict()}
    interp.adopt(theirs.NanoGPT, task=TASK, checkpoints=weights, layout=broken, out=out, quiet=True)
    model = interp.load(out).model()
    assert len(tries) == 1
    assert not model.edges_known
    assert "edges" in model.refused


def test_an_object_of_this_process_is_proven_at_every_load_but_the_first(tries):
    run = interp.adopt(theirs.drawn(theirs.NanoGPT()), task=TASK, quiet=True)
    run.without_interventions().model()
    assert len(tries) == 1
    run.model()
    assert len(tries) == 2
    assert not (run.path / "proofs.json").exists()
