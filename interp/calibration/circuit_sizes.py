"""Size and power of the tests of a circuit, on nets by hand whose every head carries one number of the prompt.

The first position holds independent normal numbers, one a head; head h moves its number, times a gain, to the second
position, which is read. The target is the sum of some numbers, times gains, plus noise. So a circuit of some heads
leaves out exactly what the others carry, and each null can be made to hold exactly:

equivalence: a head outside the circuit carries a number that the target does not depend on. Circuit and model then
have this number from one prompt or another, and either has the lower loss equally often.
independence: the heads outside carry nothing.
minimality: the edge tested was brought into the circuit by a random path, as those that it is compared with.

Power is against one number of the target left out (equivalence, independence; its gain is stated) and for edges that
carry the target, among heads that carry half as much on average (minimality).

    python -m interp.calibration.circuit_sizes [--nets 400] [--prompts 128]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.behaviour import resampled_pair
from interp.causal.curve import Judge
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.hypothesis_tests import EPSILON, LEVEL, check_circuit, equivalence, minimality_p, rejected
from interp.causal.inflated import inflated_effects, inflations
from interp.causal.metrics import metric_of
from interp.causal.pruning import ablation_effects
from interp.config.model_transformer import TransformerConfig
from interp.models.transformer import HookedTransformer
from probes.independence import independence
from probes.stats import share
from tasks.base import Batch, Interface, Task
from tasks.streams import generator

NOISE = 0.5
LEFT_OUT = (0.5, 1.0)  # gains of the number that the circuit leaves out, where those in it have 1
HEADS = 24
PERMUTATIONS = 199


class Sums(Task):
    """Numbers at the first position; the target, at the second, is their sum times `gains`, plus noise."""

    gains: tuple[float, ...]
    noise: float = NOISE

    @property
    def interface(self) -> Interface:
        return Interface(
            inputs="continuous", d_in=len(self.gains) + 2, d_out=1, n_ctx=2, output_positions=(1,)
        )

    def sample(self, seed: int, stream: str, step: int, batch: int) -> Batch:
        source = generator(seed, stream, step)
        numbers = torch.randn(batch, len(self.gains), generator=source)
        inputs = torch.zeros(batch, 2, len(self.gains) + 2)
        inputs[:, 0, 2:], inputs[:, 0, 0], inputs[:, 1, 1] = numbers, 1.0, 1.0
        target = numbers @ torch.tensor(self.gains)
        return Batch(inputs, target + self.noise * torch.randn(batch, generator=source))

    def loss(self, outputs: Float[Tensor, "batch pos 1"], batch: Batch) -> Float[Tensor, "batch 1"]:
        return (outputs[:, 1:, 0] - batch.targets[:, None]) ** 2


def net_of(gains: Sequence[float], task: Sums, seed: int) -> HookedTransformer:
    """The net whose head h adds its number, times `gains[h]`, to the output; the stream is turned at random."""
    heads, width = len(gains), len(gains) + 3
    config = TransformerConfig(
        n_layers=1, n_heads=heads, d_model=width, d_head=1, attention="linear", attn_scale="none", mask="full",
        layer_norm="none", mlp="none", biases=False, positions="none",
    )  # fmt: skip
    model = HookedTransformer(config, task.interface, 0).eval()
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator(seed, "turn", 0))).Q
    with torch.no_grad():
        model.token_embed.W_E.copy_(turn[: heads + 2])
        attn = model.typed_blocks()[0].attn
        for h, gain in enumerate(gains):
            attn.W_K[h, :, 0], attn.W_Q[h, :, 0], attn.W_V[h, :, 0] = turn[0], turn[1], turn[2 + h]
            attn.W_O[h, 0] = gain * turn[-1]
        model.W_U[:, 0] = turn[-1]
    return model


def circuit_of(heads: Sequence[int]) -> frozenset[Edge]:
    """The edges by which some heads carry what varies."""
    names = [f"L0H{h}" for h in heads]
    return frozenset([("embed", f"{name}.v") for name in names] + [(name, "output") for name in names])


def _judge(model: HookedTransformer, task: Task, prompts: int, seed: int) -> Judge:
    pair = resampled_pair(task, seed, prompts)
    return Judge(model, pair, metric_of(task, pair, "loss"))


def _equivalence(extra: float, wanted: float, epsilon: float) -> Callable[[int, int], bool]:
    """Whether equivalence is rejected where the circuit leaves out a number of gain `extra`, the target's `wanted`."""

    def once(seed: int, prompts: int) -> bool:
        task = Sums(gains=(1.0, 1.0, wanted))
        bench = _judge(net_of((1.0, 1.0, extra), task, seed), task, prompts, seed)
        return equivalence(bench.measure(circuit_of((0, 1))), bench.full, epsilon=epsilon)[1] <= LEVEL

    return once


