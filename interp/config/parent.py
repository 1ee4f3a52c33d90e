"""The run that another one goes on from, as part of its settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Parent(BaseModel):
    """A checkpoint of another run: the run's identity, the step, the hash of the weights there, and the number of
    training batches that were seen until then (through the parent's own parents).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int = Field(ge=0)
    weights: str
    batches: int = Field(ge=0)
