"""Link functions g(z_1, ..., z_L) written as text: a tokenizer, a recursive-descent parser and the tree it builds.

Grammar: numbers, `L` (the number of tokens), fields `z1` ... `zL`, probabilists' Hermite polynomials `He3(z1)`,
`sqrt(constant)`, `+ - * /` (by a constant), whole powers `^`, `sum(...)` over tokens with `z` for the token summed
over, and `name(z)` for a Python function made known by `register_link`. Nothing is ever evaluated as Python.
Hermite polynomials are the probabilists' ones (He_2 = z^2 - 1), unnormalised: E[He_k(z)^2] = k!.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import eval_hermitenorm

from tasks.errors import UserError

Fields = Float[ndarray, "*batch L"]
Node = Callable[[ndarray], ndarray]
"""A part of a link: fields [..., L] to an array that broadcasts against [..., L]; scalars carry a last axis of 1."""

MAX_TEXT, MAX_DEPTH, MAX_ORDER = 2000, 40, 30
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_][A-Za-z_0-9]*)|(\*\*|[-+*/^(),]))")
_FUNCTIONS: dict[str, Callable[[ndarray], ndarray]] = {}
_RESERVED = re.compile(r"L|z\d*|He\d*|sqrt|sum")


@dataclasses.dataclass(frozen=True)
class Link:
    """A parsed link: call it on fields to get labels. `text` is what it was parsed from."""

    text: str
    length: int
    root: Node = dataclasses.field(repr=False, compare=False)

    def __call__(self, z: Float[ndarray, "*batch L"]) -> Float[ndarray, "*batch"]:
        """Labels g(z), one for each row of fields."""
        value = self.root(z)
        return np.broadcast_to(value[..., 0], z.shape[:-1])


def register_link(name: str, function: Callable[[ndarray], ndarray]) -> None:
    """Make `name(z)` mean `function` in every link: fields [..., L] to labels [...].

    Raises UserError for a taken or reserved name.
    """
    if not name.isidentifier() or _RESERVED.fullmatch(name):
        raise UserError(f"link function name {name!r} is reserved or no identifier: choose another")
    if _FUNCTIONS.get(name, function) is not function:
        raise UserError(f"link function {name!r} is already registered: choose another name")
    _FUNCTIONS[name] = function


def registered_in(text: str) -> tuple[Callable[[ndarray], ndarray], ...]:
    """The registered functions that a link names."""
    return tuple(function for name, function in sorted(_FUNCTIONS.items()) if re.search(rf"\b{name}\b", text))


def parse_link(text: str, length: int) -> Link:
    """The link that `text` describes on `length` tokens.

    >>> float(parse_link("z1*z2 + sum(He2(z))/sqrt(L)", 2)(np.array([1.0, 2.0])))  # 2 + (0 + 3)/sqrt 2
    4.121320343559642

    Raises UserError for anything outside the grammar, with the column at which reading stopped.
    """
    if length < 1:
        raise UserError(f"a link needs at least one token, got length {length}")
    if len(text) > MAX_TEXT:
        raise UserError(f"link has {len(text)} characters; at most {MAX_TEXT}: register a function instead")
    parser = _Parser(text, length)
    root = parser.sum_of_terms()
    parser.expect_end()
    return Link(text, length, root)


def _constant(value: float) -> Node:
    if not math.isfinite(value):
        raise UserError(f"a constant of the link comes out as {value}: scale it down")
    held = np.full(1, value)

    def node(z: ndarray) -> ndarray:
        return held

    node.value = value  # type: ignore[attr-defined]  # so that divisions can ask for it
    return node


def _value(node: Node) -> float | None:
    return getattr(node, "value", None)


def _fold(operation: Callable[..., ndarray], *parts: Node) -> Node:
    """The node of an operation; of constants only, a constant."""
    values = [_value(part) for part in parts]
    if all(v is not None for v in values):
        with np.errstate(all="ignore"):
            return _constant(float(operation(*(np.float64(v) for v in values))))  # type: ignore[arg-type]
    return lambda z: operation(*(part(z) for part in parts))


def _sum_over_tokens(body: Node) -> Node:
    def total(z: ndarray) -> ndarray:
        value = body(z)
        if value.shape[-1] == 1:
            return value * z.shape[-1]
        return value.sum(-1, keepdims=True)

    return total


class _Parser:
    """One reading of one text: a cursor over its tokens and a method for each level of precedence."""

    def __init__(self, text: str, length: int) -> None:
        self.text, self.length, self.depth, self.summing = text, length, 0, False
        self.tokens = self._scan()
        self.at = 0

    def _scan(self) -> list[tuple[str, int]]:
        tokens, column = [], 0
        end = len(self.text.rstrip())
        while column < end:
            match = _TOKEN.match(self.text, column)
            if match is None:
                raise UserError(
                    f"link {self.text!r}: cannot read {self.text[column:].strip()[:10]!r} at column {column + 1}"
                )
            token = match.group(match.lastindex or 0)
            tokens.append((token, match.end() - len(token)))
            column = match.end()
        return tokens

    def fail(self, problem: str) -> UserError:
        column = self.tokens[self.at][1] + 1 if self.at < len(self.tokens) else len(self.text) + 1
        return UserError(f"link {self.text!r}, column {column}: {problem}")

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise self.fail(
                f"expected {wanted!r}, found {token!r}" if wanted else "the expression ends too early"
            )
        self.at += 1
        return token

    def expect_end(self) -> None:
        if self.peek():
            raise self.fail(f"unexpected {self.peek()!r}")

    def sum_of_terms(self) -> Node:
        node = self.product()
        while self.peek() in ("+", "-"):
            operation = np.add if self.take() == "+" else np.subtract
            node = _fold(operation, node, self.product())
        return node

    def product(self) -> Node:
        node = self.signed()
        while self.peek() in ("*", "/"):
            operation = np.multiply if self.take() == "*" else np.divide
            right = self.signed()
            if operation is np.divide and not _value(right):
                raise self.fail(
                    "only division by a constant other than zero is a link; write a product of polynomials"
                )
            node = _fold(operation, node, right)
        return node

    def signed(self) -> Node:
        if self.peek() == "-":
            self.take()
            return _fold(np.negative, self.signed_deeper())
        if self.peek() == "+":
            self.take()
            return self.signed_deeper()
        return self.power()

    def signed_deeper(self) -> Node:
        return self.nested(self.signed)

    def nested(self, rule: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested more than {MAX_DEPTH} deep")
        node = rule()
        self.depth -= 1
        return node

    def power(self) -> Node:
        base = self.atom()
        if self.peek() not in ("^", "**"):
            return base
        self.take()
        exponent = self.take()
        if not exponent.isdigit() or int(exponent) > MAX_ORDER:
            raise self.fail(f"a power must be a whole number from 0 to {MAX_ORDER}, got {exponent!r}")
        return _fold(lambda x: x ** int(exponent), base)

    def atom(self) -> Node:
        token = self.take()
        if token == "(":
            node = self.nested(self.sum_of_terms)
            self.take(")")
            return node
        if token[0].isdigit() or token[0] == ".":
            return _constant(float(token))
        if token == "L":
            return _constant(float(self.length))
        if token[0] == "z" and (token == "z" or token[1:].isdigit()):
            return self.field(token)
        return self.call(token)

    def field(self, token: str) -> Node:
        if token == "z":
            if not self.summing:
                raise self.fail("a bare 'z' belongs inside sum(...); name a token, as in z1")
            return lambda z: z
        index = int(token[1:]) - 1
        if not 0 <= index < self.length:
            raise self.fail(
                f"{token} asks for token {index + 1}, but there are {self.length} (z1 ... z{self.length})"
            )
        return lambda z: z[..., index : index + 1]

    def call(self, name: str) -> Node:
        known = name in ("sqrt", "sum") or re.fullmatch(r"He\d+", name) or name in _FUNCTIONS
        if not known:
            names = ["He<k>", "sqrt", "sum", *sorted(_FUNCTIONS)]
            raise self.fail(
                f"unknown name {name!r}: known are z1 ... z{self.length}, L and {', '.join(names)}"
            )
        self.take("(")
        if name in _FUNCTIONS:
            self.take("z")
            self.take(")")
            function = _FUNCTIONS[name]
            return lambda z: np.asarray(function(z))[..., None]
        node = self.nested(self.summed) if name == "sum" else self.nested(self.sum_of_terms)
        self.take(")")
        return self.applied(name, node)

    def summed(self) -> Node:
        if self.summing:
            raise self.fail("sum(...) inside sum(...) is not a link: there is one token index, z")
        self.summing = True
        node = _sum_over_tokens(self.sum_of_terms())
        self.summing = False
        return node

    def applied(self, name: str, node: Node) -> Node:
        if name == "sum":
            return node
        if name == "sqrt":
            value = _value(node)
            if value is None or value < 0:
                raise self.fail("sqrt takes a constant of at least 0")
            return _constant(math.sqrt(value))
        order = int(name[2:])
        if order > MAX_ORDER:
            raise self.fail(f"{name}: orders go up to {MAX_ORDER}")
        return _fold(lambda x: eval_hermitenorm(order, x), node)
