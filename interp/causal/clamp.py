"""Clamping during training: hold a head's pattern or output fixed while everything else learns.

Asks whether a later head needs an earlier one: with the earlier clamped to what it will become, does the
later appear at once; clamped to nothing, does it never appear? The value is fixed and gradients flow around
it (source: Singh et al. 2024, arXiv 2404.07129, "artificial optogenetics"). A clamp is a setting of the run;
the trainer applies `Clamps.hooks(inputs, step)` to each training forward pass. Analysis never sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Num
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from interp.causal.sites import Site, check
from tasks.base import Task
from tasks.errors import UserError

Hook = tuple[str, Callable[..., Tensor]]


class ClampConfig(BaseModel):
    """One clamp.

    `site`: a head ("L0H2": its output z) or its pattern ("L0H2.pattern"). `to`: "uniform" (pattern: uniform
    over what the mask allows; output: zeros, a head that says nothing), "relation" (pattern: on each row of
    the task's relation, all attention on its sources; other rows stay the model's own), or "donor": what
    another model's head does on the same prompts, named by its run folder `donor`, checkpoint `donor_step`
    (-1: the last) and head `donor_site` (the same site if left out). From update `start` up to but not
    including `stop` (0: to the end).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str
    to: Literal["uniform", "relation", "donor"]
    relation: str = ""
    donor: str = ""
    donor_step: int = Field(default=-1, ge=-1)
    donor_site: str = ""
    start: int = Field(default=0, ge=0)
    stop: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ClampConfig:
        site = Site.parse(self.site)
        if site.component not in ("z", "pattern") or site.head is None or site.position is not None:
            raise ValueError(
                f"a clamp holds a head's output (L0H2) or pattern (L0H2.pattern), not {self.site!r}"
            )
        if (self.to == "relation") != bool(self.relation) or (self.to == "donor") != bool(self.donor):
            raise ValueError(
                'to="relation" goes with `relation`, to="donor" with `donor`, and neither with anything else'
            )
        if self.to == "relation" and site.component != "pattern":
            raise ValueError(f"a relation says where to look: clamp {site.label}.pattern")
        if self.stop and self.stop <= self.start:
            raise ValueError(f"stop {self.stop} does not come after start {self.start}")
        if self.donor_site and Site.parse(self.donor_site).component != site.component:
            raise ValueError(f"donor_site {self.donor_site!r} is not of the kind of {self.site!r}")
        return self

    @property
    def address(self) -> Site:
        """The clamped site."""
        return Site.parse(self.site)

    def active(self, step: int) -> bool:
        """Whether the clamp holds in the update that follows `step`."""
        return step >= self.start and (not self.stop or step < self.stop)


class Clamps:
    """The clamps of a training, ready to make hooks.

    `donors` maps each `donor` named in the configuration to its model (the trainer loads it; a wired net
    works alike). Raises UserError for sites outside the model, a relation the task does not have, or a
    missing donor.
    """

    def __init__(
        self,
        configs: Sequence[ClampConfig],
        model: Any,
        task: Task,
        donors: Mapping[tuple[str, int], Any] | None = None,
    ):
        self.configs, self.model, self.task, self.donors = tuple(configs), model, task, dict(donors or {})
        for config in configs:
            check(config.address, model, task.interface.n_ctx)
            if config.to == "donor":
                self._check_donor(config)
        names = [config.site for config in configs]
        if len(set(names)) < len(names):
            raise UserError("two clamps hold the same site: keep one")

    def _check_donor(self, config: ClampConfig) -> None:
        key = (config.donor, config.donor_step)
        if key not in self.donors:
            raise UserError(
                f"clamp of {config.site}: no model for donor {config.donor!r} at step {config.donor_step}"
            )
        source = check(
            Site.parse(config.donor_site or config.site), self.donors[key], self.task.interface.n_ctx
        )
        same = self.donors[key].cfg.d_head == self.model.cfg.d_head
        if source.component == "z" and not same:
            raise UserError(
                f"clamp of {config.site}: the donor's heads have another width; clamp the pattern instead"
            )

    def hooks(self, batch: Any, step: int) -> list[Hook]:
        """Hooks that hold every active clamp for one batch; an empty list when none is active."""
        return [self._hook(config, batch) for config in self.configs if config.active(step)]

    def _hook(self, config: ClampConfig, batch: Any) -> Hook:
        site = config.address
        value = self._value(config, batch)

        def hold(activation: Tensor, hook: Any) -> Tensor:
            changed = activation.clone()
            target = site.read(activation)
            changed[site.index] = value(target) if callable(value) else value.to(activation)
            return changed

        return site.hook(self.model.config.n_layers), hold

    def _value(self, config: ClampConfig, batch: Any) -> Tensor | Callable[[Tensor], Tensor]:
        if config.to == "donor":
            return self._donated(config, batch.inputs)
        if config.to == "relation":
            return self._related(config, batch)
        if config.address.component == "z":
            return torch.zeros_like
        return lambda own: _uniform(own, self.model)

    @torch.no_grad()
    def _donated(self, config: ClampConfig, inputs: Num[Tensor, "batch pos *token"]) -> Tensor:
        donor = self.donors[(config.donor, config.donor_step)]
        site = Site.parse(config.donor_site or config.site)
        hook = site.hook(donor.cfg.n_layers)
        return site.read(donor.run_with_cache(inputs, names_filter=hook, return_cache_object=False)[1][hook])

    def _related(self, config: ClampConfig, batch: Any) -> Callable[[Tensor], Tensor]:
        relations = {relation.name: relation for relation in self.task.relations(batch)}
        if config.relation not in relations:
            raise UserError(
                f"task {self.task.kind!r} has no relation {config.relation!r}: it has {sorted(relations)}"
            )
        dest, source = relations[config.relation].dest, relations[config.relation].source

        def value(own: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch row column"]:
            prompts = torch.arange(len(own))[:, None]
            ideal = torch.zeros_like(own)
            ideal[prompts, dest, source] = 1.0
            mass = ideal.sum(-1, keepdim=True)
            return torch.where(mass > 0, ideal / mass.clamp_min(1.0), own)

        return value


def _uniform(own: Float[Tensor, "batch row column"], model: Any) -> Float[Tensor, "batch row column"]:
    """Equal attention to everything that the mask allows."""
    from interp.models.components import allowed

    seen = allowed(own.shape[-1], model.config, own.device).to(own)
    return (seen / seen.sum(-1, keepdim=True)).expand_as(own)
