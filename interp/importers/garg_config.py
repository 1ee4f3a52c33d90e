"""The `config.yaml` next to Garg's checkpoints: the settings of it that a run needs.

Read as plain data. It must agree with the weights; a task without an equivalent here is rejected, never approximated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.complaints import first_problem
from tasks.errors import UserError


class GargSizes(NamedTuple):
    """Sizes read off the weights. `positions` are tokens, two for each point (x, y)."""

    d: int
    d_model: int
    n_layers: int
    d_mlp: int
    positions: int

    @property
    def points(self) -> int:
        return self.positions // 2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Model(_Part):
    family: Literal["gpt2"] = "gpt2"
    n_head: int | None = Field(default=None, ge=1)
    n_dims: int | None = None
    n_embd: int | None = None
    n_layer: int | None = None
    n_positions: int | None = None


class _End(_Part):
    end: int = Field(ge=2)


class _Curriculum(_Part):
    points: _End | None = None


class _GargTraining(_Part):
    task: Literal["linear_regression", "noisy_linear_regression", "relu_2nn_regression"] = "linear_regression"
    task_kwargs: dict[str, Any] = {}
    data: Literal["gaussian"] = "gaussian"
    batch_size: int = 64
    learning_rate: float = 1e-4
    curriculum: _Curriculum = _Curriculum()


class GargConfig(_Part):
    """Sections `model` and `training`; other sections do not concern the weights."""

    where: str
    model: _Model = _Model()
    training: _GargTraining = _GargTraining()

    def check(self, layout: GargSizes) -> None:
        """Raise UserError for a configuration of other weights, naming the setting."""
        found = {
            "n_dims": layout.d,
            "n_embd": layout.d_model,
            "n_layer": layout.n_layers,
            "n_positions": layout.points,
        }
        for name, value in found.items():
            stated = getattr(self.model, name)
            if stated is not None and stated != value:
                raise UserError(f"{self.where}: model.{name} is {stated}, but the weights have {value}")
        end = self.training.curriculum.points
        if end is not None and end.end > layout.points:
            raise UserError(
                f"{self.where}: training.curriculum.points.end is {end.end}, but the weights have positions for "
                f"{layout.points} points"
            )

    def task(self, layout: GargSizes) -> dict[str, Any]:
        """Settings of the regression task: the last point is the query. Raises UserError for unknown task_kwargs."""
        end = self.training.curriculum.points
        settings: dict[str, Any] = {"n": (end.end if end is not None else layout.points) - 1}
        takes = {
            "linear_regression": {"scale": "weight_scale"},
            "noisy_linear_regression": {"scale": "weight_scale", "noise_std": "noise"},
            "relu_2nn_regression": {"scale": "weight_scale", "hidden_layer_size": "hidden"},
        }[self.training.task]
        for name, value in self.training.task_kwargs.items():
            if name not in takes:
                raise UserError(
                    f"{self.where}: training.task_kwargs.{name} has no counterpart here; for plain linear regression "
                    "import the file without its config.yaml, with --n-heads N"
                )
            settings[takes[name]] = value
        if self.training.task == "relu_2nn_regression":
            settings["target"] = "relu"
        return settings

    def train(self) -> dict[str, Any]:
        """Settings of the training that the weights come from."""
        return {"batch": self.training.batch_size, "lr": self.training.learning_rate}


def read_config(path: Path) -> GargConfig | None:
    """The configuration in a file, None when there is no such file. Raises UserError with its first complaint."""
    if not path.exists():
        return None
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: no table of settings")
    try:
        return GargConfig.model_validate({**content, "where": str(path)})
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
