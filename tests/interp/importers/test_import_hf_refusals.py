"""Hugging Face models that cannot become runs: each is refused in one line that names cause and remedy."""

import json
import shutil
import sys

import pytest
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from torch.nn import functional as F

from interp.cli import run as cli
from interp.importers import hf
from interp.importers.hf import import_hf
from interp.models.bridge import bridged, quiet
from interp.studies.retrieval_prompts.runs import save
from interp.studies.retrieval_prompts.runs_weights import tokenizer_of
from tasks import UserError
from tasks.prompts_lexicon import word_level
from tests.interp.importers.small_hf import FAMILIES, STEPS


def refused(capsys, *arguments):
    code = cli(["import", "hf", *map(str, arguments)])
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert "\n" not in said, said
    return said


def test_bad_input_is_one_line(folders, tmp_path, capsys, monkeypatch):
    out = ["--out", tmp_path / "run"]
    source = folders / "gpt2"
    said = refused(capsys, source, "--revision", "step7", "--revision", "step0", *out)
    assert "no config.json" in said
    assert "revisions there: step0, step20" in said
    assert "write it like main=143000" in refused(
        capsys, source, "--revision", "step0", "--revision", "main", *out
    )
    assert "longer than the context of" in refused(capsys, source, "--hops", 6, *out)
    assert "ask for fewer hops or chains" in refused(capsys, source, "--hops", 40, *out)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused(capsys, "gpt2-that-is-not-in-any-cache", *out)
    assert "give that folder" in said
    said = refused(capsys, tmp_path / "nowhere", *out)
    assert "no such folder; give one that holds a saved model" in said
    assert "back" not in said, "nothing was ever imported"
    (tmp_path / "empty").mkdir()
    assert "save_pretrained" in refused(capsys, tmp_path / "empty", *out)
    assert not (tmp_path / "run").exists()


HTTP = sys.modules[
    HfHubHTTPError.__bases__[0].__module__.partition(".")[0]
]  # what the hub's client speaks through


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's own client with an empty cache, and in place of the network what a test says that it answers."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def answers(reply):
        transport = HTTP.MockTransport(reply)
        set_client_factory(lambda: HTTP.Client(transport=transport))

    yield answers
    set_client_factory(HTTP.Client)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "RevisionNotFound", "a/model: has no revision 'step7'"),
        (404, "RepoNotFound", "a/model: the hub has no such model"),
        (403, "GatedRepo", "a/model: access to it must be asked for"),
        (500, "", "give that folder"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, status, code, said, tmp_path, capsys):
    asked = []

    def reply(request):
        asked.append(str(request.url))
        return HTTP.Response(status, headers={"X-Error-Code": code}, request=request)

    hub(reply)
    assert said in refused(capsys, "a/model", "--revision", "step7", "--out", tmp_path / "run")
    assert any("a/model" in url and "step7" in url for url in asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["ConnectError", "ConnectTimeout", "ProxyError", "ReadError"])
def test_without_a_network_a_folder_is_named_as_the_way(hub, kind, tmp_path, capsys):
    def reply(request):
        raise getattr(HTTP, kind)("no route to host", request=request)

    hub(reply)
    said = refused(capsys, "a/model", "--out", tmp_path / "run")
    assert "the hub cannot be reached" in said
    assert "give that folder" in said


def test_fused_attention_without_patterns_is_refused_by_name(folders, tmp_path, capsys, monkeypatch):
    """Attention in one kernel: what the model computes is the same, and no weight of it can be seen."""

    def fused(model, name):
        bridge = bridged(model, name)
        whole = bridge.blocks[1].attn

        def forward(stream, *rest, **more):
            parts = (part(stream).unflatten(2, (2, 8)) for part in (whole.q, whole.k, whole.v))
            q, k, v = (part.transpose(1, 2) for part in parts)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
            return whole.o(mixed.flatten(2)), None

        vars(whole)["forward"] = forward  # plainly set, it would land on the part that the bridge wraps
        return bridge

    monkeypatch.setattr(hf, "bridged", fused)
    said = refused(capsys, folders / "gpt2", "--revision", "step0", "--hops", 1, "--out", tmp_path / "run")
    assert "GPT2LMHeadModel does not show blocks.1.attn.hook_attn_scores (a fused kernel" in said
    assert not (tmp_path / "run").exists()


def saved(model, place):
    save(model, tokenizer_of(), place)
    return place


def test_models_without_a_causal_mask_or_without_attention_are_refused_by_name(tmp_path):
    # not at the top, where each worker would pay for these
    from transformers import BertConfig, BertLMHeadModel, MambaConfig, MambaForCausalLM

    size = word_level().vocabulary
    with quiet():
        two_way = BertLMHeadModel(
            BertConfig(
                vocab_size=size,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
            )
        )
        no_heads = MambaForCausalLM(
            MambaConfig(vocab_size=size, hidden_size=16, num_hidden_layers=1, state_size=4)
        )
    with pytest.raises(UserError, match="Bert"):
        import_hf(str(saved(two_way, tmp_path / "bert")), tmp_path / "run", hops=1)
    with pytest.raises(UserError, match="Mamba"):
        import_hf(str(saved(no_heads, tmp_path / "mamba")), tmp_path / "run", hops=1)
    assert not (tmp_path / "run").exists()


def test_revisions_of_two_models_are_refused(folders, tmp_path):
    for step, family in zip(STEPS, FAMILIES, strict=True):
        shutil.copytree(folders / family / f"step{step}", tmp_path / "mixed" / f"step{step}")
    with pytest.raises(UserError, match="revisions of one run are one model"):
        import_hf(str(tmp_path / "mixed"), tmp_path / "run", hops=1)
    settings = json.loads((folders / "gpt2" / "step20" / "config.json").read_text())
    shutil.copytree(folders / "gpt2", tmp_path / "wider")
    (tmp_path / "wider" / "step20" / "config.json").write_text(json.dumps({**settings, "n_embd": 32}))
    with pytest.raises(UserError, match="n_embd is 32, that of the first revision 16"):
        import_hf(str(tmp_path / "wider"), tmp_path / "run", hops=1)
