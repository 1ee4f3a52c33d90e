"""Plain values as bytes, for hashing: equal values give equal bytes, and what is no plain value is refused."""

from __future__ import annotations

import dataclasses
import enum
import logging
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel

from interp.io.files import sha256
from interp.io.tensors import tensor_hash

_NAMED: tuple[Any, ...] = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.MemberDescriptorType, types.GetSetDescriptorType,
    types.WrapperDescriptorType, types.EllipsisType, types.NotImplementedType, types.UnionType, types.GenericAlias,
    np.ufunc, np.dtype, torch.dtype, torch.device,
)  # fmt: skip
_HEAP = 1 << 9  # of classes that are written in Python: their state is their attributes


class Unplain(Exception):
    """A value that has no bytes of its own; the text says of what type."""


def plain_value(value: Any) -> bytes:
    """The bytes of a value: numbers, text, containers, arrays and tensors by their bytes, objects made of such.

    Raises Unplain for anything else, such as an open file or a thread.

    >>> plain_value({"b": 1, "a": (2.0,)}) == plain_value({"a": (2.0,), "b": 1})
    True
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Path | range | slice):
        return f"{type(value).__name__}:{value!r}".encode()
    if isinstance(value, enum.Enum):
        return _joined(type(value).__qualname__, [value.name.encode(), plain_value(value.value)])
    if isinstance(value, Mapping):
        items = [_joined("item", [plain_value(k), plain_value(v)]) for k, v in value.items()]
        return _joined("mapping", sorted(items))
    if isinstance(value, list | tuple):
        return _joined(type(value).__name__, [plain_value(part) for part in value])
    if isinstance(value, set | frozenset):
        return _joined("set", sorted(plain_value(part) for part in value))
    return _array(value)


def _array(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return f"tensor:{tensor_hash({'': value})}".encode()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        array = np.ascontiguousarray(value)
        return f"array:{array.dtype}{array.shape}:{sha256(array.tobytes())}".encode()
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        return f"frame:{sha256(pd.util.hash_pandas_object(value).to_numpy().tobytes())}".encode()
    if isinstance(value, torch.nn.Module):
        return f"{type(value).__qualname__}:{tensor_hash(value.state_dict())}:{value!r}".encode()
    return _object(value)


def _object(value: Any) -> bytes:
    if isinstance(value, type | types.ModuleType | types.FunctionType):
        return f"named:{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}".encode()
    if isinstance(value, logging.Logger):
        return f"logger:{value.name}".encode()
    if isinstance(value, _NAMED) or type(value).__module__ == "typing":
        return f"named:{re.sub(' at 0x[0-9a-f]+', '', repr(value))}".encode()
    if isinstance(value, re.Pattern):
        return f"pattern:{value.pattern!r}{value.flags}".encode()
    if isinstance(value, torch.Generator):
        return plain_value(value.get_state())
    if isinstance(value, BaseModel):
        return _joined(type(value).__qualname__, [plain_value(dict(value))])
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return _joined(type(value).__qualname__, [plain_value(fields)])
    kind = type(value)
    if kind is object:  # a mark, of which only that it is another thing counts
        return b"object"
    if (
        hasattr(value, "__dict__")
        and all(base.__flags__ & _HEAP for base in kind.__mro__[:-1])
        and kind.__reduce__ is object.__reduce__
    ):
        return _joined(f"{kind.__module__}.{kind.__qualname__}", [plain_value(vars(value))])
    raise Unplain(f"a {type(value).__qualname__}, which has no plain value")


def _joined(kind: str, parts: list[bytes]) -> bytes:
    return f"{kind}({len(parts)}".encode() + b"".join(f",{len(p)}:".encode() + p for p in parts) + b")"
