"""Ground floor: what a model is trained on, and the answers known in closed form. Knows no model."""

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, build, generator, kinds, register, settings_of
from tasks.errors import UserError

__all__ = [
    "Batch",
    "Interface",
    "Level",
    "Pair",
    "Relation",
    "Task",
    "UserError",
    "build",
    "generator",
    "kinds",
    "register",
    "settings_of",
]
