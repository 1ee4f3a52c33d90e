"""Any state dict whose weights are those of one of this package's models under other names, given by a mapping file."""

from __future__ import annotations

from pathlib import Path

from interp.config.run import RunConfig, read_toml
from interp.importers.mapping import Source, check_mapping, parse_mapping, translate
from interp.importers.record import record, weight_shapes
from interp.importers.state import read_state, without_prefix
from interp.runs.folder import RunFolder
from tasks.errors import UserError


def import_plain(file: str | Path, mapping: str | Path, config: RunConfig, out: str | Path) -> RunFolder:
    """A state dict as the last checkpoint of a run of these settings (its step: the file's own, or `train.steps`).

    Raises UserError when file, mapping and model do not fit each other, or the folder holds something else.
    """
    if config.model.dtype != "float32":
        raise UserError(f"{file}: is imported in float32; set model.dtype to it")
    shapes = weight_shapes(config)
    sources = read_mapping(Path(mapping))
    check_mapping(sources, shapes, str(mapping))
    state = without_prefix(read_state(Path(file)), [source.key for source in sources.values()], Path(file))
    weights = translate(state.weights, sources, shapes, str(file))
    step = config.train.steps if state.step is None else state.step
    return record(Path(out), config, (step,), lambda _: weights)


def read_mapping(path: Path) -> dict[str, Source]:
    """The mapping in a TOML file: `"blocks.0.attn.w_q" = "layers.0.query.weight"`. Raises UserError."""
    return parse_mapping(read_toml(path), str(path))
