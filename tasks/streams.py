"""Where random numbers come from: a generator for every (seed, stream, step), and how many may be drawn at once."""

from __future__ import annotations

import hashlib

import torch

from tasks.errors import UserError


def generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A CPU generator whose state depends on all three arguments through a hash, so that neighbouring seeds,
    streams and steps share nothing."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


MAX_ELEMENTS = 2**28  # numbers in one batch: 1 GiB of float32


def check_batch(batch: int, per_prompt: int) -> None:
    """Refuse a batch that is empty or would not fit in memory, before anything is allocated.

    Raises UserError.
    """
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    if batch * per_prompt > MAX_ELEMENTS:
        most = MAX_ELEMENTS // per_prompt
        raise UserError(
            f"a batch of {batch} prompts needs {batch * per_prompt:.1e} numbers, over the limit of {MAX_ELEMENTS:.1e}: "
            + (
                f"ask for at most {most} prompts"
                if most
                else "one prompt alone is too big, make the task smaller"
            )
        )
