"""The sink "tensorboard": event files under RUN/tensorboard, written by tensorboardX.

Of the two writers, `torch.utils.tensorboard` needs the whole of TensorBoard with its server, tensorboardX protobuf
alone. To look at them: `tensorboard --logdir runs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.runs.handing import Training
from tasks.errors import UserError

FOLDER = "tensorboard"
EVENTS = "events.out.tfevents.*"
FLUSH_SECONDS = 10


class TensorBoard:
    """Writes scalars as TensorBoard reads them, into `folder` or, unless given, RUN/tensorboard.

    Event files of an earlier start of the same run, which end in its name and the hash of its settings, are replaced;
    others in the folder stay. Raises UserError where tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path | None = None):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError(
                "sink 'tensorboard' needs tensorboardX: pip install 'algoscope[tensorboard]'"
            ) from None
        self._open: Any = SummaryWriter
        self._folder = None if folder is None else Path(folder)
        self._writer: Any = None

    def start(self, training: Training) -> None:
        """Begin the event file of a run."""
        folder = self._folder or training.path / FOLDER
        own = f".{training.name}.{training.hash[:12]}"
        for file in folder.glob(EVENTS):
            if file.name.endswith(own):
                file.unlink()
        self._writer = self._open(str(folder), flush_secs=FLUSH_SECONDS, filename_suffix=own)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a value; characters that tags may not have become underscores."""
        for name, value in values.items():
            self._writer.add_scalar(re.sub(r"[^-/\w.]", "_", name), value, step)

    def end(self, state: str) -> None:
        """Write out what is left."""
        self._writer.close()