def _independence(extra: float) -> Callable[[int, int], bool]:
    def once(seed: int, prompts: int) -> bool:
        task = Sums(gains=(1.0, 1.0, extra))
        bench = _judge(net_of((1.0, 1.0, extra), task, seed), task, prompts, seed)
        past = bench.runs.outputs(bench.every - circuit_of((0, 1)))[:, 1]
        full = bench.runs.outputs(bench.every)[:, 1]
        return independence(past, full, permutations=PERMUTATIONS, seed=seed)[1] <= LEVEL

    return once


def _spread(seed: int, size: float) -> list[float]:
    """Gains of heads beside those of the target, of mean size `size`."""
    drawn = torch.randn(HEADS, generator=generator(seed, "gains", 0)).abs()
    return (size * drawn / drawn.mean()).tolist()


def _chance_edge(seed: int, prompts: int) -> bool:
    """Whether an edge that a random path brought into the circuit is called needed (not corrected)."""
    task = Sums(gains=(1.0, 1.0, *[0.0] * HEADS))
    model = net_of((1.0, 1.0, *_spread(seed, 0.5)), task, seed)
    pair = resampled_pair(task, seed, prompts)
    metric, runs = metric_of(task, pair, "loss"), EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    whole, edge = next(iter(inflations(runs.known, circuit_of((0, 1)), 1, seed)))
    effect = float(ablation_effects(runs, whole, [metric], [edge])[0][edge].double().abs().mean())
    null = inflated_effects(runs, whole, metric, 100, seed + 1)
    return minimality_p(effect, null)[1] <= LEVEL


def _needed_edges(seed: int, prompts: int) -> bool:
    """Whether every edge of the target's circuit is called needed, corrected for their number."""
    task = Sums(gains=(1.0, 1.0, *[0.0] * HEADS))
    model = net_of((1.0, 1.0, *_spread(seed, 0.5)), task, seed)
    table = check_circuit(model, task, circuit_of((0, 1)), prompts=prompts, seed=seed, permutations=9)
    return bool(rejected(table, "minimality").all())


CASES: dict[tuple[str, str], Callable[[int, int], bool]] = {
    ("equivalence, tolerance 0", "size"): _equivalence(0.5, 0.0, 0.0),
    **{("equivalence", f"power, gain {gain:g}"): _equivalence(gain, gain, EPSILON) for gain in LEFT_OUT},
    ("independence", "size"): _independence(0.0),
    **{("independence", f"power, gain {gain:g}"): _independence(gain) for gain in LEFT_OUT},
    ("minimality", "size"): _chance_edge,
    ("minimality", "power"): _needed_edges,
}


def boundary_size(prompts: int, epsilon: float = EPSILON) -> float:
    """Exact size of the equivalence test at the edge of its null, P(circuit better) = 1/2 + epsilon."""
    from scipy.stats import binom

    rejecting = [
        k
        for k in range(prompts + 1)
        if equivalence((torch.arange(prompts) < k).double(), torch.full((prompts,), 0.5), epsilon=epsilon)[1]
        <= LEVEL
    ]
    return float(sum(binom.pmf(k, prompts, 0.5 + epsilon) for k in rejecting))


def measured(nets: int, prompts: int = 128, only: Sequence[str] = ("size", "power")) -> pd.DataFrame:
    """One row a test and case: the share of `nets` nets, a seed each, in which the test rejects, with its interval."""
    rows = []
    for (test, what), once in CASES.items():
        if what.startswith(tuple(only)):
            found = share(sum(once(seed, prompts) for seed in range(nets)), nets)
            rows.append({"test": test, "case": what, "nets": nets, **found.row()})
    return pd.DataFrame(rows)


def main() -> None:
    """Print sizes and powers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nets", type=int, default=400)
    parser.add_argument("--prompts", type=int, default=128)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(measured(asked.nets, asked.prompts).to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    print(f"equivalence at the edge of its null, exact: {boundary_size(asked.prompts):.3f}")


if __name__ == "__main__":
    main()
