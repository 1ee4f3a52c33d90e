"""What a preset's training costs on paper: counted FLOPs, hours at stated rates, memory.

FLOPs are matrix products only, counted by torch over one forward and backward pass (`FlopCounterMode`: a multiply-add
counts 2); element-wise work, the optimiser (Muon's orthogonalisation included), data and evaluations are not in it, and
a net without matrix products (one prompt a step) counts 0. Hours on an H100 take the share of the dense BF16 peak that
is stated here, which large language models reach: nets this small reach far less, so those hours are a lower bound.
Hours on one core take the matrix-product rate measured here, at the size given, so they are a lower bound, too.
Nothing was run at this scale.

Peak: NVIDIA H100 SXM data sheet, 989.4 TFLOP/s dense BF16. Share: 40%, about what MosaicML's LLM Foundry tables and
Llama 3 (arXiv 2407.21783, 38 to 43% in BF16) report.

    python -c "from tests.bench.cost import show; show()"
"""

from __future__ import annotations

import time

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from interp.config.run import RunConfig, configure, preset_names
from interp.models import build_model
from interp.train.optimisers import Optimisers

H100_PEAK = 989.4e12
H100_SHARE = 0.4
MATMUL_SIZE = 512
MATMUL_SECONDS = 1.0


def cost_table(rate: float | None = None) -> pd.DataFrame:
    """One row a preset: FLOPs of a step and of the run, hours, and megabytes.

    `rate`: FLOP/s of one core, measured when not given. `weights_mb` holds weights and gradients, `optimiser_mb` its
    state after a step, `activations_mb` what autograd keeps for the backward pass of one batch.
    """
    core = matmul_rate() if rate is None else rate
    return pd.DataFrame([{"preset": name, **cost(configure(name), core)} for name in preset_names()])


def cost(config: RunConfig, rate: float) -> dict[str, int | float]:
    """The cost of one run, at `rate` FLOP/s for a core."""
    model = build_model(config.model, config.task.interface, config.init_seed)
    optimisers = Optimisers(model, config.train)
    batch = config.task.sample(config.data_seed, "train", 0, config.train.batch)
    batch = batch.double() if config.model.dtype == "float64" else batch
    kept = _Kept(model)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            loss = config.task.loss(model(batch.inputs), batch).mean()
        loss.backward()
    step = float(counter.get_total_flops())
    optimisers.update(0)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    total = step * config.train.steps
    return {
        "steps": config.train.steps,
        "step_flop": step,
        "run_flop": total,
        "h100_hours": total / (H100_PEAK * H100_SHARE) / 3600,
        "core_hours": total / rate / 3600,
        "weights_mb": 2 * weights / 1e6,
        "optimiser_mb": sum(t.numel() * t.element_size() for t in optimisers.state().values()) / 1e6,
        "activations_mb": kept.bytes / 1e6,
    }


class _Kept:
    """Counts the storage that autograd keeps, each once and without the model's own weights."""

    def __init__(self, model: torch.nn.Module):
        self._seen = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._alive: list[torch.UntypedStorage] = []
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._alive.append(storage)  # so that its address is not given to another
            self.bytes += storage.nbytes()
        return tensor


def matmul_rate(size: int = MATMUL_SIZE, seconds: float = MATMUL_SECONDS) -> float:
    """FLOP per second of CPU time of float32 products of square matrices; the best of the rounds that fit."""
    a, b = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    best, end = 0.0, time.process_time() + seconds
    while time.process_time() < end:
        start = time.process_time()
        for _ in range(5):
            torch.mm(a, b)
        best = max(best, 5 * 2 * size**3 / (time.process_time() - start))
    return best


def show() -> None:
    """Print the table with the rate it was reckoned at."""
    torch.set_num_threads(1)
    rate = matmul_rate()
    print(f"one core: {rate / 1e9:.0f} GFLOP/s in {MATMUL_SIZE} x {MATMUL_SIZE} float32 products")
    print(f"one H100: {H100_SHARE:.0%} of {H100_PEAK / 1e12:.0f} TFLOP/s")
    print(cost_table(rate).to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    show()
