"""Any state dict whose weights are those of one of this package's models under other names, given by a mapping.

A mapping is a TOML file, or the name of one that comes with the package (`hooked-transformer`). Besides a line a weight
it may say which keys to `ignore` (shell patterns); `{l}` in a name stands for every layer.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from interp.config.run import RunConfig, read_toml
from interp.importers.mapping import Source, check_mapping, for_layers, ignoring, parse_mapping, translate
from interp.importers.record import record, weight_shapes
from interp.importers.state import read_state, without_prefix
from interp.runs.folder import RunFolder
from tasks.errors import UserError


@cache
def shipped_maps() -> dict[str, dict[str, Any]]:
    """The mappings that come with the package, by name. They list every weight that a model may have."""
    files = [f for f in resources.files("interp.importers.maps").iterdir() if f.name.endswith(".toml")]
    return {f.name.removesuffix(".toml"): tomllib.loads(f.read_text(encoding="utf-8")) for f in files}


def import_plain(file: str | Path, mapping: str | Path, config: RunConfig, out: str | Path) -> RunFolder:
    """A state dict as the last checkpoint of a run of these settings (its step: the file's own, or `train.steps`).

    Raises UserError when file, mapping and model do not fit each other, or the folder holds something else.
    """
    if config.model.dtype != "float32":
        raise UserError(f"{file}: is imported in float32; set model.dtype to it")
    shapes = weight_shapes(config)
    sources, unused = read_mapping(mapping, shapes)
    check_mapping(sources, shapes, str(mapping))
    wanted = [source.key for source in sources.values() if source.key]
    state = without_prefix(read_state(Path(file)), wanted, Path(file))
    weights = translate(state.weights, sources, shapes, str(file), unused)
    step = config.train.steps if state.step is None else state.step
    return record(Path(out), config, (step,), lambda _: weights)


def read_mapping(
    mapping: str | Path, shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, Source], re.Pattern[str] | None]:
    """The mapping of a file or of a shipped name, written out for a model's layers, and the keys that it ignores.

    Lines of a file: `"blocks.{l}.attn.w_q" = "layers.{l}.query.weight"`, `ignore = ["*.mask"]`. Of a shipped mapping
    the weights that the model has are taken. Raises UserError.
    """
    own = shipped_maps().get(str(mapping))
    entries = dict(read_toml(Path(mapping)) if own is None else own)
    patterns = entries.pop("ignore", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise UserError(f'{mapping}: ignore is a list of patterns, such as ["*.attn.bias"]')
    found = for_layers(parse_mapping(entries, str(mapping)), shapes)
    if own is not None:
        found = {name: source for name, source in found.items() if name in shapes}
    return found, ignoring(patterns)
