"""The one place that imports TransformerLens.

What its maintainers declare permanent: hook points, the root module that runs with hooks and caches, the
activation cache, factored matrices and the patching helpers. Everything else in this project names these
through this module. `TransformerBridge`, which stands on Hugging Face's models, costs seconds to import and is fetched
only when such a model is loaded.
"""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # tqdm, a dependency, asks each notebook for widgets that nothing here shows
    warnings.filterwarnings("ignore", message="IProgress not found")
    from transformer_lens import ActivationCache, FactoredMatrix, patching
    from transformer_lens.hook_points import HookPoint
    from transformer_lens.HookedRootModule import HookedRootModule

__all__ = [
    "ActivationCache",
    "FactoredMatrix",
    "HookPoint",
    "HookedRootModule",
    "patching",
    "transformer_bridge",
]


def transformer_bridge() -> Any:
    """TransformerLens' bridge to Hugging Face's models, imported on first use."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge
