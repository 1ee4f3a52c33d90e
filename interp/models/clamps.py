"""Clamping during training: a head's pattern or output is fixed while everything else learns.

Tests whether a later head depends on an earlier one: with the earlier clamped to its final function, does the
later emerge at once; clamped to nothing, does it fail to emerge? The value is fixed and gradients flow around
it (source: Singh et al. 2024, arXiv 2404.07129, "artificial optogenetics"). A clamp is a setting of the run,
`train.clamps`:

    run = Run.train("retrieval", "runs/held", changes={"train.clamps": [
        {"site": "L0H2.pattern", "to": "relation", "relation": "query -> link_1"},
        {"site": "L0H0", "to": "donor", "donor": "runs/free", "donor_step": 1200}]})
    run.scores()                 # with the interventions active, as in training
    run.without_interventions().scores()      # the same weights, without interventions
    with run.with_interventions(model, batch, step): model(batch.inputs)

Analyses keep the interventions active unless asked not to, because the trained function is the clamped
one: a head whose pattern is clamped gets no gradient for its queries and keys, so without the clamp the later
heads receive inputs that they never received in training. Analyses that compute with the weights themselves
(patching, circuits) do not support clamps and raise an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.config.clamp import ClampConfig
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from tasks.base import Relation, Task
from tasks.complaints import nearest
from tasks.errors import UserError

Hook = tuple[str, Callable[..., Tensor]]


class Clamps:
    """The clamps of a training, from which hooks are built.

    `source_models` maps each `donor` named in the configuration to its source model (loaded by the trainer; a
    hand-constructed model works too). Raises UserError for sites outside the model, a relation the task does not
    have, or a missing source model.
    """

    def __init__(
        self,
        configs: Sequence[ClampConfig],
        model: HookedModel,
        task: Task,
        source_models: Mapping[tuple[str, int], Any] | None = None,
    ):
        self.configs, self.model, self.task, self.source_models = (
            tuple(configs),
            model,
            task,
            dict(source_models or {}),
        )
        for config in configs:
            check(config.address, model, task.interface.n_ctx)
            if config.to == "donor":
                self._check_source_model(config)
            if config.to == "relation":
                self._relation(config, task.sample(0, "clamp", 0, 1))
        names = [config.site for config in configs]
        if len(set(names)) < len(names):
            raise UserError("two clamps hold the same site: keep one")

    def _check_source_model(self, config: ClampConfig) -> None:
        key = (config.donor, config.donor_step)
        if key not in self.source_models:
            raise UserError(
                f"clamp of {config.site}: no source model {config.donor!r} at step {config.donor_step}"
            )
        source = check(
            Site.parse(config.donor_site or config.site), self.source_models[key], self.task.interface.n_ctx
        )
        same = self.source_models[key].cfg.d_head == self.model.cfg.d_head
        if source.component == "z" and not same:
            raise UserError(
                f"clamp of {config.site}: the source model's heads have another width; clamp the pattern instead"
            )

    def hooks(self, batch: Any, step: int) -> list[Hook]:
        """Hooks of every active clamp for one batch; an empty list when none is active."""
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
            return self._from_source_model(config, batch.inputs)
        if config.to == "relation":
            return self._related(config, batch)
        if config.address.component == "z":
            return torch.zeros_like
        return lambda own: _uniform(own, self.model)

    @torch.no_grad()
    def _from_source_model(self, config: ClampConfig, inputs: Num[Tensor, "batch pos *token"]) -> Tensor:
        donor = self.source_models[(config.donor, config.donor_step)]
        site = Site.parse(config.donor_site or config.site)
        hook = site.hook(donor.cfg.n_layers)
        return site.read(donor.run_with_cache(inputs, names_filter=hook, return_cache_object=False)[1][hook])

    def _relation(self, config: ClampConfig, batch: Any) -> Relation:
        relations = {relation.name: relation for relation in self.task.relations(batch)}
        if config.relation not in relations:
            hint = nearest(config.relation, relations) if relations else ": it has none"
            raise UserError(
                f"clamp of {config.site}: task {self.task.kind!r} has no relation {config.relation!r}{hint}"
            )
        return relations[config.relation]

    def _related(self, config: ClampConfig, batch: Any) -> Callable[[Tensor], Tensor]:
        relation = self._relation(config, batch)

        def value(own: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch row column"]:
            prompts = torch.arange(len(own))[:, None]
            ideal = torch.zeros_like(own)
            if relation.valid is None:
                ideal[prompts, relation.dest, relation.source] = 1.0
            else:
                counts = relation.valid.to(own)
                ideal.index_put_((prompts, relation.dest, relation.source), counts, accumulate=True)
            mass = ideal.sum(-1, keepdim=True)
            return torch.where(mass > 0, ideal / mass.clamp_min(1.0), own)

        return value


def _uniform(own: Float[Tensor, "batch row column"], model: HookedModel) -> Float[Tensor, "batch row column"]:
    """Equal attention to everything that the mask allows."""
    from interp.models.components import allowed

    seen = allowed(own.shape[-1], model.config, own.device).to(own)
    return (seen / seen.sum(-1, keepdim=True)).expand_as(own)
