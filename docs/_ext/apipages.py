"""Pages of the reference: for each public package, the names that it exports, from their docstrings.

Public is what stands in `__all__` of these packages; all else may change without notice.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType

from pydantic import BaseModel

PUBLIC = ("interp", "tasks", "probes", "interp.heads", "interp.causal", "interp.readouts", "interp.emergence")
ELSEWHERE = {("interp", "UserError")}  # documented where it is at home


def page(package: str) -> str:
    """One page: the package's docstring, then classes, functions and data in the order of `__all__`."""
    module = import_module(package)
    names = [name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)]
    lines = [
        f"# `{package}`",
        "",
        "```{eval-rst}",
        f".. automodule:: {package}",
        "   :no-members:",
        "```",
        "",
    ]
    groups = {"Functions": [], "Classes": [], "Values": []}
    for name in names:
        groups[kind(getattr(module, name))].append(name)
    for title, members in groups.items():
        if members:
            lines += [f"## {title}", "", "```{eval-rst}"]
            for name in members:
                lines += directive(package, name, getattr(module, name))
            lines += ["```", ""]
    return "\n".join(lines)


def kind(thing: object) -> str:
    if inspect.isclass(thing):
        return "Classes"
    return "Functions" if inspect.isroutine(thing) else "Values"


def directive(package: str, name: str, thing: object) -> list[str]:
    """The autodoc directive of one name, with an empty line after it."""
    options = ["   :no-index:"] if (package, name) in ELSEWHERE else []
    if not inspect.isclass(thing):
        word = "autofunction" if inspect.isroutine(thing) else "autodata"
        return [f".. {word}:: {package}.{name}", *options, ""]
    if issubclass(thing, Exception):
        return [f".. autoexception:: {package}.{name}", *options, ""]
    options.append("   :members:")
    options.append("   :exclude-members: model_config, model_post_init")
    if not issubclass(thing, (BaseModel, tuple)) and len(thing.__mro__) > 3:
        options.append("   :inherited-members: object")
    return [f".. autoclass:: {package}.{name}", *options, ""]
