"""TransformerLens' activation cache with a LayerNorm's gain and bias in its arithmetic.

TransformerLens folds these into the next weights before it takes a stream apart; models here keep them, so that its own
arithmetic would leave them out. Here the gain multiplies every component. The bias belongs to none: it is a row of its
own in `decompose_resid` and `get_full_resid_decomposition` (label "ln_bias"), part of every row of `accumulated_resid`,
whose rows are whole streams, and in no row of `logit_attrs`: its share of a logit is `cache.ln_bias() @ model.W_U`.
Where a model does not show its gain, this arithmetic is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp.hooks.lens import ActivationCache
from tasks.errors import UserError


class AffineCache(ActivationCache):
    """The cache of a model whose LayerNorms may have a gain and a bias."""

    def ln_bias(self, layer: int | None = None, mlp_input: bool = False) -> Tensor | None:
        """The bias of the LayerNorm that a layer reads through (the final one by default), None where it has none."""
        return self._affine(layer, mlp_input)[1]

    def apply_ln_to_stack(self, residual_stack: Any, layer: Any = None, mlp_input: bool = False, *args: Any,
                          recompute_ln: bool = False, **kwargs: Any) -> Any:  # fmt: skip
        """As TransformerLens', times the gain: what each component adds to the normalised stream, but for the bias."""
        scaled = super().apply_ln_to_stack(
            residual_stack, layer, mlp_input, *args, recompute_ln=recompute_ln, **kwargs
        )
        gain = None if recompute_ln and self._is_final(layer) else self._affine(layer, mlp_input)[0]
        return scaled if gain is None else scaled * gain

    def accumulated_resid(self, layer: Any = None, incl_mid: bool = False, apply_ln: bool = False,
                          pos_slice: Any = None, mlp_input: bool = False,
                          return_labels: bool = False) -> Any:  # fmt: skip
        """As TransformerLens'; with `apply_ln` every row is normalised as a whole stream, bias included."""
        found: Any = super().accumulated_resid(layer, incl_mid, apply_ln, pos_slice, mlp_input, return_labels)
        through_module = self._is_final(layer)  # the final norm is run on each stream, bias and all
        bias = self._affine(layer, mlp_input)[1] if apply_ln and not through_module else None
        if bias is None:
            return found
        return (found[0] + bias, found[1]) if return_labels else found + bias

    def decompose_resid(self, layer: Any = None, mlp_input: bool = False, mode: Any = "all", apply_ln: bool = False,
                        pos_slice: Any = None, incl_embeds: bool = True,
                        return_labels: bool = False) -> Any:  # fmt: skip
        """As TransformerLens'; with `apply_ln` the bias of the norm is the last row, so that rows add up."""
        found: Any = super().decompose_resid(
            layer, mlp_input, mode, apply_ln, pos_slice, incl_embeds, return_labels
        )
        whole = apply_ln and mode == "all" and incl_embeds
        return self._with_bias(found, layer, mlp_input, return_labels) if whole else found

    def get_full_resid_decomposition(self, layer: Any = None, mlp_input: bool = False, expand_neurons: bool = True,
                                     apply_ln: bool = False, pos_slice: Any = None, return_labels: bool = False,
                                     project_output_onto: Any = None) -> Any:  # fmt: skip
        """As TransformerLens'; with `apply_ln` the bias of the norm is the last row, so that rows add up.

        Raises UserError for a projection through a norm with a gain.
        """
        if apply_ln and project_output_onto is not None and self._affine(layer, mlp_input)[0] is not None:
            raise UserError(
                "project_output_onto leaves out the LayerNorm's gain: take the decomposition with apply_ln=True and "
                "multiply it yourself"
            )
        found = super().get_full_resid_decomposition(
            layer, mlp_input, expand_neurons, apply_ln, pos_slice, return_labels, project_output_onto
        )
        return self._with_bias(found, layer, mlp_input, return_labels) if apply_ln else found

    def _with_bias(self, found: Any, layer: Any, mlp_input: bool, return_labels: bool) -> Any:
        bias = self._affine(layer, mlp_input)[1]
        if bias is None:
            return found
        rows, labels = found if return_labels else (found, [])
        rows = torch.cat([rows, bias.expand(1, *rows.shape[1:])])
        return (rows, [*labels, "ln_bias"]) if return_labels else rows

    def _is_final(self, layer: Any) -> bool:
        return layer is None or layer in (-1, self.model.cfg.n_layers)

    def _affine(self, layer: Any, mlp_input: bool) -> tuple[Tensor | None, Tensor | None]:
        """Gain and bias of the norm that a layer reads through. Raises UserError where the model does not show them."""
        if self.model.cfg.normalization_type != "LN":
            return None, None
        try:
            block = None if self._is_final(layer) else self.model.blocks[layer]
            norm = self.model.ln_final if block is None else block.ln2 if mlp_input else block.ln1
            return norm.w, norm.b
        except (AttributeError, IndexError):
            raise UserError(
                "this model does not show its LayerNorms' gain, which this arithmetic needs: read what comes out of "
                "them, cache['ln_final.hook_normalized'] or cache['blocks.0.ln1.hook_normalized']"
            ) from None
