"""What is wrong with a command's words, in one line: too many of them, a value out of its range."""

from __future__ import annotations

import inspect

from cyclopts import CycloptsError, UnusedCliTokensError, ValidationError


def complaint(error: CycloptsError) -> str:
    """The error without a full stop; where cyclopts speaks of tokens, in words of the command."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens and error.command_chain:
        return f"{_takes(error)}: {error.unused_tokens[0]} is one too many"
    if isinstance(error, ValidationError) and error.argument is not None and error.argument.tokens:
        token = error.argument.tokens[0]
        return f"{token.keyword or error.argument.name} {token.value}: {error.exception_message}"
    return str(error).rstrip().removesuffix(".")


def _takes(error: CycloptsError) -> str:
    """What a command takes besides its options."""
    command = " ".join(error.command_chain or ())
    parameters = inspect.signature(error.target).parameters.values() if error.target else ()
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if not names:
        return f"{command} takes options only"
    return f"{command} takes {'one' if len(names) == 1 else 'one each of'} {' and '.join(names)}"
