"""k-hop models made elsewhere: imported by a layout, their errors and heads against what was measured of them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch

import interp
from interp.emergence.dropout import dropout_scores
from interp.heads.statistics import statistics
from probes.independence import holm
from tasks.khop import KHop

MODELS = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "hop_induction"
FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
PROMPTS = 400 if FULL else 48
pytestmark = pytest.mark.skipif(
    not MODELS.is_dir(),
    reason="k-hop models made elsewhere: set ALGOSCOPE_DATA to the folder of hop_induction/",
)


def known():
    return json.loads((MODELS / "reference.json").read_text())


@pytest.fixture(scope="module")
def models():
    """The four models, each adopted in one line, with the module that it is."""
    transformers = pytest.importorskip("transformers")
    task, found = KHop(vocabulary=30), {}
    for depth in (2, 3, 4, 5):
        config = transformers.GPT2Config(
            vocab_size=30,
            n_positions=100,
            n_embd=128,
            n_layer=depth,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
        )
        file = MODELS / f"width4-depth{depth}" / "model_100000.pt"
        run = interp.adopt(
            lambda config=config: transformers.GPT2Model(config),
            checkpoints=file,
            task=task,
            layout="gpt2",
            quiet=True,
        )
        found[depth] = run.model()
    return found


def test_everything_is_proven_of_them(models):
    for model in models.values():
        assert [str(proof) for proof in model.proofs if not proof.holds] == []


def wrong(model, task, prompts):
    """Share of wrong answers, prompt by prompt."""
    batch = task.sample(0, "errors", 0, prompts)
    with torch.no_grad():
        return task.score(model(batch.inputs), batch)[:, 0].double()


def p_value(values, row):
    """Two-sided: the mean over prompts against the measured one, both with their errors over prompts."""
    low, high = row["ci_95_prompts"]
    error = math.hypot(float(values.var()) ** 0.5 / len(values) ** 0.5, (high - low) / 3.92)
    apart = abs(float(values.mean()) - row["error_eval_mode"])
    return math.erfc(apart / error / 2**0.5) if error else float(apart == 0)


def test_no_error_of_any_hop_differs_from_the_measured_one(models):
    task, rows = KHop(vocabulary=30), known()["errors"]
    assert len(rows) == 68
    some = [r for r in rows if r["hop"] % 4 == r["depth"] % 4 and r["error_eval_mode"] > 0.02]
    chosen = rows if FULL else some  # few prompts say nothing of rare errors
    values = {(r["depth"], r["hop"]): wrong(models[r["depth"]], task.at(r["hop"]), PROMPTS) for r in chosen}
    found = [p_value(values[r["depth"], r["hop"]], r) for r in chosen]
    assert min(holm(found)) > 0.05
    # the test can fail: with dropout on, as the authors measured, the middle hops are another matter
    row = next(r for r in rows if (r["depth"], r["hop"]) == (4, 8))
    own = wrong(models[4], task.at(8), 100)
    assert p_value(own, {**row, "error_eval_mode": row["error_with_dropout"]}) < 1e-3


def test_with_dropout_on_errors_are_the_authors_own(models):
    """All 68 figures at full counts: against those measured elsewhere with dropout on (500 prompts, so the errors of
    both are those of ours), Holm; and against the authors', whose number of prompts is not stated."""
    rows = known()["errors"]
    chosen = rows if FULL else [r for r in rows if (r["depth"], r["hop"]) in {(4, 4), (4, 8), (2, 3)}]
    prompts, p, near = 150 if FULL else 40, [], 0
    for row in chosen:
        task = KHop(vocabulary=30).at(row["hop"])
        table = dropout_scores(models[row["depth"]], task, prompts=prompts)
        found = table[(table["metric"] == "error") & (table["control"] == "none")].iloc[0]
        error = (found["ci_high"] - found["ci_low"]) / 3.92
        p.append(
            _two_sided(
                found["value"] - row["error_with_dropout"], error * math.hypot(1, (prompts / 500) ** 0.5)
            )
        )
        near += abs(found["value"] - row["authors"]) <= max(1.96 * error * 2**0.5, 0.01)
        assert abs(found["value"] - row["authors"]) < 0.05
    assert min(holm(p)) > 0.05
    assert near >= (0.9 * len(chosen) if FULL else 2)
    off = table[(table["metric"] == "error") & (table["control"] == "dropout off")].iloc[0]
    assert off["ci_high"] < found["ci_low"], "dropout costs much at the last of these cells"


def _two_sided(apart, error):
    return math.erfc(abs(apart) / error / 2**0.5) if error else float(apart == 0)


def test_heads_have_the_published_statistic(models):
    """The inner product of attention with the matrix of find^j, written out again; and its printed values."""
    printed = known()["heads"]["values"]["4,7"]
    task = KHop(vocabulary=30).at(7)
    batch = task.sample(0, "heads", 0, 48)
    ends = "attn.hook_pattern"
    with torch.no_grad():
        cache = models[4].run_with_cache(
            batch.inputs, names_filter=lambda n: n.endswith(ends), return_cache_object=False
        )[1]
    relations = {relation.name: relation for relation in task.relations(batch)}
    apart = []
    for name, values in printed.items():
        pattern = cache[f"blocks.{name[1]}.{ends}"][:, int(name[3]) : int(name[3]) + 1]
        for hop, (product, mass) in values.items():
            if hop not in ("hop", "0"):
                found = statistics(pattern, relations[f"find^{hop}"])[:, :, 0]
                again = [_inner(pattern[b, 0], batch.finds[b, int(hop)]) for b in range(4)]
                assert found[:4, 2].tolist() == pytest.approx(again, abs=1e-3)
                apart += [
                    abs(float(found[:, 2].nanmean()) - product),
                    abs(float(found[:, 0].nanmean()) - mass),
                ]
    assert max(apart) < 0.03  # other prompts than were measured there
    assert sum(apart) / len(apart) < 0.006


def _inner(pattern, finds):
    """Between the attention of the letters and their find^j, in loops."""
    dot = sum(float(pattern[p, int(q)]) for p, q in enumerate(finds) if p and q >= 0)
    size = float(pattern.pow(2).sum()) ** 0.5 * int((finds >= 0).sum()) ** 0.5
    return dot / size
