"""Base of model configurations: frozen settings, a bound on size, and the check against a task's interface."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NoReturn

from pydantic import BaseModel, ConfigDict

from tasks.base import Interface
from tasks.errors import UserError

MAX_PARAMETERS = 1_000_000_000
MAX_LAYERS = 1024

Dtype = Literal["float32", "float64"]
Init = Literal["gpt2", "fan_in"]


class ModelSettings(BaseModel):
    """Base of every model configuration; a subclass adds a literal `kind`.

    Settings are data: the builder of the model is registered separately (`interp.models.build`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    elsewhere: ClassVar[bool] = False  # trained by somebody else: checkpoints may refer to files

    kind: Any
    dtype: Any = "float32"

    def check(self, interface: Interface) -> None:
        """Raise UserError for a task that these settings do not support; a subclass overrides this."""

    def refuse(self, complaint: str) -> NoReturn:
        """Raise the UserError of a setting that does not fit the task."""
        raise UserError(f"model {self.kind!r}: {complaint}")


def refuse_too_many(parameters: int, n_layers: int, where: str) -> None:
    """Refuse a model too large to allocate, before anything is allocated.

    Raises ValueError (which pydantic turns into a validation error) naming the parameter count.
    """
    if parameters > MAX_PARAMETERS or n_layers > MAX_LAYERS:
        raise ValueError(
            f"{where} would hold {parameters:,} parameters in {n_layers:,} layers "
            f"(limits {MAX_PARAMETERS:,} and {MAX_LAYERS:,}): lower n_layers or a width"
        )


def table_size(interface: Interface, d_model: int) -> int:
    """Parameters of the read-in, the position table and the unembedding for an interface."""
    rows = {
        "continuous": interface.d_in,
        "token": interface.d_vocab,
        "pair": 2 * interface.d_vocab + 1,
    }[interface.inputs]
    return (rows + interface.n_ctx + len(set(interface.token_types)) + interface.d_out) * d_model


def check_interface(settings: ModelSettings, interface: Interface, d_model: int) -> None:
    """Refuse an interface that no model could serve. Raises UserError."""
    width = "d_in" if interface.inputs == "continuous" else "d_vocab"
    for name in ("n_ctx", "d_out", width):
        if getattr(interface, name) < 1:
            settings.refuse(f"the task's {name} is {getattr(interface, name)}; it must be positive")
    if interface.token_types and len(interface.token_types) != interface.n_ctx:
        settings.refuse(
            f"the task names {len(interface.token_types)} token types for {interface.n_ctx} positions"
        )
    if min(interface.token_types, default=0) < 0:
        settings.refuse("the task's token types must not be negative")
    size = table_size(interface, d_model)
    if size > MAX_PARAMETERS:
        settings.refuse(
            f"embedding and unembedding would hold {size:,} parameters (limit {MAX_PARAMETERS:,})"
        )
