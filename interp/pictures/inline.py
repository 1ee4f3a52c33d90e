"""Content of a self-contained page: libraries as text, data as JSON, and the security policy that allows both."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup


def as_json(value: Any) -> Markup:
    """JSON that is safe inside a script element: no `<` and no line separator remains in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def library(package: str, path: str) -> str:
    """A bundle as it may stand inline: it must not close its own element, nor point at a map that is not there."""
    text = files(package).joinpath(path).read_text("utf-8").replace("\r\n", "\n")
    lines = (line for line in text.split("\n") if not line.startswith("//# sourceMappingURL"))
    return "\n".join(lines).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def compressed(text: str) -> Markup:
    """A text deflated (zlib's format, which browsers inflate by themselves), in base64: it may stand in any element."""
    return Markup(base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii"))


def policy(scripts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode("ascii") for s in scripts)
    allowed = " ".join(f"'sha256-{d}'" for d in digests)
    # CircuitsVis' bundle tries a WebAssembly module as it loads: refused, it would leave a complaint on every page
    return (
        f"default-src 'none'; script-src {allowed} 'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
