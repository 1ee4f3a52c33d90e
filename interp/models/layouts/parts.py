"""Finding the parts that a layout names in a module, under whatever wrapper it stands."""

from __future__ import annotations

import dataclasses
import difflib

from torch import nn

from interp.config.layout import Layout
from tasks.errors import UserError


@dataclasses.dataclass(frozen=True)
class BlockParts:
    """Modules of one block; None where the layout names none."""

    block: nn.Module
    attention: nn.Module
    qkv: tuple[nn.Module, ...]
    out: nn.Module | None
    norm1: nn.Module | None
    norm2: nn.Module | None
    mlp: nn.Module | None
    mlp_in: nn.Module | None
    mlp_gate: nn.Module | None
    mlp_out: nn.Module | None

    @property
    def has_mlp(self) -> bool:
        """Whether there is an MLP, by its maps or as a whole."""
        return self.mlp is not None or self.mlp_out is not None


@dataclasses.dataclass(frozen=True)
class Parts:
    """Modules of the whole; `unembed` None means that the outputs are the (normalised) stream itself."""

    blocks: tuple[BlockParts, ...]
    embed: nn.Module | None
    positions: nn.Module | None
    norm_final: nn.Module | None
    unembed: nn.Module | None


def find_parts(module: nn.Module, layout: Layout) -> Parts:
    """The parts of a module. Raises UserError naming the first path that leads nowhere."""
    known = dict(module.named_modules())
    shell = _shell(known, layout)
    blocks = [block for block in known[shell.blocks]._modules.values() if block is not None]
    if not blocks:
        raise UserError(f"layout {layout.name!r}: {shell.blocks!r} holds no blocks")
    if len(set(map(id, blocks))) < len(blocks):
        raise UserError(
            f"layout {layout.name!r}: blocks at {shell.blocks!r} are one module, run several times: its turns "
            "cannot be distinguished"
        )
    for name in ("embed", "positions"):
        path = getattr(layout, name)
        if path and shell.reach(path) is None:
            raise UserError(f"layout {layout.name!r}: {name} = {path!r} leads nowhere{_near(path, known)}")
    return Parts(
        tuple(_block(block, layout, index) for index, block in enumerate(blocks)),
        shell.part(layout.embed),
        shell.part(layout.positions),
        shell.part(layout.norm_final),
        next((part for path in layout.unembed if (part := shell.part(path)) is not None), None),
    )


@dataclasses.dataclass(frozen=True)
class _Shell:
    """What stands before the layout's paths (`prefix`), and how many of their components are not there (`cut`)."""

    known: dict[str, nn.Module]
    prefix: str
    cut: tuple[str, ...]
    blocks: str

    def reach(self, path: str) -> str | None:
        """The whole path of a part; None where there is none."""
        names = path.split(".")
        inside = names[len(self.cut) :] if tuple(names[: len(self.cut)]) == self.cut else names
        for prefix in _upwards(self.prefix):
            whole = ".".join(filter(None, (prefix, *inside)))
            if whole in self.known:
                return whole
        return None

    def part(self, path: str) -> nn.Module | None:
        """The module at a path of the layout; None for an empty path, or a part that the module does without."""
        found = self.reach(path) if path else None
        return None if found is None else self.known[found]


def _upwards(prefix: str) -> list[str]:
    names = prefix.split(".") if prefix else []
    return [".".join(names[:depth]) for depth in range(len(names), -1, -1)]


def _shell(known: dict[str, nn.Module], layout: Layout) -> _Shell:
    names = layout.blocks.split(".")
    for cut in range(len(names)):
        tail = ".".join(names[cut:])
        found = [p for p in known if p == tail or p.endswith("." + tail)]
        found = [p for p in found if isinstance(known[p], nn.ModuleList | nn.Sequential)]
        if found:
            path = min(found, key=len)
            return _Shell(known, path[: -len(tail)].rstrip("."), tuple(names[:cut]), path)
    raise UserError(
        f"layout {layout.name!r}: no list of blocks at {layout.blocks!r}{_near(layout.blocks, known)}"
    )


def _block(block: nn.Module, layout: Layout, index: int) -> BlockParts:
    known = dict(block.named_modules())

    def part(name: str, path: str) -> nn.Module | None:
        if not path:
            return None
        if path not in known:
            raise UserError(
                f"layout {layout.name!r}: block {index} has no {name} at {path!r}{_near(path, known)}"
            )
        if isinstance(known[path], nn.ModuleDict | nn.ModuleList):
            raise UserError(
                f"layout {layout.name!r}: {name} = {path!r} is a container, which is never called: leave it empty"
            )
        return known[path]

    attention = part("attention", layout.attention)
    assert attention is not None
    named = {name: part(name, getattr(layout, name)) for name in
             ("out", "norm1", "norm2", "mlp", "mlp_in", "mlp_gate", "mlp_out")}  # fmt: skip
    qkv = tuple(m for path in layout.qkv if (m := part("qkv", path)) is not None)
    return BlockParts(block=block, attention=attention, qkv=qkv, **named)


def _near(path: str, known: dict[str, nn.Module]) -> str:
    near = difflib.get_close_matches(path, [name for name in known if name], n=1, cutoff=0.4)
    return f": did you mean {near[0]!r}?" if near else ""
