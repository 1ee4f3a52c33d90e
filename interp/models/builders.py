"""Who builds the module of an adopted model: a function by its name, Hugging Face's settings, or an object given here.

A run folder names its builder; nothing is imported on its word alone. A function is called when this process adopted
with it, or when its module is one of those that ALGOSCOPE_MODELS names; an object that was given lives in this process
only.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import nn

from interp.config.model import MODULES
from tasks.errors import UserError

HF = "hf"
LIVE = "live:"
Make = Callable[[], nn.Module]
_KNOWN: dict[str, Make] = {}
_DRAWN: ContextVar[bool] = ContextVar("drawn", default=True)


@contextlib.contextmanager
def to_be_loaded() -> Iterator[None]:
    """Within it, modules are built whose weights are loaded next, so that none are drawn (a third of the time)."""
    before = _DRAWN.set(False)
    try:
        yield
    finally:
        _DRAWN.reset(before)


def name_builder(given: nn.Module | Callable[[], nn.Module] | str) -> str:
    """The name under which a run says who builds its module; the builder itself is remembered for this process.

    Raises UserError for a name that leads nowhere, and for something that builds nothing.
    """
    if isinstance(given, str):
        _KNOWN[given] = _imported(given)
        return given
    if isinstance(given, nn.Module):
        module = original(given)
        name = f"{LIVE}{type(module).__name__}/{_shapes(module)}"
        _KNOWN[name] = lambda: copy.deepcopy(module)
        return name
    if not callable(given):
        raise UserError(
            f"{given!r} builds no module: give a torch module, or a function without arguments that makes one"
        )
    name = _importable(given) or f"{LIVE}{getattr(given, '__qualname__', type(given).__name__)}"
    _KNOWN[name] = given
    return name


def original(module: nn.Module) -> nn.Module:
    """The module inside a wrapper: of `torch.compile`, of several devices, of a TransformerLens bridge."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return original(module.module)
    for name in ("_orig_mod", "original_model"):
        inner = getattr(module, name, None)
        if isinstance(inner, nn.Module):
            return original(inner)
    return module


def build_module(
    builder: str, settings: Mapping[str, Any], dtype: str, seed: int, drawn: bool = True
) -> nn.Module:
    """A module with weights drawn from `seed`, in eval mode; the global random state stays as it was.

    An object that was given is copied and its weights are drawn anew by its own layers (`reset_parameters`); those of
    layers without that are shuffled within each tensor. Not `drawn`, or within `to_be_loaded`, weights may be
    anything. Raises UserError for a builder that this process does not know.
    """
    drawn = drawn and _DRAWN.get()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if builder == HF:
            module = _hugging_face(settings, drawn)
        else:
            module = original(_known(builder)())
            if not isinstance(module, nn.Module):
                raise UserError(f"{builder}: gave {type(module).__name__}, not a torch module")
            if drawn and builder.startswith(LIVE) and "/" in builder:
                _redraw(module)
    return (module if dtype == "keep" else module.to(getattr(torch, dtype))).eval()


def _known(builder: str) -> Make:
    if builder in _KNOWN:
        return _KNOWN[builder]
    if builder.startswith(LIVE):
        raise UserError(
            f"the module of this run was an object of another process ({builder.removeprefix(LIVE)}): adopt it again "
            "with the same `out`, or with the name of a function that builds it (module:function)"
        )
    listed = [name.strip() for name in os.environ.get(MODULES, "").split(",")]
    if builder.partition(":")[0] not in listed:
        raise UserError(
            f"the module of this run is built by {builder}: allow its import with "
            f"{MODULES}={builder.partition(':')[0]}"
        )
    return _KNOWN.setdefault(builder, _imported(builder))


def _imported(builder: str) -> Make:
    place, colon, name = builder.partition(":")
    if not colon or not name:
        raise UserError(f"{builder!r}: write the builder as module:function")
    try:
        found: Any = importlib.import_module(place)
    except ImportError as error:
        raise UserError(f"{builder}: cannot be imported ({error}); is it on PYTHONPATH?") from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UserError(f"{builder}: {place} has no function {name!r}")
    return cast(Make, found)


def _importable(given: Any) -> str | None:
    """module:function of a function that another process can find under that name."""
    place, name = getattr(given, "__module__", None), getattr(given, "__qualname__", "")
    if not place or place == "__main__" or not name or "<" in name:
        return None
    return f"{place}:{name}"


def _hugging_face(settings: Mapping[str, Any], drawn: bool) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    own = dict(settings)
    kind = AutoConfig.for_model(str(own.pop("model_type")), **own)
    with contextlib.nullcontext() if drawn else no_init_weights():
        model = AutoModelForCausalLM.from_config(kind, trust_remote_code=False)
    model.tie_weights()
    return model


def _shapes(module: nn.Module) -> str:
    text = ";".join(f"{name}{tuple(p.shape)}" for name, p in module.named_parameters())
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@torch.no_grad()
def _redraw(module: nn.Module) -> None:
    drawn: set[int] = set()
    for part in module.modules():
        again = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(again):
            again()
            drawn |= {id(p) for p in part.parameters(recurse=False)}
    for weight in module.parameters():
        if id(weight) not in drawn:
            weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
