"""Reading a compiled program's `program.json`, and prompts of other lengths for it.

The file holds `model` (settings of a transformer), `tokens`, `outputs`, `categorical`, `prompts`, `targets`, `defined`,
and the circuit that the program was compiled to: `edges` (sender, receiver), of which `positional_edges` carry places
only. A file is read as data; nothing in it is run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.base import build
from tasks.errors import UserError
from tasks.program import PAD, Program

ANSWERS = ("tokens", "outputs", "categorical", "prompts", "targets", "defined")
CLOSE = 1e-3  # by how much a compiled net's outputs may miss 0, 1, or themselves behind other padding
Run = Callable[[Int[Tensor, "batch pos"]], Float[Tensor, "batch pos d_out"]]
Edge = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class ProgramFile:
    """What a file says: the task, the settings of its model, and its true circuit."""

    task: Program
    model: dict[str, Any]
    edges: tuple[Edge, ...]
    positional_edges: tuple[Edge, ...]


def read_program(path: str | Path) -> ProgramFile:
    """The program of a file, or of the folder that holds a `program.json`; its name is the folder's.

    Raises UserError for a file that is missing, no JSON, or lacks a part.
    """
    file = Path(path) / "program.json" if Path(path).is_dir() else Path(path)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON ({error})") from None
    return parse_program(found, file.parent.name, str(file))


def parse_program(found: Any, name: str = "", where: str = "program") -> ProgramFile:
    """The same from the parsed contents. Raises UserError, which names the file and the part that is wrong."""
    if not isinstance(found, Mapping):
        raise UserError(f"{where}: a program is an object with {', '.join(ANSWERS)}")
    missing = [part for part in (*ANSWERS, "model", "edges") if part not in found]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(map(repr, missing))}")
    try:
        task = build({"kind": Program.kind, "name": name, **{part: found[part] for part in ANSWERS}})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    assert isinstance(task, Program)
    if not isinstance(found["model"], Mapping):
        raise UserError(f"{where}: 'model' must be an object of settings")
    circuit = [_edges(found.get(part, []), part, where) for part in ("edges", "positional_edges")]
    return ProgramFile(task, dict(found["model"]), circuit[0], circuit[1])


def _edges(found: Any, part: str, where: str) -> tuple[Edge, ...]:
    pairs: list[Any] = found if isinstance(found, list) else [found]
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, str) for end in pair)):
            raise UserError(f"{where}: {part!r} must be a list of [sender, receiver]")
    return tuple((sender, receiver) for sender, receiver in pairs)


def of_lengths(task: Program, lengths: Iterable[int], run: Run) -> Program:
    """The same program with its prompts cut to several lengths (tokens behind the start token), beside the longest.

    The answers of a shorter prompt are computed by the compiled net: `run` maps tokens to its outputs, for prompts of
    that length, without padding. A position counts as defined where it did in the whole prompt
    and, for values, the net writes 1 on one output. Raises UserError for a length that no prompt has, and for a net
    that answers otherwise once padding stands behind a prompt (its prompts cannot share a batch).
    """
    wanted = sorted(set(lengths))
    longest = max(task.lengths)
    if not wanted or wanted[0] < 1 or wanted[-1] > longest:
        raise UserError(f"lengths {wanted} must lie between 1 and {longest}, the longest prompt's")
    if PAD not in task.tokens:
        raise UserError(f"program {task.name!r} has no token {PAD!r}: its prompts must be equally long")
    prompts, targets, defined = [], [], []
    for length in wanted:
        kept = [i for i, prompt in enumerate(task.prompts) if len(prompt) - 1 >= length]
        tokens = torch.tensor([task.prompts[i][: length + 1] for i in kept])
        outputs = run(tokens)[:, 1:]
        _check_padding(task, tokens, outputs, longest, run)
        before = torch.tensor([task.defined[i][:length] for i in kept])
        values, counts = _answers(task, outputs, before)
        some = counts.any(1)
        prompts += tokens[some].tolist()
        targets += values[some].tolist()
        defined += counts[some].tolist()
    if not prompts:
        raise UserError(
            f"program {task.name!r} has no answer in prompts of lengths {wanted}: ask for longer ones"
        )
    settings = {"prompts": prompts, "targets": targets, "defined": defined}
    found = build({"kind": Program.kind, **task.model_dump(mode="json"), **settings})
    assert isinstance(found, Program)
    return found


def _answers(
    task: Program, outputs: Float[Tensor, "batch answer d_out"], before: Tensor
) -> tuple[Tensor, Tensor]:
    """Values (numbers of outputs) and whether they count."""
    if not task.categorical:
        return outputs[..., 0], before
    top = outputs.topk(min(2, outputs.shape[-1]), dim=-1)
    sharp = (top.values[..., 0] - 1).abs() < CLOSE
    if outputs.shape[-1] > 1:
        sharp &= top.values[..., 1].abs() < CLOSE
    return top.indices[..., 0], before & sharp


def _check_padding(task: Program, tokens: Tensor, outputs: Tensor, longest: int, run: Run) -> None:
    short = longest + 1 - tokens.shape[1]
    if not short:
        return
    pad = torch.full((len(tokens), short), task.tokens.index(PAD))
    padded = run(torch.cat([tokens, pad], 1))[:, 1 : tokens.shape[1]]
    miss = (padded - outputs).abs().max().item()
    if not miss < CLOSE:
        raise UserError(
            f"program {task.name!r} answers otherwise (by {miss:.2g}) when padding stands behind a prompt of "
            f"{tokens.shape[1] - 1}: it cannot be given prompts of several lengths at once"
        )
