"""Cost of a training step of the linear transformer: Gram form beside token form, and stacks beside single runs.

Setting of the landscape study: three layers, d = 5, n = 20, 1000 prompts; a step is data, forward and backward.
Peer of the first row: the same model made to take its token form by an empty hook, in turns with the other; the faster
turn of each counts. Peer of the stacks: the same runs one by one (`tests.bench.stacked`); the more ride along, the
less of a small batch's step is overhead, until memory is what costs. Milliseconds of CPU time
with the number of threads torch has when called (1 from the command line); `ratio` above 1 is in our favour.

    python -m tests.bench.linear [--members N ...] [--steps N]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

from interp.config.run import RunConfig, configure
from interp.models.build import build_model
from interp.models.linear import LinearTransformer
from interp.train.stacked_pace import stacked_table

TURNS = 3


def forms(config: RunConfig, steps: int = 20) -> dict[str, int | float | str]:
    """Milliseconds of a step in the Gram form (`project_ms`) and in the token form (`baseline_ms`), and their ratio."""
    model = build_model(config.model, config.task.interface, config.init_seed)
    assert isinstance(model, LinearTransformer)

    def gram() -> None:
        _steps(config, model, steps)

    def tokens() -> None:
        point = model.hook_dict["hook_embed"]
        point.add_hook(lambda tensor, *, hook: None)
        _steps(config, model, steps)
        model.reset_hooks()

    project, baseline = _best((gram, tokens))
    return {
        "what": f"L={config.model.n_layers} step of {config.train.batch} prompts, Gram form and token form",  # type: ignore[union-attr]
        "project_ms": 1e3 * project / steps,
        "baseline_ms": 1e3 * baseline / steps,
        "ratio": baseline / project,
    }


def _steps(config: RunConfig, model: LinearTransformer, steps: int) -> None:
    for step in range(steps):
        batch = config.task.sample(config.data_seed, "bench", step, config.train.batch)
        model.zero_grad(set_to_none=True)
        config.task.loss(model(batch.inputs), batch).mean().backward()


def _best(conditions: tuple[Callable[[], None], ...]) -> list[float]:
    """Seconds of CPU time of each arm: its fastest of `TURNS`, taken in turns after a turn that is not counted."""
    found = [float("inf")] * len(conditions)
    for turn in range(TURNS + 1):
        for k, condition in enumerate(conditions):
            begin = time.process_time()
            condition()
            spent = time.process_time() - begin
            found[k] = min(found[k], spent) if turn else found[k]
    return found


def main() -> None:
    """Print one JSON object a row: the two forms, then stacks at batches 16, 64, 256 and 1000."""
    parser = argparse.ArgumentParser(description="training steps of linear transformers")
    parser.add_argument("--members", type=int, nargs="+", default=[6, 24])
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = configure("linear-attention")
    print(json.dumps(forms(config, asked.steps)), flush=True)
    for members in asked.members:
        for row in stacked_table(config, members=members, steps=asked.steps // 2).to_dict("records"):
            print(json.dumps({"what": f"stack of {members}", **row}), flush=True)


if __name__ == "__main__":
    main()
