"""Names of the sites in a model that can be read and written; imports nothing, so that help is fast."""

from __future__ import annotations

from typing import Literal, get_args

Component = Literal[
    "embed",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "mlp_in",
    "mlp_pre",
    "q",
    "k",
    "v",
    "z",
    "pattern",
    "attn_scores",
    "output",
]
COMPONENTS: tuple[str, ...] = get_args(Component)
HEAD_OUT = "head_out"  # synonym of z in a grid
