"""Settings of a clamp, an intervention on a head during training: which head, to which value, and when.

The settings are part of a run (`train.clamps`); `interp.models.clamps` builds the hooks from them. In a TOML file:

    [[train.clamps]]
    site = "L0H2.pattern"
    to = "relation"
    relation = "query -> link_1"
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from interp.hooks.sites import Site


class ClampConfig(BaseModel):
    """One clamp.

    `site`: a head ("L0H2": its output z) or its pattern ("L0H2.pattern"). `to`: "uniform" (pattern: uniform
    over what the mask allows; output: zeros), "relation" (pattern: on each row of the task's relation, all
    attention on its sources; other rows are unchanged), or "donor": the activation of a source model's head on
    the same prompts, given by its run folder `donor`, checkpoint `donor_step` (-1: the last) and head
    `donor_site` (the same site by default). Active from update `start` up to but not including `stop` (0: to the
    end). `donor_step` and `donor_weights`, the hash of that checkpoint's weights, are filled in when a run is
    configured, so that a later change of the source model is detected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str
    to: Literal["uniform", "relation", "donor"]
    relation: str = ""
    donor: str = ""
    donor_step: int = Field(default=-1, ge=-1)
    donor_site: str = ""
    donor_weights: str = ""
    start: int = Field(default=0, ge=0)
    stop: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ClampConfig:
        site = Site.parse(self.site)
        if site.component not in ("z", "pattern") or site.head is None or site.position is not None:
            raise ValueError(
                f"a clamp sets a head's output (L0H2) or pattern (L0H2.pattern), not {self.site!r}"
            )
        if (self.to == "relation") != bool(self.relation) or (self.to == "donor") != bool(self.donor):
            raise ValueError(
                'to="relation" goes with `relation`, to="donor" with `donor`, and neither with anything else'
            )
        if self.to == "relation" and site.component != "pattern":
            raise ValueError(f"a relation determines where to attend: clamp {site.label}.pattern")
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
        """Whether the intervention is active in the update that follows `step`."""
        return step >= self.start and (not self.stop or step < self.stop)
