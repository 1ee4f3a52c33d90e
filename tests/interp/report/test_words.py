"""The first words of a page: what answers each hop, and what it costs to take that away."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
import torch

from interp.analysis.conclusion import paragraph as text
from interp.analysis.registry import conclusion_of
from interp.causal.circuit import Circuit
from interp.config.model_transformer import TransformerConfig
from interp.heads import ablation_conclusions
from interp.heads.agreement import agreement
from interp.heads.mechanism import mechanism
from interp.heads.roles import roles
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from interp.report.sketch import LEAST, sketch, strongest
from tasks import Relation
from tasks.retrieval import MultiHopRetrieval


def hops_answered(table: pd.DataFrame) -> str:
    return text(conclusion_of("mechanism", table))


def agreement_sentence(table: pd.DataFrame) -> str:
    return text(conclusion_of("agreement", table))


def rows(hop: str, named: str, direct: float, ahead: float) -> list[dict]:
    """One hop's rows as `mechanism` writes them, at one checkpoint."""
    shared = {"step": 8, "position": hop, "note": ""}
    return [
        {**shared, "metric": "direct", "value": direct, "members": "L0H1"},
        {**shared, "metric": "ahead", "value": ahead, "members": "L1H2 L1H3"},
        {**shared, "metric": "circuit", "value": 1.0, "members": None, "note": named},
    ]


def test_the_cost_is_that_of_the_heads_that_are_named() -> None:
    table = pd.DataFrame(rows("hop 1", "stacked", 0.9, 0.1) + rows("hop 2", "look-ahead", 0.2, 0.7))
    said = hops_answered(table)
    assert "Hop 1 is answered by heads that attend from the query to the hop's own link (L0H1)" in said
    assert (
        "hop 2 is answered by links that attend to their successors in an earlier layer (L1H2, L1H3)" in said
    )
    assert said.endswith("Ablating them costs their hop 70% to 90% of what the loss of all heads would.")


@pytest.mark.parametrize(("direct", "ahead"), [(0.25, 0.8), (0.8, 0.25)])
def test_a_hop_answered_both_ways_tells_the_cost_of_either_team(direct: float, ahead: float) -> None:
    said = hops_answered(pd.DataFrame(rows("hop 2", "both", direct, ahead)))
    assert (
        "both by heads on its own link and by links that attend to their successors (L0H1, L1H2, L1H3)"
        in said
    )
    assert said.endswith(
        "Ablating them, each group by itself, costs their hop 25% to 80% of what the loss of all heads would."
    )


@pytest.mark.parametrize("named", ["other", "not solved"])
def test_where_no_heads_are_named_nothing_is_said_to_cost_anything(named: str) -> None:
    assert "Ablating" not in hops_answered(pd.DataFrame(rows("hop 1", named, 0.9, 0.9)))


def test_only_the_last_checkpoint_speaks() -> None:
    early = pd.DataFrame(rows("hop 1", "not solved", 0.0, 0.0)).assign(step=4)
    said = hops_answered(pd.concat([early, pd.DataFrame(rows("hop 1", "stacked", 0.5, 0.0))]))
    assert said.endswith("costs their hop 50% of what the loss of all heads would.")


def test_a_wired_chain_is_told_with_its_heads_and_their_whole_effect() -> None:
    net = constructed_retrieval(2, "chain", distractors=6, seed=2)
    said = hops_answered(mechanism(net.model, net.task, prompts=64).assign(step=0))
    assert said.startswith("Hop 1 and hop 2 are answered by heads that attend from the query")
    assert all(head in said for head in net.circuit.heads)
    assert not any(head in said for head in net.circuit.distractors)
    low = int(said.split("costs their hop ")[1].split("%")[0])
    assert low >= 90, "there is no other way to an answer in this net"


def test_an_untrained_net_is_said_to_answer_nothing() -> None:
    task = MultiHopRetrieval(hops=2)
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=16, mask="full", positions="none", mlp="none")
    table = mechanism(build_model(config, task.interface, 0).eval(), task, prompts=64).assign(step=0)
    assert hops_answered(table) == "Hop 1 and hop 2 are answered not at all."


def test_agreement_counts_heads_and_names_those_that_say_otherwise() -> None:
    net = constructed_retrieval(2, "chain", distractors=6, seed=2, dtype="float32")
    held = roles(net.model, net.task, prompts=64)
    planted = tuple((head, "output") for head in sorted(net.circuit.heads))
    whole = agreement(Circuit(planted, (1.0,) * len(planted)), held).assign(step=4)
    total = len(whole)
    assert agreement_sentence(whole).startswith(f"Circuit and attention agree on {total} of {total} heads (")
    assert agreement_sentence(whole).endswith("by chance).")
    forced = agreement_sentence(whole.assign(chance=1.0))
    assert forced.endswith("this shows nothing.")
    assert "by chance" not in forced
    less = agreement(Circuit(planted[:1], (1.0,)), held).assign(step=8)
    said = agreement_sentence(pd.concat([whole, less]))
    assert f"agree on {total - 1} of {total} heads" in said
    assert f"not on {planted[1][0]} (a role, but not in the circuit)" in said


