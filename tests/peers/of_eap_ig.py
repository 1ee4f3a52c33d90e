"""EAP-IG's package on the net and the prompts that this project wrote. Run by the peers' own Python.

It is on no package index: SOURCE is a clone of github.com/hannamw/EAP-IG. Its code names the device "cuda" and takes
texts; here it is given the CPU's zeros and tokens in their place, and nothing else of it is changed.

    python tests/peers/of_eap_ig.py FOLDER SOURCE
"""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import given
import torch

STEPS = (8, 16)


class OnCpu:
    """torch, with zeros on the CPU whatever device is named."""

    def __getattr__(self, name):
        return getattr(torch, name)

    @staticmethod
    def zeros(*size, device=None, **settings):
        return torch.zeros(*size, **settings)


def tokens_as_they_are(model, inputs, max_length=None):
    """In place of its tokenizer: tokens, a mask that hides none, lengths, positions."""
    mask = torch.ones_like(inputs)
    return inputs, mask, mask.sum(1), inputs.shape[1]


def label(node: str, reads: bool) -> str:
    """Its name of a node as this project has it.

    >>> label("a1.h2<q>", True), label("a0.h3", False), label("m1", True), label("m1", False), label("logits", True)
    ('L1H2.q', 'L0H3', 'L1.mlp_pre', 'L1.mlp_out', 'output')
    """
    if node.startswith("a"):
        layer, head = node[1:].split(".h")
        return f"L{layer}H{head.replace('<', '.').replace('>', '')}"
    if node.startswith("m"):
        return f"L{node[1:]}.{'mlp_pre' if reads else 'mlp_out'}"
    return {"input": "embed", "logits": "output"}[node]


def by_edge(graph, scores) -> dict:
    """Scores under this project's names."""
    found = {}
    for name, edge in graph.edges.items():
        sender, receiver = name.split("->")
        found[label(sender, False), label(receiver, True)] = float(scores[edge.matrix_index])
    return found


def main(folder: Path, source: Path) -> None:
    sys.path.insert(0, str(source / "src"))
    from eap import attribute, evaluate  # pyright: ignore[reportMissingImports]
    from eap.graph import Graph  # pyright: ignore[reportMissingImports]

    attribute.torch = evaluate.torch = OnCpu()
    attribute.tokenize_plus = evaluate.tokenize_plus = tokens_as_they_are
    data = given.prompts(folder)
    model = given.net(
        folder,
        use_attn_result=True,
        use_split_qkv_input=True,
        use_hook_mlp_in=True,
        ungroup_grouped_query_attention=True,
    )
    loader = [(data["clean"], data["corrupt"], None)]

    def metric(logits, clean_logits, lengths, labels):
        return given.apart(logits, data).sum()  # it divides by the number of prompts itself

    def effects(logits, clean_logits, lengths, labels):
        return given.apart(logits, data)

    graph = Graph.from_model(model)
    seconds, scores = given.cpu_seconds(
        lambda: attribute.get_scores_eap(model, graph, loader, metric, quiet=True)
    )
    found = {"eap": by_edge(graph, scores)}
    for steps in STEPS:
        scores = attribute.get_scores_eap_ig(model, graph, loader, metric, steps=steps, quiet=True)
        found[f"eap-ig/{steps}"] = by_edge(graph, scores)
    whole = Graph.from_model(model)
    attribute.get_scores_exact(model, whole, loader, effects, quiet=True)
    found["exact"] = by_edge(whole, whole.scores)
    own = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    packages = {"EAP-IG": own, **{p: version(p) for p in ("transformer-lens", "torch")}}
    facts = {"packages": packages, "seconds": seconds}
    given.write(folder, "eap_ig", found, facts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
