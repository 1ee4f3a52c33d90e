"""Relations whose pairs differ from prompt to prompt: scores, replicates, clamps against direct loops."""

import torch

from interp.config.run import configure
from interp.emergence.draws import DrawAccumulator
from interp.emergence.scores import ScoreAccumulator
from interp.heads.heads import HeadAccumulator, relation_mass
from interp.models import build_model
from interp.models.clamps import Clamps
from tasks import MarkovChains


def patterns(batch, heads=2, pos=5):
    scores = torch.randn(batch, heads, pos, pos, generator=torch.Generator().manual_seed(0))
    return scores.masked_fill(~torch.ones(pos, pos, dtype=torch.bool).tril(), -torch.inf).softmax(-1)


def test_mass_counts_valid_pairs_and_the_rows_that_have_one():
    pattern = patterns(3)
    dest, source = (t.expand(3, -1) for t in torch.tril_indices(5, 5, -1))
    valid = torch.rand(3, 10, generator=torch.Generator().manual_seed(1)) < 0.4
    valid[2] = False
    mass = relation_mass(pattern, dest, source, valid)
    for b in range(2):
        kept = [(d, s) for d, s, v in zip(dest[b].tolist(), source[b].tolist(), valid[b], strict=True) if v]
        rows = {d for d, _ in kept}
        direct = sum(pattern[b, :, d, s] for d, s in kept) / len(rows)
        assert torch.allclose(mass[b], direct)
    assert mass[2].isnan().all()
    everything = torch.ones(3, 10, dtype=torch.bool)
    assert torch.allclose(
        relation_mass(pattern, dest, source, everything), relation_mass(pattern, dest, source)
    )


def test_prompts_without_a_pair_are_left_out_of_tables_and_replicates():
    task = MarkovChains(symbols=64, length=5)  # symbols seldom recur
    batch = task.sample(0, "test", 0, 600)
    pattern = patterns(600)
    heads = HeadAccumulator(["hook"], task, "attention")
    accumulator = DrawAccumulator(ScoreAccumulator(task), heads, 60)
    accumulator.add(0, batch, torch.zeros(600, 5, 64), {"hook": pattern})
    relation = task.relations(batch)[1]
    has = relation.valid.any(1)
    assert 20 < has.sum() < 300
    table = heads.table().set_index(["metric", "head"])
    row = table.loc[("follows the same symbol", 0)]
    direct = relation_mass(pattern, relation.dest, relation.source, relation.valid)[has, 0]
    assert row["n"] == int(has.sum())
    assert abs(row["value"] - float(direct.mean())) < 1e-6
    assert table.loc[("previous token", 0), "n"] == 600
    draws = accumulator.table()
    mine = draws[(draws["metric"] == "follows the same symbol") & (draws["head"] == 0)]
    replicates = mine[[f"draw {j}" for j in range(60)]].to_numpy()
    assert abs(replicates.mean() - float(direct.mean())) < 3 * replicates.std() / 60**0.5 + 1e-3
    assert 0.6 < replicates.std() / (float(direct.std()) / int(has.sum()) ** 0.5) < 1.5


def test_a_clamp_to_a_ragged_relation_attends_to_its_valid_pairs():
    config = configure(
        {
            "task": {"kind": "markov", "length": 12},
            "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 8, "mlp": "none"},
            "train": {
                "steps": 1, "batch": 1, "lr": 1e-3,
                "clamps": [{"site": "L0H0.pattern", "to": "relation", "relation": "follows the same symbol"}],
            },
        }
    )  # fmt: skip
    task, model = config.task, build_model(config.model, config.task.interface, 0)
    batch = task.sample(0, "test", 0, 3)
    clamps = Clamps(config.train.clamps, model, task)
    own = "blocks.0.attn.hook_pattern"
    free = model.run_with_cache(batch.inputs, names_filter=own)[1][own]
    with model.hooks(clamps.hooks(batch, 0)):
        held = model.run_with_cache(batch.inputs, names_filter=own)[1][own]
    relation = task.relations(batch)[1]
    for b in range(3):
        pairs = relation.pairs(b)
        for row in range(12):
            columns = [s for t, s in pairs if t == row]
            wanted = torch.zeros(12)
            wanted[columns] = 1 / max(1, len(columns))
            assert torch.allclose(held[b, 0, row], wanted if columns else free[b, 0, row], atol=1e-6)
