"""`from_tensors`: prompts that are there already (tensors, lists of tokens, texts), checked and made into a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tasks.errors import UserError
from tasks.given import FEWEST, GivenPrompts
from tasks.given_texts import Side, due_tokens, encoded, filled, last_tokens, size_of, words_of
from tasks.packing import packed

MOST_BYTES = 2**24
IGNORED = -100  # target of a position that does not count, as torch's cross entropy has it
Prompts = Tensor | Sequence[str] | Sequence[Sequence[int]]


def from_tensors(
    inputs: Prompts,
    targets: Tensor | Sequence[str] | Sequence[int],
    mask: Tensor | None = None,
    *,
    corrupt: Prompts | None = None,
    corrupt_targets: Tensor | Sequence[str] | Sequence[int] | None = None,
    relations: Mapping[str, Sequence[Tensor]] | None = None,
    groups: Mapping[str, Sequence[int] | Sequence[str] | Tensor] | None = None,
    tokenizer: Any = None,
    vocabulary: int = 0,
    outputs: int = 0,
    pad: int | None = None,
    side: Side = "right",
) -> GivenPrompts:
    """A task of prompts that are there already.

    `inputs` are tokens [batch, pos], lists of tokens of any lengths, or numbers [batch, pos, d]; or texts, with a
    `tokenizer` that is called as tokenizer.encode(text). `targets` are output numbers [batch, pos] with a `mask` of the
    positions that count (without one all whose target is not -100), or [batch], the answer at a prompt's last token;
    to texts they may be texts, of which the first token is asked. Prompts of unequal length are filled up with `pad`
    on one `side`. `corrupt` are prompts to patch from, in the same form and of the same lengths, with their own
    targets. `relations` map a name to (dest, source) or (dest, source, valid), each [batch, pair]. `groups` map a name
    to one whole number or word a prompt (`task.only(hops=2)` is the task of that group). Raises UserError for what
    does not fit.

    >>> import torch
    >>> x = torch.arange(64).reshape(16, 4) % 5
    >>> task = from_tensors(x, x.roll(-1, 1), mask=torch.tensor([[True, True, True, False]]).expand(16, 4))
    >>> len(task), task.interface.n_ctx, task.interface.output_positions
    (16, 4, (0, 1, 2))
    """
    whole, pad = _prompts("inputs", inputs, tokenizer, pad, side)
    if words_of(inputs):
        vocabulary = vocabulary or size_of(tokenizer)
    ends = last_tokens(whole, pad) if whole.ndim == 2 else None
    due, mask = _targets("targets", targets, mask, whole, ends, tokenizer)
    found = {"inputs": whole, "targets": due, "mask": mask}
    if corrupt is not None:
        other, _ = _prompts("corrupt", corrupt, tokenizer, pad, side)
        answers = due if corrupt_targets is None else corrupt_targets
        found["corrupt"] = other
        found["corrupt_targets"] = _targets("corrupt_targets", answers, mask, whole, ends, tokenizer)[0]
    for name, parts in (relations or {}).items():
        found |= _relation(name, parts)
    numbers, names = _groups(groups or {})
    found |= {f"group {name}": value for name, value in numbers.items()}
    _check(found, vocabulary, outputs)
    data = {name: packed(value) for name, value in found.items()}
    if sum(map(len, data.values())) > MOST_BYTES:
        raise UserError(
            f"these prompts take over {MOST_BYTES >> 20} MB: give fewer, or write a task that makes them"
        )
    known = side if isinstance(inputs, list | tuple) else "both"  # tensors may be filled up on either
    return GivenPrompts(data=data, names=names, vocabulary=vocabulary, outputs=outputs, pad=pad, side=known)


def _prompts(name: str, given: Any, tokenizer: Any, pad: int | None, side: Side) -> tuple[Tensor, int | None]:
    """Prompts as one tensor, and the token that fills them up (None where none is needed)."""
    if words_of(given):
        return encoded(given, tokenizer, pad, side)
    if isinstance(given, list | tuple) and given and isinstance(given[0], list | tuple):
        return filled([list(row) for row in given], pad, side), pad
    value = _tensor(name, given)
    if value.ndim != (3 if value.is_floating_point() else 2):
        raise UserError(
            f"{name} must be tokens [batch, pos] or numbers [batch, pos, d], got {list(value.shape)} "
            f"({str(value.dtype).removeprefix('torch.')})"
        )
    return value, pad


def _tensor(name: str, given: Any) -> Tensor:
    """A tensor, array or list as a tensor of a type that is kept: int64, float32, float64 or bool."""
    try:
        value = torch.as_tensor(given)
    except (ValueError, TypeError, RuntimeError):
        raise UserError(
            f"{name} must be a tensor (or rows of one length), got {type(given).__name__}"
        ) from None
    if value.is_complex():
        raise UserError(f"{name} must be real numbers, got {value.dtype}")
    if value.is_floating_point():
        return value if value.dtype in (torch.float32, torch.float64) else value.float()
    return value if value.dtype == torch.bool else value.long()


def _targets(
    name: str, given: Any, mask: Tensor | None, inputs: Tensor, ends: Tensor | None, tokenizer: Any
) -> tuple[Tensor, Tensor]:
    """Targets [batch, pos], and which positions count."""
    if words_of(given):
        if ends is None:
            raise UserError(f"{name} are texts and the prompts are numbers: give numbers of outputs")
        given = due_tokens(given, tokenizer)
    due, pos = _tensor(name, given), inputs.shape[1]
    if due.is_floating_point():
        raise UserError(
            f"{name} must be whole numbers (indices of outputs); for others write a task with its own loss"
        )
    due = due.long()
    if due.ndim == 1:
        where = torch.full((len(due),), pos - 1) if ends is None or len(ends) != len(due) else ends
        last = torch.arange(pos) == where[:, None]
        return due[:, None] * last, last if mask is None else _tensor("mask", mask).bool()
    counted = due != IGNORED if mask is None else _tensor("mask", mask).bool()
    if counted.shape == due.shape:
        due = due.masked_fill(~counted, 0)
    return due, counted


def _relation(name: str, parts: Sequence[Tensor]) -> dict[str, Tensor]:
    if len(parts) not in (2, 3):
        raise UserError(
            f"relation {name!r}: give (dest, source) or (dest, source, valid), each [batch, pair]"
        )
    dest, source, *rest = (_tensor(f"relation {name!r}", part) for part in parts)
    valid = rest[0].bool() if rest else torch.ones_like(dest, dtype=torch.bool)
    return {f"dest {name}": dest, f"source {name}": source, f"valid {name}": valid}


def _groups(
    groups: Mapping[str, Sequence[int] | Sequence[str] | Tensor],
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Attributes as whole numbers, and the words of those that were given in words."""
    numbers, names = {}, {}
    for name, values in groups.items():
        if words_of(values):
            words = tuple(sorted({str(value) for value in values}))
            names[name] = words
            numbers[name] = torch.tensor([words.index(str(value)) for value in values])
            continue
        numbers[name] = _tensor(f"group {name!r}", values)
        if numbers[name].ndim != 1 or numbers[name].is_floating_point():
            raise UserError(f"group {name!r}: give one whole number or word a prompt")
    return {name: value.long() for name, value in numbers.items()}, names


