"""What a path carries into attention: the planted path alone, by hand on shared keys, and what is refused."""

import pytest
import torch

import interp
from interp.causal.paths import patch_paths, sender_changes
from interp.causal.suffix import SuffixEngine
from interp.heads.heads import relation_mass
from interp.heads.path_attention import path_attention
from interp.models.constructed import constructed_retrieval
from tasks import UserError
from tests.external.adopting import theirs

INDUCTION = {"kind": "induction", "vocabulary": 13, "length": 4, "candidates": 0}
PATHS = [(["L0H1"], ["L1H2-3.k"]), (["L0H1"], ["L1H3.q"]), (["embed", "L0H1", "L0H2"], ["L1H3"])]


@pytest.fixture(scope="module")
def llama():
    """A small Llama whose heads share keys by two, with its run."""
    run = interp.adopt(theirs.drawn(theirs.KINDS["Llama"]()), task=INDUCTION, quiet=True)
    return run, run.model()


def test_the_planted_path_alone_carries_the_attention_of_the_second_hop():
    net = constructed_retrieval(2, variant="chain", distractors=6, dtype="float32")
    pair = net.task.pair("swap-hop-1", 0, "test", 0, 32)
    role = {name: head for head, name in net.circuit.roles.items()}
    first, second = role["query -> link_1"], role["query -> link_2"]
    other = next(f"L0H{h}" for h in range(net.model.config.n_heads) if f"L0H{h}" not in net.circuit.roles)
    paths = [([first], [f"{second}.q"]), ([first], [f"{second}.k"]), ([other], [f"{second}.q"])]
    table = path_attention(net.model, net.task, pair, paths, "query -> link_2", [second], direction="noise")
    assert table["value"][0] == pytest.approx(0, abs=1e-4)
    assert table["value"][1:].to_numpy() == pytest.approx(1, abs=1e-4)
    assert table["ci_low"].notna().all()


def test_it_is_what_the_shared_key_changed_by_hand_gives(llama):
    run, model = llama
    pair = run.task.pair("other-copies", 0, "test", 0, 6)
    table = path_attention(model, run.task, pair, PATHS[:1], "induction", ["L1H2", "L1H3"], direction="noise")
    relation = next(r for r in run.task.relations(pair.clean) if r.name == "induction")
    stem, block = "blocks.1.", model.blocks[1]
    with torch.no_grad():
        caches = [
            model.run_with_cache(b.inputs, return_cache_object=False)[1] for b in (pair.clean, pair.corrupt)
        ]
        change = caches[1]["blocks.0.attn.hook_z"] - caches[0]["blocks.0.attn.hook_z"]
        moved = caches[0][stem + "hook_resid_pre"] + change[:, :, 1] @ model.blocks[0].attn.W_O[1]
        key = block.ln1.plain(moved) @ block.attn.W_K[1]
        held = []

        def write(value, hook):
            value = value.clone()
            value[:, :, 1] = key
            return value

        def keep(pattern, hook):
            held.append(pattern.clone())

        hooks = [(stem + "attn.hook_k", write), (stem + "attn.hook_pattern", keep)]
        model.run_with_hooks(pair.clean.inputs, fwd_hooks=hooks)
    wanted = relation_mass(held[0], relation.dest, relation.source).mean(0)
    assert table["raw"].to_numpy() == pytest.approx(wanted[2:4].numpy(), abs=1e-5)
    clean = relation_mass(caches[0][stem + "attn.hook_pattern"], relation.dest, relation.source).mean(0)
    assert (wanted - clean).abs()[2:4].max() > 1e-3


def test_paths_patched_from_their_layer_on_are_those_of_whole_passes(llama, monkeypatch):
    run, model = llama
    pair = run.task.pair("other-copies", 0, "test", 0, 6)

    def tables():
        return (
            patch_paths(model, run.task, pair, PATHS, direction="noise"),
            path_attention(model, run.task, pair, PATHS, "induction", ["L1H3"], direction="noise"),
        )

    entered = tables()
    monkeypatch.setattr(SuffixEngine, "_passes_whole", lambda self, sites: True)
    monkeypatch.setattr("interp.heads.path_attention.padded", lambda config, inputs: True)
    for found, whole in zip(entered, tables(), strict=True):
        assert found["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), abs=1e-4)
        assert found["value"].nunique() == 3


def test_what_senders_change_sums_to_the_change_of_the_stream(llama):
    run, model = llama
    pair = run.task.pair("other-copies", 0, "test", 0, 4)
    names = ["embed", "L0H0", "L0H1", "L0H2", "L0H3", "L0.mlp_out"]
    found = sender_changes(model, pair.clean.inputs, pair.corrupt.inputs, names)
    with torch.no_grad():
        streams = [model(b.inputs, stop_at_layer=1) for b in (pair.clean, pair.corrupt)]
    assert torch.allclose(sum(found.values()), streams[1] - streams[0], atol=1e-5)


def test_what_does_not_fit_is_refused(llama):
    run, model = llama
    pair = run.task.pair("other-copies", 0, "test", 0, 4)

    def asked(paths=PATHS[:1], relation="induction", heads=("L1H3",), **more):
        return path_attention(model, run.task, pair, paths, relation, heads, **more)

    with pytest.raises(UserError, match="no relation 'inductions'"):
        asked(relation="inductions")
    with pytest.raises(UserError, match="no head"):
        asked(heads=["L1.mlp_out"])
    with pytest.raises(UserError, match="no sender"):
        asked([(["output"], ["L1H3"])])
    with pytest.raises(UserError, match="no receiver"):
        asked([(["L0H1"], ["L1H3.k"])])  # its key is that of two heads
    with pytest.raises(UserError, match="unknown direction"):
        asked(direction="sideways")
