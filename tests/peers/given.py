"""What every peer is given, read without this project: run by the peers' own Python, so it imports none of it.

`net.npz` holds weights under the names of TransformerLens' HookedTransformer, `net.json` its settings, `prompts.npz`
clean and corrupt prompts with each one's right and wrong output (the metric is the difference of their logits at the
last position), and prompts with answers, of which losses are measured. Edges are named as this project names them.
"""

import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


def net(folder: Path, **settings):
    """The model as TransformerLens has it, in eval mode; weights by name, and every one of them."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = json.loads((folder / "net.json").read_text())
    model: Any = HookedTransformer(HookedTransformerConfig(**config, device="cpu", **settings))  # pyright: ignore
    with np.load(folder / "net.npz") as file:
        weights = {name: torch.from_numpy(file[name]) for name in file.files}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.endswith(("mask", "IGNORE")) for name in missing):
        raise SystemExit(f"weights do not fit: {missing} {unexpected}")
    return model.eval()


def prompts(folder: Path) -> dict:
    """Arrays by name."""
    with np.load(folder / "prompts.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def apart(logits, given):
    """Each prompt's logit of its right output less that of its wrong one, at the last position."""
    last = logits[:, -1]
    return (last.gather(1, given["right"]) - last.gather(1, given["wrong"]))[:, 0]


def cpu_seconds(call, repeats: int = 3):
    """The least CPU time of some calls, and what the last one gave."""
    found, value = [], None
    for _ in range(repeats):
        began = time.process_time()
        value = call()
        found.append(time.process_time() - began)
    return min(found), value


def write(folder: Path, name: str, edges: dict, facts: dict, **arrays) -> None:
    """Scores by (sender, receiver) and whatever else was found, as plain arrays; `facts` as JSON."""
    for key, scores in edges.items():
        arrays[f"{key}/edges"] = np.array([f"{s} -> {r}" for s, r in scores])
        arrays[f"{key}/values"] = np.array(list(scores.values()))
    np.savez(folder / f"{name}.npz", **arrays)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1))
