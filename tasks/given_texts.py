"""Texts and lists of tokens as prompts of one length: any tokenizer, filled up on either side.

A tokenizer is anything with `encode(text)`: of `transformers`, of `tokenizers` (whose encodings have `ids`), of
`tiktoken` or `sentencepiece`, or a function from a text to its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from tasks.errors import UserError

Side = Literal["right", "left"]


def words_of(given: Any) -> bool:
    """Whether prompts, answers or attributes are given in words."""
    return isinstance(given, list | tuple) and bool(given) and isinstance(given[0], str)


def encoded(
    texts: Sequence[str], tokenizer: Any, pad: int | None, side: Side
) -> tuple[Int[Tensor, "batch pos"], int | None]:
    """Texts as tokens of one length, and the token that fills them up. Raises UserError where none is known."""
    if tokenizer is None:
        raise UserError("texts need a tokenizer (tokenizer=...)")
    words = [tokens_of(text, tokenizer) for text in texts]
    if empty := next((text for text, word in zip(texts, words, strict=True) if not word), None):
        raise UserError(f"{empty!r} has no tokens")
    fill = filling(tokenizer) if pad is None else pad
    if fill is None and len(set(map(len, words))) > 1:
        raise UserError("the tokenizer names no token to fill up short prompts with: give one (pad=...)")
    return filled(words, fill, side), fill


def tokens_of(text: str, tokenizer: Any, special: bool = True) -> list[int]:
    """The tokens of a text. Raises UserError for a tokenizer that gives something else."""
    encode = getattr(tokenizer, "encode", tokenizer)
    if not callable(encode):
        raise UserError(f"{type(tokenizer).__name__} is no tokenizer: it has no encode(text)")
    try:
        found: Any = encode(text) if special else encode(text, add_special_tokens=False)
    except TypeError:
        found = encode(text)  # tokenizers that add nothing have no such option
    found = getattr(found, "ids", found)
    try:
        return [int(token) for token in found]
    except (TypeError, ValueError):
        raise UserError(
            f"the tokenizer gives {type(found).__name__} for {text!r}, not a list of tokens"
        ) from None


def due_tokens(answers: Sequence[str], tokenizer: Any) -> list[int]:
    """The first token of every answer. Raises UserError for one without tokens."""
    if tokenizer is None:
        raise UserError("answers in words need a tokenizer (tokenizer=...)")
    found = [tokens_of(answer, tokenizer, special=False) for answer in answers]
    for answer, tokens in zip(answers, found, strict=True):
        if not tokens:
            raise UserError(f"the answer {answer!r} has no tokens")
    return [tokens[0] for tokens in found]


def filled(words: Sequence[Sequence[int]], fill: int | None, side: Side) -> Int[Tensor, "batch pos"]:
    """Lists of tokens as rows of one length. Raises UserError for unequal lengths without a token to fill up with."""
    if side not in ("left", "right"):
        raise UserError(f"side={side!r}: short prompts are filled up on the 'right' or the 'left'")
    longest = max(map(len, words))
    if fill is None and min(map(len, words)) < longest:
        raise UserError("prompts of unequal length need a token to fill them up with (pad=...)")
    if not longest:
        raise UserError("the prompts have no tokens")
    rows = []
    for word in words:
        rest = [0 if fill is None else fill] * (longest - len(word))
        rows.append([*rest, *word] if side == "left" else [*word, *rest])
    try:
        return torch.tensor(rows, dtype=torch.long)
    except (TypeError, ValueError):
        raise UserError("prompts must be lists of whole numbers") from None


def last_tokens(inputs: Int[Tensor, "batch pos"], pad: int | None) -> Int[Tensor, "batch"]:
    """The place of every prompt's last token that is no padding on the right."""
    pos = inputs.shape[1]
    if pad is None:
        return torch.full((len(inputs),), pos - 1)
    real = inputs != pad
    return torch.where(real, torch.arange(pos), 0).amax(1) if bool(real.any()) else real.long().sum(1)


def filling(tokenizer: Any) -> int | None:
    """The token that a tokenizer fills up with: its own, else the one that ends a text."""
    for name in ("pad_token_id", "eos_token_id", "pad_id", "eot_token"):
        own = getattr(tokenizer, name, None)
        own = own() if callable(own) else own
        if isinstance(own, int) and own >= 0:
            return own
    own = getattr(tokenizer, "padding", None)  # of `tokenizers`
    return own.get("pad_id") if isinstance(own, dict) else None


def size_of(tokenizer: Any) -> int:
    """The number of a tokenizer's tokens; 0 where it does not say."""
    for name in ("get_vocab_size", "n_vocab", "vocab_size"):
        own = getattr(tokenizer, name, None)
        if name == "vocab_size" and hasattr(tokenizer, "__len__"):
            return len(tokenizer)  # added tokens included
        own = own() if callable(own) else own
        if isinstance(own, int):
            return own
    return len(tokenizer) if hasattr(tokenizer, "__len__") else 0
