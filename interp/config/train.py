"""Settings of a training: optimiser, learning rates, lengths and the checkpoint schedule.

Step `t` names the weights after `t` updates: step 0 is the initialisation, step `steps` the end. Learning
rates are functions of the step alone, so that a resumed run needs no other state for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from interp.config.clamp import ClampConfig

LAST_STEP = 99_999_999  # a checkpoint's file name has eight digits


class Schedule(BaseModel):
    """Which steps are kept: `log` log-spaced ones, every multiple of `every`, and those listed.

    Step 0 and the last step are always kept; 0 turns a part off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: int = Field(default=0, ge=0, le=100_000)
    every: int = Field(default=0, ge=0)
    explicit: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _not_before_the_start(self) -> Schedule:
        if any(step < 0 for step in self.explicit):
            raise ValueError("a checkpoint step cannot be negative")
        return self


class TrainConfig(BaseModel):
    """How a model is trained. Rates are per update; `clip`, `warmup` and `max_loss` are off at 0.

    The floating type is the model's. `optimiser="sign"` moves every number by `lr` against the sign of its
    momentum. `optimiser="spherical"` keeps weight vectors on their sphere.
    `optimiser="muon"` gives `muon_lr` to the two-dimensional weights inside blocks and AdamW's
    `lr` to the rest. `max_loss` stops a run whose loss passes that multiple of its first loss. `final_lr`
    is the final share of the rate under cosine decay. `clamps` are interventions on heads during training
    (`interp.models.clamps`); without them, settings and their hash do not mention them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, le=LAST_STEP)
    batch: int = Field(ge=1, le=1_000_000)
    optimiser: Literal["adam", "adamw", "sgd", "sign", "muon", "spherical"] = "adam"
    lr: float = Field(gt=0, allow_inf_nan=False)
    muon_lr: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    warmup: int = Field(default=0, ge=0)
    decay: Literal["none", "cosine"] = "none"
    final_lr: float = Field(default=0.0, ge=0, le=1)
    schedule: Schedule = Schedule(log=20, every=0)
    save_every: int = Field(default=200, ge=1)
    log_every: int = Field(default=20, ge=1)
    eval_every: int = Field(default=0, ge=0)
    eval_batch: int = Field(default=512, ge=1, le=1_000_000)
    max_loss: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    threads: int = Field(default=1, ge=1, le=1024)
    compile: bool = False
    clamps: tuple[ClampConfig, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        late = [step for step in self.schedule.explicit if step > self.steps]
        if late:
            raise ValueError(f"checkpoint step {late[0]} lies beyond the last step {self.steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        if self.clamps and self.compile:
            raise ValueError("clamps are hooks, which a compiled model passes over: set train.compile=false")
        return self

    @model_serializer(mode="wrap")
    def _silent_without_clamps(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        settings = handler(self)
        return settings if self.clamps else {k: v for k, v in settings.items() if k != "clamps"}
