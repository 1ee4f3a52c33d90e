"""Forward passes from a layer on that run what lies before it on one prompt: owns the switch, `narrow`.

For models whose forward pass cannot begin at a layer, so that what lies before has to run although nobody sees it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Narrowing:
    """A model whose passes from a layer on can be narrow; it reads `_narrow` where it runs the layers before."""

    _narrow = False

    @contextlib.contextmanager
    def narrow(self) -> Iterator[None]:
        """Within it, what lies before the layer that a forward pass starts at runs on one prompt: nobody sees it."""
        self._narrow = True
        try:
            yield
        finally:
            self._narrow = False
