"""Tiny untrained Hugging Face models, saved as revisions of two families."""

import torch

from interp.studies.retrieval_prompts.runs_texts import SmallModel
from interp.studies.retrieval_prompts.runs_weights import build_small

FAMILIES = ("gpt2", "gpt-neox")
STEPS = (0, 20)


def untrained(family, seed):
    """A tiny net whose weights are large enough for everything in it to show in its outputs."""
    model = build_small(SmallModel(family=family, layers=2, heads=2, width=16, keep=(0,), seed=seed)).eval()
    gen = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=gen)
    return model
