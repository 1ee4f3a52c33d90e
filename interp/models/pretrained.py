"""Loading a Hugging Face causal language model so that every weight comes from its files.

`from_pretrained` initialises at random whatever it does not find, and reports it in a log only. Here missing, unknown
and misshapen keys are rejected by name at every load (a head tied to the embedding is not missing), and values that are
not finite. Where nothing fits as it stands, a prefix that all keys share (`module.`, `_orig_mod.`) is taken off.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tasks.errors import UserError, listed


class Loaded(NamedTuple):
    """A model in eval mode, and the prefix that was taken off the names of its weights ("" for none)."""

    model: Any
    prefix: str


def load_model(folder: Path, dtype: str) -> Loaded:
    """The causal language model in a folder, with its own weights and no others.

    Raises UserError when it is none, or its files are damaged, lack a weight, or hold one that the model does not have.
    """
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder}: holds an adapter, which is not applied: merge it into the weights and save these"
        )
    model, found = _load(folder, dtype, "")
    wrong = _wrong(model, found)
    if not wrong:
        return Loaded(model, "")
    for prefix in shared_prefixes(sorted(found["unexpected_keys"])):
        model, again = _load(folder, dtype, prefix)
        if not _wrong(model, again):
            return Loaded(model, prefix)
    raise UserError(f"{folder}: {wrong}; its configuration and its weights are not of one model")


def shared_prefixes(names: list[str]) -> list[str]:
    """What all of some dotted names begin with, longest last.

    >>> shared_prefixes(["module.net.a.w", "module.net.b"])
    ['module.', 'module.net.']
    """
    if not names:
        return []
    parts = [name.split(".")[:-1] for name in names]
    found = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        found.append(level[0])
    return [".".join(found[: n + 1]) + "." for n in range(len(found))]


def _load(folder: Path, dtype: str, prefix: str) -> tuple[Any, dict[str, Any]]:
    """A model, its keys without a prefix, and what the library found of missing and other keys."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    mapping = {"key_mapping": {f"^{re.escape(prefix)}": ""}} if prefix else {}
    with quiet():
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=getattr(torch, dtype), attn_implementation="eager", local_files_only=True,
                trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True, **mapping,
            )  # fmt: skip
        except (ValueError, OSError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
            raise UserError(
                f"{folder}: no causal language model can be loaded from it ({line_of(error)})"
            ) from None
    return loaded


def _wrong(model: Any, found: dict[str, Any]) -> str:
    """What is wrong with a model's weights, in a few words; "" where every one is the file's."""
    mismatched = [
        f"{name} of shape {list(theirs)}, not {list(ours)}"
        for name, theirs, ours in sorted(found["mismatched_keys"])
    ]
    bad = sorted(name for name, value in model.state_dict().items() if not value.isfinite().all())
    said = {
        "lacks": sorted(found["missing_keys"]),
        "has unknown": sorted(found["unexpected_keys"]),
        "has": mismatched,
        "cannot read": sorted(map(str, found["error_msgs"])),
        "has values that are not finite in": bad,
    }
    return "; ".join(f"{what} {listed(names)}" for what, names in said.items() if names)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' bars and remarks on loading; what is wrong comes as an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def line_of(error: Exception) -> str:
    """An error of another library as one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