def _check(found: Mapping[str, Tensor], vocabulary: int, outputs: int) -> None:
    inputs, mask = found["inputs"], found["mask"]
    wanted = list(inputs.shape[:2])
    if len(inputs) < FEWEST:
        raise UserError(f"{len(inputs)} prompts are too few to measure on: give {FEWEST} or more")
    for name, value in found.items():
        if len(value) != len(inputs):
            raise UserError(f"{name}: {len(value)} rows for {len(inputs)} prompts")
        shaped = name in ("targets", "mask", "corrupt_targets")
        if shaped and list(value.shape) != wanted:
            raise UserError(
                f"{name} must be {wanted} (a row a prompt, a column a position), got {list(value.shape)}"
            )
    if not bool(mask.any(1).all()):
        raise UserError("a prompt has no position that counts: every row of mask needs one")
    if "corrupt" in found and found["corrupt"].shape != inputs.shape:
        raise UserError(f"corrupt prompts must be {list(inputs.shape)}, got {list(found['corrupt'].shape)}")
    for name in ("inputs", "corrupt"):
        if name in found and not found[name].is_floating_point():
            _within(name, found[name], vocabulary, "vocabulary")
        elif name in found and not bool(found[name].isfinite().all()):
            raise UserError(f"{name} has values that are not finite (NaN or infinity)")
    for name in ("targets", "corrupt_targets"):
        if name in found:
            _within(name, found[name][mask], outputs or vocabulary, "outputs" if outputs else "vocabulary")
    _check_relations(found, inputs.shape[1])


def _check_relations(found: Mapping[str, Tensor], pos: int) -> None:
    for name in [name.removeprefix("dest ") for name in found if name.startswith("dest ")]:
        dest, source, valid = (found[f"{part} {name}"] for part in ("dest", "source", "valid"))
        fits = dest.ndim == 2 and dest.shape == source.shape == valid.shape
        for place in (dest, source) if fits else ():
            fits = (
                fits and not place.is_floating_point() and bool(((place >= 0) & (place < pos))[valid].all())
            )
        if not fits:
            raise UserError(
                f"relation {name!r}: dest and source must be positions below {pos}, each [batch, pair]"
            )


def _within(name: str, value: Tensor, size: int, of: str) -> None:
    if value.numel() and (int(value.min()) < 0 or (size and int(value.max()) >= size)):
        top = f"0 to {size - 1} ({of})" if size else "0 and up"
        raise UserError(f"{name} must be numbers from {top}, got {int(value.min())} to {int(value.max())}")
