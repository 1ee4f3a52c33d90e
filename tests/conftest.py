"""What all tests share: one thread, and examples that are the same every time unless the full counts are asked for."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("same", derandomize=True)
settings.register_profile("fresh", print_blob=True)
settings.load_profile("fresh" if os.environ.get("ALGOSCOPE_FULL") else "same")