def looks(*rows: tuple[int, int, str, float]) -> pd.DataFrame:
    """Head scores at one checkpoint: layer, head, relation, score."""
    columns = ["layer", "head", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(step=8, control="none")


def held(*rows: tuple[int, int, str, float, str]) -> pd.DataFrame:
    """What `agreement` says of heads: layer, head, role, cost of the ablation, verdict."""
    return pd.DataFrame(rows, columns=["layer", "head", "role", "effect", "verdict"]).assign(step=8)


def test_nearly_equal_heads_are_named_together_and_the_picture_draws_one_of_them() -> None:
    asked, onward = "query -> link_1", "link_1 -> link_2"
    scores = looks((0, 0, asked, 0.97), (0, 1, asked, 0.95), (1, 0, asked, 0.5), (1, 0, onward, 0.9))
    found = held((0, 0, asked, 0.01, "idle"), (0, 1, asked, 0.4, "needed"), (1, 0, asked, 0.9, "needed"))
    said = text(conclusion_of("heads", scores))
    assert "query -> link 1 by L0H0 (0.97), L0H1 (0.95); link 1 -> link 2 by L1H0 (0.90)" in said
    assert "L1H0 (0.50)" not in said, "far below the best head"
    drawn = strongest(scores, found).set_index("metric")["head"]
    assert drawn[asked] == 1, "of nearly equal heads the one whose ablation costs most"


@pytest.mark.parametrize("count", [7, 10, 11])
def test_words_and_picture_show_the_same_reads_of_many(count: int) -> None:
    names = [f"x {i + 1}" for i in range(count)]
    came = pd.DataFrame(
        {"subject": names, "position": names, "step": range(count), "last": count, "metric": "loss"}
    )
    came = came.assign(ci_low=came["step"], ci_high=came["step"], head=None)
    scores = pd.DataFrame(
        {"position": names, "metric": "loss", "value": 0.5, "step": count, "control": "none"}
    )
    drawn = sketch(["a", "b"], (), None, scores, came, count)
    assert drawn is not None
    said = text(conclusion_of("emergence", came))
    assert [name for name in names if f"{name} at " in said] == [line.text for line in drawn.lines]


def test_one_checkpoint_has_no_timeline_and_labels_that_would_overlap_are_left_out() -> None:
    tokens = [f"t{i}" for i in range(60)]
    pairs = [[7, 5], [50, 20]]
    near = Relation("near", torch.tensor([[7, 50]]), torch.tensor([[5, 20]]))
    scores = pd.DataFrame(
        {"position": ["copy"], "metric": "loss", "value": 2.0, "step": 0, "control": "none"}
    )
    none = pd.DataFrame(
        {"subject": [], "position": [], "step": [], "metric": [], "ci_low": [], "ci_high": []}
    )
    drawn = sketch(tokens, [near], looks((0, 0, "near", 0.9)), scores, none, 0, dated=False)
    assert drawn is not None
    assert not drawn.dated
    (line,) = [line for line in drawn.lines if line.arc]
    labelled = {label for label, _ in drawn.tokens if label}
    dots = [x for label, x in drawn.tokens if label]
    assert any({f"t{end}" for end in pair} <= labelled for pair in pairs), "the ends of the arc have labels"
    assert min(b - a for a, b in itertools.pairwise(dots)) >= LEAST
    assert 25 <= len(labelled) <= 30
    assert line.step is None


def test_pairs_of_heads_and_unread_directions_reach_the_page() -> None:
    both = held((0, 0, "a", 0.9, "cancels"), (0, 1, "a", 0.9, "cancels"), (1, 0, "b", 0.5, "needed"))
    said = text(ablation_conclusions.pairs(both.assign(partner=["L0H1", "L0H0", ""])))
    assert said.startswith("L0H0 and L0H1 undo each other")
    assert ablation_conclusions.pairs(both.assign(partner="")) == []
    moved = pd.DataFrame(
        {
            "algorithm": "gd",
            "layer": [0, 1, 2],
            "use": ["used", "not read", "used"],
            "step": 8,
            "control": "none",
        }
    ).assign(metric="causal slope")
    said = text(conclusion_of("causal-probe", moved))
    assert "gd: used after blocks 0, 2, decoded, but from directions that no later" in said
