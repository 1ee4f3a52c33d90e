"""Formulas as MathML: drawn by the browser, without a script, a font or a network.

Owns the translation of every inline and displayed formula by docutils' own converter. It knows a part of LaTeX only:
what it does not know is an error of the build, and no formula is dropped.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def translated(node: nodes.Element, block: bool) -> str:
    """The MathML of one formula."""
    try:
        return tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: formula {node.astext()!r}: {error}") from None


def inline(self: Any, node: nodes.Element) -> None:
    self.body.append(translated(node, block=False))
    raise nodes.SkipNode


def displayed(self: Any, node: nodes.Element) -> None:
    self.body.append(f'<div class="formula">{translated(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
