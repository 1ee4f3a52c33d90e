"""Sites: addresses of the activations that causal analysis reads or writes.

A site is a component, its layer, its head and a position. Printed, it is the hook's name, then `.head`, then
`@position`; both tails are left out where they mean "all": `blocks.2.hook_resid_pre@7`,
`blocks.1.attn.hook_q.3`. `label` is the short form for pictures (`L1H3.q@7`; a head's output is the head:
`L1H3`), and `parse` reads both. Layers, heads and positions count from 0. A pattern's or score's position is
its row, the attending (destination) token. `embed` is all that enters block 0 (read-in plus positions),
`output` all that reaches the unembedding.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.hooks.components import COMPONENTS, HEAD_OUT
from interp.hooks.protocol import HookedModel
from tasks.complaints import nearest
from tasks.errors import UserError

HEAD_COMPONENTS = ("q", "k", "v", "z", "pattern", "attn_scores")
SHARED_COMPONENTS = ("k", "v")  # heads may have them in common
ROW_COMPONENTS = ("pattern", "attn_scores")
_UNLAYERED = ("embed", "output")
_TAIL = r"(?:@(?P<position>\d+|all))?"
_LONG = re.compile(
    r"blocks\.(?P<layer>\d+)\.(?:attn\.)?hook_(?P<component>[a-z_]+?)(?:\.(?P<head>\d+)(?:-(?P<last>\d+))?)?"
    + _TAIL
)
_SHORT = re.compile(
    r"L(?P<layer>\d+)(?:H(?P<head>\d+)(?:-(?P<last>\d+))?)?(?:\.(?P<component>[a-z_]+))?" + _TAIL
)
_BARE = re.compile(r"(?P<component>embed|output)" + _TAIL)


@dataclasses.dataclass(frozen=True, order=True)
class Site:
    """One place: `component` of block `layer`, of one `head` or all (None), at one `position` or all (None).

    Where heads share keys and values, `head` counts the shared ones of k and v, and `shared` says how many heads have
    one in common: the key of heads 2 and 3 is `Site("k", 1, 1, shared=2)`, written L1H2-3.k.

    Raises UserError for a component that is unknown, lacks its layer, or has no heads.

    >>> Site.parse("L1H3.q@7")
    Site(component='q', layer=1, head=3, position=7)
    >>> str(Site("z", 0, 2)), Site("z", 0, 2).label
    ('blocks.0.attn.hook_z.2', 'L0H2')
    """

    component: str
    layer: int | None = None
    head: int | None = None
    position: int | None = None
    shared: int = dataclasses.field(default=1, repr=False)

    def __post_init__(self) -> None:
        if self.component not in COMPONENTS:
            raise UserError(
                f"unknown site component {self.component!r}{nearest(self.component, (*COMPONENTS, HEAD_OUT))}"
            )
        if (self.layer is None) != (self.component in _UNLAYERED):
            need = "takes no layer" if self.component in _UNLAYERED else "needs a layer"
            raise UserError(f"site component {self.component!r} {need}")
        if self.head is not None and self.component not in HEAD_COMPONENTS:
            raise UserError(f"site component {self.component!r} has no heads: leave the head out")
        if self.shared > 1 and self.component not in SHARED_COMPONENTS:
            raise UserError(f"site component {self.component!r}: heads share keys and values only")

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads that a site of one head, key or value belongs to."""
        return (
            () if self.head is None else tuple(range(self.head * self.shared, (self.head + 1) * self.shared))
        )

    @property
    def head_label(self) -> str:
        """How the head is written: 3, or 2-3 for what two heads share; empty without one."""
        return "" if self.head is None else "-".join(map(str, dict.fromkeys((self.heads[0], self.heads[-1]))))

    @classmethod
    def parse(cls, text: str) -> Site:
        """The site that `text` names, in its long or its short form. Raises UserError when it is neither."""
        spelled = (
            text.strip().replace(".mlp.hook_pre", ".hook_mlp_pre").replace(".mlp.hook_in", ".hook_mlp_in")
        )
        for form in (_BARE, _LONG, _SHORT):
            if match := form.fullmatch(spelled):
                return cls._from(match.groupdict(), text)
        raise UserError(
            f"{text!r} is no site: write it like blocks.1.attn.hook_q.3@7, L1H3.q@7, L0.resid_pre or embed"
        )

    @classmethod
    def _from(cls, parts: dict[str, str | None], text: str) -> Site:
        layer, head, position = (parts.get(name) for name in ("layer", "head", "position"))
        component = parts.get("component")
        if component is None:
            if head is None:
                raise UserError(
                    f"{text!r} names a layer but no component: write for example {text}.resid_pre"
                )
            component = "z"
        shared = 1 if not head or not parts.get("last") else int(parts["last"] or 0) - int(head) + 1
        if head and (shared < 1 or int(head) % shared):
            raise UserError(
                f"{text!r}: heads that share a key are written from the first to the last, L1H2-3.k"
            )
        return cls(
            component,
            None if layer is None else int(layer),
            None if head is None else int(head) // shared,
            None if position in (None, "all") else int(position),
            shared,
        )

    def __str__(self) -> str:
        stem = self.component if self.layer is None else self.hook(None)
        return stem + _tail(".", self.head_label) + _tail("@", self.position)

    @property
    def label(self) -> str:
        """The short form, for pictures and circuits."""
        if self.layer is None:
            return self.component + _tail("@", self.position)
        stem = f"L{self.layer}" + _tail("H", self.head_label)
        part = "" if self.component == "z" and self.head is not None else f".{self.component}"
        return stem + part + _tail("@", self.position)

    def hook(self, n_layers: int | None) -> str:
        """Name of the hook point; the model's `n_layers` is needed for `output` alone."""
        if self.component == "embed":
            return "blocks.0.hook_resid_pre"
        if self.component == "output":
            if n_layers is None:
                raise ValueError("the hook of `output` depends on the number of layers")
            return f"blocks.{n_layers - 1}.hook_resid_post"
        if self.component in ("mlp_pre", "mlp_in"):
            return f"blocks.{self.layer}.mlp.hook_{self.component.removeprefix('mlp_')}"
        room = "attn." if self.component in HEAD_COMPONENTS else ""
        return f"blocks.{self.layer}.{room}hook_{self.component}"

    @property
    def index(self) -> tuple[Any, ...]:
        """What of the hook's activation belongs to the site, as an index into it."""
        head = slice(None) if self.head is None else self.head
        position = slice(None) if self.position is None else self.position
        if self.component in ROW_COMPONENTS:
            return (slice(None), head, position)
        if self.component in HEAD_COMPONENTS:
            return (slice(None), position, head)
        return (slice(None), position)

    def read(self, activation: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *part"]:
        """The site's part of its hook's activation."""
        return activation[self.index]

    def columns(self) -> dict[str, Any]:
        """The columns of a table that say where: site, layer, head (the first of several that share a key; -1 where
        there is no one), how many share it, position ("all" where there is no one).
        """
        return {
            "site": str(dataclasses.replace(self, head=None, position=None, shared=1)),
            "layer": -1 if self.layer is None else self.layer,
            "head": self.heads[0] if self.heads else -1,
            "shared": self.shared,
            "position": "all" if self.position is None else str(self.position),
        }


def _tail(mark: str, number: int | str | None) -> str:
    return "" if number in (None, "") else f"{mark}{number}"


def group_size(model: HookedModel) -> int:
    """How many heads of a model share a key and a value: 1 unless they are grouped."""
    heads = getattr(model.config, "n_heads", 1)
    return heads // (getattr(model.config, "n_kv_heads", 0) or heads or 1)


def slot_site(model: HookedModel, slot: str, layer: int, head: int) -> Site:
    """The query, key or value of a head: of all heads that share it."""
    size = group_size(model) if slot in SHARED_COMPONENTS else 1
    return Site(slot, layer, head // size, shared=size)


def check(site: Site, model: HookedModel, n_pos: int) -> Site:
    """The site itself; raises UserError when the model (fed `n_pos` tokens) has no such place."""
    cfg, size = model.config, group_size(model)
    if site.component in HEAD_COMPONENTS and not hasattr(cfg, "n_heads"):
        raise UserError(f"site {site}: a {model.config.kind} model has no attention heads")
    for name, value, limit in (
        ("layer", site.layer, cfg.n_layers),
        (
            "head",
            site.head,
            getattr(cfg, "n_heads", 0) // (size if site.component in SHARED_COMPONENTS else 1),
        ),
        ("position", site.position, n_pos),
    ):
        if value is not None and not 0 <= value < limit:
            raise UserError(f"site {site}: the model has {limit} {name}s, numbered from 0")
    if site.hook(cfg.n_layers) not in model.hook_dict:
        raise UserError(f"site {site}: the model has no hook {site.hook(cfg.n_layers)!r}")
    return site


def grid(
    model: HookedModel, component: str, n_pos: int, *, by: Iterable[str] = ("layer", "head", "position")
) -> list[Site]:
    """Every site of one component, one for each layer, and for each head and position as `by` says.

    `head_out` is a synonym of `z`. Axes that the component lacks are passed over. Raises UserError when
    the model has no such component.
    """
    component = "z" if component == HEAD_OUT else component
    axes = set(by)
    headed = component in HEAD_COMPONENTS and "head" in axes
    layers: Iterator[int | None] = iter((None,) if component in _UNLAYERED else range(model.config.n_layers))
    size = group_size(model) if component in SHARED_COMPONENTS else 1
    heads = range(getattr(model.config, "n_heads", 1) // size) if headed else (None,)
    shared = size if headed else 1
    positions = range(n_pos) if "position" in axes else (None,)
    sites = [Site(component, layer, head, p, shared) for layer in layers for head in heads for p in positions]
    for site in sites[:1] + sites[-1:]:
        check(site, model, n_pos)
    return sites
