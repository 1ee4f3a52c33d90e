"""A module that was trained elsewhere as a run: sizes by looking, weights where they lie, proven before it is kept.

The run holds references to weight files; weights that exist in memory only (a mapping, a callable, a module alone) and
those asked for with `copy` are written into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from interp.config.layout import Layout
from interp.config.model_adopted import AdoptedConfig
from interp.config.run import RunConfig, parse_config
from interp.importers.checkpoints import find_checkpoints
from interp.importers.record import record
from interp.io.weight_files import WeightFiles
from interp.models.adopted import AdoptedModel
from interp.models.builders import HF, build_module, name_builder, original
from interp.models.layouts.parts import Parts, find_parts
from interp.models.layouts.shipped import layout_of
from interp.models.layouts.state import load_state, state_of
from interp.models.layouts.survey import survey
from interp.models.layouts.weights import matrix
from interp.runs.folder import RunFolder
from interp.runs.proven import keep
from tasks.base import Task, build, settings_of
from tasks.errors import UserError

Given = nn.Module | Callable[[], nn.Module] | str | Path
States = Mapping[int, Mapping[str, Tensor]] | Callable[[int], Mapping[str, Tensor]]
_CONTEXT = ("n_positions", "max_position_embeddings", "block_size", "n_ctx", "max_seq_len", "max_len")


def adopt_folder(
    given: Given,
    *,
    task: Task | Mapping[str, Any],
    out: str | Path,
    checkpoints: str | Path | States | None = None,
    steps: Sequence[int] = (),
    layout: str | Path | Mapping[str, Any] | Layout | None = None,
    copy: bool = False,
    pad: int | None = None,
) -> tuple[RunFolder, int, AdoptedModel]:
    """The run folder of a module, a step, and the model with its weights, which was proven on the first checkpoint.

    Raises UserError for a module, layout, task or checkpoints that do not fit each other.
    """
    asked = task if isinstance(task, Task) else build(dict(task))
    builder, settings, checkpoints = _builder(given, checkpoints)
    module = build_module(builder, settings, "keep", 0, drawn=checkpoints is None)
    named = layout_of(layout, module)
    pad = getattr(asked, "pad", None) if pad is None else pad
    weights, found = _weights(given, module, checkpoints, steps, copy)
    dtype = _dtype(module)
    load_state(module, weights(found[0]), str(checkpoints or builder))
    config = _config(module, named, asked, builder, settings, pad, dtype)
    config.check(asked.interface)
    model = AdoptedModel(config, asked.interface, 0, module)
    model.prove()
    train = {"steps": max(1, *found), "batch": 1, "lr": 1.0}  # theirs, and not known
    run: RunConfig = parse_config(
        {"task": settings_of(asked), "model": config.model_dump(mode="json"), "train": train}
    )

    at = found[0]

    def kept(step: int) -> dict[str, Tensor]:
        nonlocal at
        if isinstance(checkpoints, str | Path) and not copy:
            return WeightFiles.of(find_checkpoints(checkpoints)[step]).pack()
        load_state(model.module, weights(step), f"step {step}")
        at = step
        return {name: value.clone() for name, value in state_of(model.module).items()}

    folder = record(Path(out), run, found, kept)
    keep(model, folder, found[0])
    return folder, at, model


def _builder(given: Given, checkpoints: Any) -> tuple[str, dict[str, Any], Any]:
    """Who builds the module, its settings, and the checkpoints: a saved Hugging Face model brings its own."""
    folder = Path(given) if isinstance(given, str | Path) else None
    if folder is None or not folder.is_dir():
        return name_builder(str(given) if isinstance(given, Path) else given), {}, checkpoints
    places = sorted(folder.glob("*/config.json")) if not (folder / "config.json").is_file() else []
    place = places[0].parent if places else folder
    try:
        settings = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{folder}: no saved Hugging Face model there (config.json)") from None
    dropped = ("architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path")
    return HF, {k: v for k, v in settings.items() if k not in dropped}, checkpoints or folder


def _weights(
    given: Any, module: nn.Module, checkpoints: Any, steps: Sequence[int], copy: bool
) -> tuple[Callable[[int], Mapping[str, Tensor]], tuple[int, ...]]:
    """Weights by step, read when asked for, and the steps."""
    if checkpoints is None:
        own = state_of(original(given) if isinstance(given, nn.Module) else module)
        kept = {name: value.clone() for name, value in own.items()}
        return (lambda step: kept), (steps[0] if steps else 0,)
    if isinstance(checkpoints, str | Path):
        files = find_checkpoints(checkpoints)
        wanted = tuple(sorted(steps)) or tuple(files)
        if missing := [step for step in wanted if step not in files]:
            raise UserError(
                f"{checkpoints}: has no step {missing[0]}; it has {', '.join(map(str, files))[:80]}"
            )
        return (lambda step: WeightFiles.of(files[step]).read()), wanted
    if isinstance(checkpoints, Mapping):
        return (lambda step: checkpoints[step]), tuple(sorted(checkpoints))
    if not steps:
        raise UserError("checkpoints is a function: give the steps (steps=[0, 100, ...])")
    return checkpoints, tuple(sorted(steps))


def _config(
    module: nn.Module,
    layout: Layout,
    task: Task,
    builder: str,
    settings: dict[str, Any],
    pad: int | None,
    dtype: str,
) -> AdoptedConfig:
    parts, interface = find_parts(module, layout), task.interface
    sizes = survey(module, parts, layout, task.sample(0, "adopt", 0, 2).inputs)
    inside = parts.unembed is None and sizes.d_out == _rows(parts.embed) != sizes.d_model
    layout = (
        layout.model_copy(update={"unembed": ("tied",)}) if inside else layout
    )  # read with the embedding inside
    tokens = interface.inputs == "token"
    return AdoptedConfig(
        builder=builder, settings=settings, architecture=type(module).__name__, layout=layout,
        n_layers=len(parts.blocks), n_heads=sizes.n_heads, n_kv_heads=sizes.n_kv_heads, d_model=sizes.d_model,
        d_head=sizes.d_head, d_mlp=_d_mlp(parts), n_ctx=_context(module, parts, interface.n_ctx),
        d_vocab=_rows(parts.embed) or (interface.d_vocab if tokens else 0),
        d_out=_d_out(parts, layout, sizes.d_model), mask=sizes.mask, z_at=sizes.z_at, pad=pad,
        pad_side=getattr(task, "side", "both"),
        dtype=dtype,  # type: ignore[arg-type]
    )  # fmt: skip


def _dtype(module: nn.Module) -> str:
    """The type of a module's weights. Raises UserError for none, and for one that is not computed with here."""
    weight = next(module.parameters(), None)
    if weight is None:
        raise UserError(f"{type(module).__name__} has no weights")
    dtype = str(weight.dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64", "bfloat16"):
        raise UserError(f"{type(module).__name__} has weights of {dtype}: give module.float()")
    return dtype


def _d_mlp(parts: Parts) -> int:
    out = parts.blocks[0].mlp_out
    return 0 if out is None else matrix(out).shape[0]


def _rows(table: nn.Module | None) -> int:
    return table.num_embeddings if isinstance(table, nn.Embedding) else 0


def _context(module: nn.Module, parts: Parts, asked: int) -> int:
    """Longest prompt: rows of the position table, else what the module's settings say, else what the task asks."""
    if parts.positions is not None:
        return _rows(parts.positions) or asked
    own = getattr(module, "config", None)
    stated = [value for name in _CONTEXT if isinstance(value := getattr(own, name, None), int)]
    return stated[0] if stated else asked


def _d_out(parts: Parts, layout: Layout, d_model: int) -> int:
    if parts.unembed is not None:
        return matrix(parts.unembed).shape[1]
    return _rows(parts.embed) if layout.tied else d_model
