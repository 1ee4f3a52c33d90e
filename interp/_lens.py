"""The one place that imports TransformerLens.

What its maintainers declare permanent: hook points, the root module that runs with hooks and caches, the
activation cache, factored matrices and the patching helpers. Everything else in this project names these
through this module.
"""

from __future__ import annotations

from transformer_lens import ActivationCache, FactoredMatrix, patching
from transformer_lens.hook_points import HookPoint
from transformer_lens.HookedRootModule import HookedRootModule

__all__ = ["ActivationCache", "FactoredMatrix", "HookPoint", "HookedRootModule", "patching"]
