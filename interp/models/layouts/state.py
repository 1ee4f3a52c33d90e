"""State dicts under other prefixes than the module's own: wrappers, shells and buffers do not matter, weights do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tasks.complaints import nearest
from tasks.errors import UserError

WRAPPERS = re.compile(r"(^|\.)(_orig_mod|module|_fsdp_wrapped_module)(?=\.)")
BUFFERS = re.compile(
    r"(.*\.)?((attn|attention|self_attn)\.(masked_)?bias|.*inv_freq|position_ids|.*mask|tril|num_batches_tracked)"
)
_EXACT = {
    torch.float32: (torch.float32, torch.float16, torch.bfloat16),
    torch.float64: (torch.float64, torch.float32, torch.float16, torch.bfloat16),
    torch.bfloat16: (torch.bfloat16,),
}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Every weight once, under the module's own names."""
    return {name: weight.detach() for name, weight in module.named_parameters()}


@torch.no_grad()
def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy a state dict into a module's weights. Buffers are ignored.

    Raises UserError naming the first weight that is missing, unknown, of another shape, rounded, or not finite.
    """
    own = dict(module.named_parameters(remove_duplicate=False))
    names = matched(own, state)
    filled = {id(own[mine]) for mine in names.values()}
    if missing := sorted(name for name, weight in own.items() if id(weight) not in filled):
        raise UserError(f"{where}: without weight {missing[0]!r}{nearest(missing[0], state)}")
    buffers = {name for name, _ in module.named_buffers()}
    unknown = [k for k in state if k not in names and _plain(k) not in buffers and not BUFFERS.fullmatch(k)]
    if unknown:
        raise UserError(f"{where}: {sorted(unknown)[0]!r} is no weight of {type(module).__name__}")
    for theirs, mine in names.items():
        _copy(own[mine], state[theirs], theirs, where)


def _copy(own: Tensor, value: Tensor, name: str, where: str) -> None:
    if value.shape != own.shape:
        raise UserError(f"{where}: {name!r} is {list(value.shape)}, and the module has {list(own.shape)}")
    if value.dtype not in _EXACT.get(own.dtype, (own.dtype,)):
        raise UserError(
            f"{where}: {name!r} is {value.dtype}, which {own.dtype} would round; convert it first"
        )
    own.copy_(value)
    if not bool(own.isfinite().all()):
        raise UserError(f"{where}: {name!r} has values that are not finite (NaN or infinity)")


def matched(own: Iterable[str], state: Iterable[str]) -> dict[str, str]:
    """For names of a state dict the module's own: as they are, or after one common change of prefix."""
    mine, theirs = set(own), {name: _plain(name) for name in state}
    best: dict[str, str] = {}
    for cut, add in _changes(mine, set(theirs.values())):
        found = {
            name: add + plain[len(cut) :]
            for name, plain in theirs.items()
            if plain.startswith(cut) and add + plain[len(cut) :] in mine
        }
        best = found if len(found) > len(best) else best
        if len(best) == len(mine):
            break
    return best


def _plain(name: str) -> str:
    return WRAPPERS.sub(r"\1", name).replace("..", ".").lstrip(".")


def _changes(mine: set[str], theirs: set[str]) -> list[tuple[str, str]]:
    """Prefixes to cut off and to add: none, those that the state dict has, and those that the module has."""
    return [("", ""), *((p, "") for p in _prefixes(theirs)), *(("", p) for p in _prefixes(mine))]


def _prefixes(names: set[str]) -> list[str]:
    found = {
        ".".join(name.split(".")[:depth]) + "."
        for name in names
        for depth in (1, 2, 3)
        if name.count(".") >= depth
    }
    return sorted(found, key=lambda p: (-sum(name.startswith(p) for name in names), p))[:12]
