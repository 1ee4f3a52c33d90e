"""The preset `markov`: symbols are counted first, transitions later, by the two heads that the literature names."""

from __future__ import annotations

import torch

from interp.config.run import configure
from interp.heads.heads import relation_mass
from interp.models import build_model
from interp.train.optimisers import Optimisers


def story(seed: int, **changes):
    """KL of the unigram and bigram answers over the second half, and both heads' scores, every 50 steps."""
    config = configure(
        "markov", seed=seed, changes={f"task.{name}": value for name, value in changes.items()}
    )
    task, model = config.task, build_model(config.model, config.task.interface, config.init_seed)
    optimisers, shown = Optimisers(model, config.train), task.sample(seed, "eval", 0, 256)
    known, relations = task.strategies(shown), {r.name: r for r in task.relations(shown)}
    found = []
    for step in range(config.train.steps + 1):
        if step % 50 == 0:
            with torch.no_grad():
                outputs, cache = model.run_with_cache(shown.inputs)
            row = {
                n: float(task.distance(outputs, known[n], shown).mean(0)[1]) for n in ("unigram", "bigram")
            }
            for layer, name in enumerate(("previous token", "follows the same symbol")):
                r, pattern = relations[name], cache[f"blocks.{layer}.attn.hook_pattern"]
                row[name] = float(relation_mass(pattern, r.dest, r.source, r.valid).nanmean())
            found.append(row)
        if step < config.train.steps:
            batch = task.sample(config.data_seed, "train", step, config.train.batch)
            task.loss(model(batch.inputs), batch).mean().backward()
            optimisers.update(step)
    return found


def test_counts_of_symbols_come_first_then_transitions_by_two_heads():
    first, *middle, last = story(0)
    assert first["unigram"] > 0.1
    assert first["bigram"] > 0.1
    assert min(row["unigram"] for row in middle) < 0.05, "there is a stage at which symbols are counted"
    stage = min(middle, key=lambda row: row["unigram"])
    assert stage["bigram"] > 2 * stage["unigram"]
    assert last["bigram"] < 0.05 < last["unigram"]
    assert first["previous token"] < 0.2
    assert last["previous token"] > 0.95
    assert first["follows the same symbol"] < 0.5
    assert last["follows the same symbol"] > 0.8
