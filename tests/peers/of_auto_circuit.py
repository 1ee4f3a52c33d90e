"""auto-circuit's EAP and ACDC on the net and the prompts that this project wrote. Run by the peers' own Python.

python tests/peers/of_auto_circuit.py FOLDER [--time]
"""

import sys
from importlib.metadata import version
from pathlib import Path

import given
import torch
from auto_circuit.data import PromptDataLoader, PromptDataset  # pyright: ignore[reportMissingImports]
from auto_circuit.prune_algos.ACDC import acdc_prune_scores  # pyright: ignore[reportMissingImports]
from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores  # pyright: ignore[reportMissingImports]
from auto_circuit.utils.graph_utils import patchable_model  # pyright: ignore[reportMissingImports]

TAUS = ((-3, 1), (-2, 1), (-1, 1))  # exponent and base, as it takes them


def label(name: str) -> str:
    """Its name of a node as this project has it.

    >>> label("A1.2.Q"), label("A0.3"), label("Resid Start"), label("Resid End")
    ('L1H2.q', 'L0H3', 'embed', 'output')
    """
    if name.startswith("A"):
        layer, head, *slot = name[1:].split(".")
        return f"L{layer}H{head}" + "".join(f".{s.lower()}" for s in slot)
    return {"Resid Start": "embed", "Resid End": "output"}.get(name, name)


def edge_label(edge) -> tuple[str, str]:
    """An MLP is named by what it writes as a sender and by what it reads as a receiver."""
    sender, receiver = label(edge.src.name), label(edge.dest.name)
    if sender.startswith("MLP"):
        sender = f"L{sender.split()[1]}.mlp_out"
    if receiver.startswith("MLP"):
        receiver = f"L{receiver.split()[1]}.mlp_pre"
    return sender, receiver


def main(folder: Path, only_time: bool) -> None:
    data = given.prompts(folder)
    model = given.net(folder, use_attn_result=True, use_split_qkv_input=True, use_hook_mlp_in=True)
    patchable = patchable_model(model, factorized=True, slice_output="last_seq", separate_qkv=True)
    pairs = PromptDataset(data["clean"], data["corrupt"], list(data["right"]), list(data["wrong"]))
    loader = PromptDataLoader(
        pairs, seq_len=None, diverge_idx=0, batch_size=len(data["clean"]), shuffle=False
    )

    def estimate():
        for wrapper in patchable.dest_wrappers:
            wrapper.patch_mask.grad = None
        return mask_gradient_prune_scores(patchable, loader, None, "logit", "avg_diff", mask_val=0.0)

    seconds, scores = given.cpu_seconds(estimate)
    facts = {
        "packages": {p: version(p) for p in ("auto-circuit", "transformer-lens", "torch")},
        "seconds": seconds,
        "edges": len(patchable.edges),
    }
    found = {"eap": {edge_label(e): -float(e.prune_score(scores)) for e in patchable.edges}}  # of a loss
    if not only_time:
        order = sorted(patchable.edges, key=lambda e: e.dest.layer, reverse=True)  # as it visits them
        for exponent, base in TAUS:
            pruned = acdc_prune_scores(patchable, loader, None, [exponent], [base], "mse")
            kept = {edge_label(e): float(e.prune_score(pruned) == torch.inf) for e in order}
            found[f"acdc/{base * 10**exponent:g}"] = kept
    given.write(folder, "auto_circuit", found, facts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--time" in sys.argv)
