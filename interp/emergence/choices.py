"""What onsets can be asked of, by name; imports nothing, so that help is quick."""

from __future__ import annotations

from typing import Literal

Of = Literal["skills", "readouts", "landscape", "edges"]
