"""Checkpoints of Garg et al.'s in-context learners (arXiv 2208.01066), also used by Fu et al. (2310.17086).

These are a Hugging Face GPT-2 (`_backbone`) between two linear maps: `_read_in` makes a token of each x and of
each (y, 0, ..., 0), interleaved, and `_read_out` predicts y at the x-tokens. That is this package's pre-norm
transformer on the interleaved regression task; the unused token embedding and the stored attention masks of older
versions are dropped. The number of heads is in no weight: `config.yaml` next to the file, or the caller, must give it.
A checkpoint's step is the number in it, saved there after that many updates and one more.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.config.run import RunConfig, parse_config
from interp.importers.garg_config import GargConfig, GargSizes, read_config
from interp.importers.mapping import Source, translate
from interp.importers.record import record, weight_shapes
from interp.importers.state import State, read_state, without_prefix
from interp.runs.folder import RunFolder
from tasks.errors import UserError

BACKBONE = "_backbone"
UNUSED = re.compile(r"_backbone\.(wte\.weight|h\.\d+\.attn\.(masked_)?bias)")
GPT2 = {
    "kind": "transformer",
    "attention": "softmax",
    "mask": "causal",
    "layer_norm": "affine",
    "mlp": "gelu_new",
    "biases": True,
    "positions": "learned",
    "init": "gpt2",
}
_BLOCK = re.compile(r"_backbone\.h\.(\d{1,6})\..*")
_NUMBERED = re.compile(r"model_(0|[1-9]\d{0,7})\.pt")


def import_garg(path: str | Path, out: str | Path, n_heads: int | None = None) -> RunFolder:
    """A run out of `state.pt`, `model_N.pt`, or a folder whose every `model_N.pt` becomes the checkpoint of step N.

    A folder without numbered files gives its `state.pt`. Raises UserError when the number of heads is not known, for
    keys, shapes or settings that do not fit, for a file that could run code, and when `out` holds something else.
    """
    path = Path(path)
    files = _files(path)
    first = _read(next(iter(files.values())))
    if None in files:
        files = {_stated_step(first, path): file for file in files.values()}
    steps = tuple(sorted(step for step in files if step is not None))
    settings = read_config(files[steps[0]].parent / "config.yaml")
    layout = _layout(first, files[steps[0]])
    config = garg_run(layout, settings, n_heads, steps[-1], str(path))
    shapes, mapping = weight_shapes(config), garg_mapping(layout.n_layers)

    def weights(step: int) -> dict[str, Tensor]:
        file = files[step]
        return translate(_read(file).weights, mapping, shapes, str(file), UNUSED)

    return record(Path(out), config, steps, weights)


def _read(file: Path) -> State:
    return without_prefix(read_state(file), ["_read_in.weight", "_read_out.weight"], file)


def _files(path: Path) -> dict[int | None, Path]:
    """Weight files by the step in their names, in order; under None the one file whose name has none."""
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    numbered = {int(found[1]): entry for entry in entries if (found := _NUMBERED.fullmatch(entry.name))}
    if numbered:
        return dict(sorted(numbered.items()))
    if path.is_dir() and not (path / "state.pt").is_file():
        raise UserError(f"{path}: holds neither model_N.pt nor state.pt")
    return {None: path / "state.pt" if path.is_dir() else path}


def _stated_step(state: State, path: Path) -> int:
    if state.step is None:
        raise UserError(f"{path}: does not state its step; call the file model_N.pt, N being the step")
    return state.step


def _layout(state: State, file: Path) -> GargSizes:
    """Sizes read off the weights."""
    width, d = _two(state, "_read_in.weight", file)
    blocks = [int(match[1]) for key in state.weights if (match := _BLOCK.fullmatch(key))]
    if not blocks:
        raise UserError(f"{file}: without '_backbone.h.0.ln_1.weight': not a checkpoint of this kind")
    return GargSizes(
        d=d,
        d_model=width,
        n_layers=max(blocks) + 1,
        d_mlp=_two(state, f"{BACKBONE}.h.0.mlp.c_fc.weight", file)[1],
        positions=_two(state, f"{BACKBONE}.wpe.weight", file)[0],
    )


def _two(state: State, key: str, file: Path) -> tuple[int, int]:
    if key not in state.weights:
        raise UserError(f"{file}: without {key!r}")
    shape = tuple(state.weights[key].shape)
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"{file}: key {key!r} has shape {list(shape)}, should be a matrix")
    return shape[0], shape[1]


def garg_run(
    layout: GargSizes, settings: GargConfig | None, n_heads: int | None, last_step: int, where: str
) -> RunConfig:
    """The equivalent run of this package.

    Without `config.yaml` the task has as many examples as there are positions, and batch and rate of the training,
    which nothing here depends on, are the published ones. Raises UserError for sizes that contradict each other.
    """
    heads = _heads(layout, settings, n_heads, where)
    if settings is not None:
        settings.check(layout)
    sizes = {"n_layers": layout.n_layers, "d_model": layout.d_model, "d_mlp": layout.d_mlp, "n_heads": heads}
    task: dict[str, Any] = {"kind": "regression", "d": layout.d, "layout": "interleaved"}
    task |= settings.task(layout) if settings is not None else {"n": layout.points - 1}
    train = settings.train() if settings is not None else {"batch": 64, "lr": 1e-4}
    train |= {"steps": max(last_step, 1), "optimiser": "adam"}
    try:
        return parse_config({"task": task, "model": GPT2 | sizes, "train": train})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _heads(layout: GargSizes, settings: GargConfig | None, n_heads: int | None, where: str) -> int:
    stated = settings.model.n_head if settings is not None else None
    if n_heads is None and stated is None:
        raise UserError(
            f"{where}: the number of heads is not in the weights: put config.yaml next to the file, or give --n-heads N"
        )
    if n_heads is not None and stated is not None and n_heads != stated:
        raise UserError(
            f"{where}: --n-heads {n_heads}, but config.yaml has n_head: {stated}; leave one of them out"
        )
    heads = n_heads if n_heads is not None else stated
    if heads is None or heads < 1 or layout.d_model % heads:
        raise UserError(f"{where}: {heads} heads do not divide the width {layout.d_model}; check --n-heads")
    return heads


def garg_mapping(n_layers: int) -> dict[str, Source]:
    """Where each of this package's weights is in such a checkpoint: linear maps are [out, in], GPT-2's [in, out]."""
    mapping = {
        "token_embed.W_E": Source(key="_read_in.weight", transpose=True),
        "token_embed.b_E": Source(key="_read_in.bias"),
        "positions.W_pos": Source(key=f"{BACKBONE}.wpe.weight", cut=True),
        "ln_final.w": Source(key=f"{BACKBONE}.ln_f.weight"),
        "ln_final.b": Source(key=f"{BACKBONE}.ln_f.bias"),
        "W_U": Source(key="_read_out.weight", transpose=True),
        "bias_U": Source(key="_read_out.bias"),
    }
    for layer in range(n_layers):
        mapping |= _block(f"blocks.{layer}", f"{BACKBONE}.h.{layer}")
    return mapping


def _block(ours: str, theirs: str) -> dict[str, Source]:
    whole = {
        "ln1.w": "ln_1.weight",
        "ln1.b": "ln_1.bias",
        "attn.w_o": "attn.c_proj.weight",
        "attn.bias_o": "attn.c_proj.bias",
        "ln2.w": "ln_2.weight",
        "ln2.b": "ln_2.bias",
        "mlp.W_in": "mlp.c_fc.weight",
        "mlp.b_in": "mlp.c_fc.bias",
        "mlp.W_out": "mlp.c_proj.weight",
        "mlp.bias_out": "mlp.c_proj.bias",
    }
    mapping = {f"{ours}.{name}": Source(key=f"{theirs}.{key}") for name, key in whole.items()}
    for i, letter in enumerate("qkv"):
        for name, key in (("w", "weight"), ("b", "bias")):
            mapping[f"{ours}.attn.{name}_{letter}"] = Source(key=f"{theirs}.attn.c_attn.{key}", part=(i, 3))
    return mapping
