"""The view as a widget: a `Session` behind anywidget's two-way state, in JupyterLab, VS Code and marimo.

The page sends `request` (an id and what to change) and draws `shown`. `heard` is the id of the request that the kernel
has begun to work on, `answered` of the last it has finished: a page that waits for one in vain reports it. What cannot
be served comes back as `complaint`, and nothing else changes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

from interp.explore.session import Session
from tasks import UserError

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    "base",
    "controls",
    "heads",
    "answers",
    "attention",
    "circuit",
    "main",
)  # joined in this order: one module


@cache
def script() -> str:
    """The view's ES module."""
    return "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)


@cache
def sheet() -> str:
    """The view's style sheet."""
    return (ASSETS / "style.css").read_text(encoding="utf-8")


class View(anywidget.AnyWidget):
    """A live view of one run or two. What is chosen can be read and set; setting it moves the view.

    >>> view = run.explore()  # doctest: +SKIP
    >>> view.step = 400  # doctest: +SKIP
    >>> view.selected = ["L0H1"]  # doctest: +SKIP
    >>> view.effects  # doctest: +SKIP

    Setting raises UserError for a step, a head or a prompt that there is not, and leaves the view as it was.
    """

    _esm = script()
    _css = sheet()
    shown = traitlets.Dict().tag(sync=True)
    request = traitlets.Dict().tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)
    complaint = traitlets.Unicode("").tag(sync=True)

    def __init__(self, session: Session):
        super().__init__(shown=session.shown)
        self._session = session
        self.observe(self._asked, names="request")

    def __repr__(self) -> str:
        return f"View({self._session.run.path}, step {self.step:,}; .step, .selected, .table, .effects, .answers)"

    def _asked(self, change: Any) -> None:
        """Serve a request of the page."""
        request = dict(change["new"])
        number = request.pop("id", 0)
        self.heard, complaint = number, ""
        try:
            self._move(**request)
        except UserError as why:
            complaint = str(why)
        except Exception as why:
            complaint = f"the kernel failed with {type(why).__name__}: {UserError(why)}"
            raise
        finally:
            self.complaint, self.answered = complaint, number

    def _move(self, **changes: Any) -> None:
        self.shown = self._session.ask(**changes)

    def _set(self, **changes: Any) -> None:
        self._move(**changes)
        self.complaint = ""

    @property
    def step(self) -> int:
        """The checkpoint on show."""
        return self._session.chosen.step

    @step.setter
    def step(self, step: int | str) -> None:
        self._set(step=step)

    @property
    def pinned(self) -> int | None:
        """The checkpoint of the second pane; None without one."""
        return self._session.chosen.pinned

    @pinned.setter
    def pinned(self, step: int | str | None) -> None:
        self._set(pinned=step)

    @property
    def selected(self) -> tuple[str, ...]:
        """Heads ("L0H1"), MLPs ("L0.mlp_out") and edges ("L0H1 -> L2H3.k") that are ablated or patched, all at once."""
        return self._session.chosen.selected

    @selected.setter
    def selected(self, labels: list[str] | tuple[str, ...] | str) -> None:
        self._set(selected=labels)

    @property
    def replacement(self) -> str:
        """What takes the place of what is selected: "pair", "mean per position", "mean" or "zero"."""
        return self._session.chosen.replacement

    @replacement.setter
    def replacement(self, name: str) -> None:
        self._set(replacement=name)

    @property
    def pair(self) -> str:
        """The kind of pair that prompts are drawn from; "" for a task without pairs."""
        return self._session.chosen.pair

    @pair.setter
    def pair(self, kind: str) -> None:
        self._set(pair=kind)

    @property
    def prompt(self) -> int | str:
        """The prompt on show: the number of a drawn one, or the text of one's own."""
        chosen = self._session.chosen
        return chosen.prompt if chosen.own is None else chosen.own

    @prompt.setter
    def prompt(self, prompt: int | str) -> None:
        self._set(**({"own": prompt} if isinstance(prompt, str) else {"prompt": prompt}))

    @property
    def head(self) -> str | None:
        """The head whose attention is shown; None: the one whose attention changed most, or with the highest score."""
        return self._session.chosen.head

    @head.setter
    def head(self, head: str | None) -> None:
        self._set(head=head)

    @property
    def table(self) -> pd.DataFrame:
        """Scores of the heads at the steps on show, as `run.heads` gives them."""
        return self._session.tables["heads"]

    @property
    def effects(self) -> pd.DataFrame:
        """What the selection does to the scores (changed minus intact, with interval), and its normalised effect."""
        return self._session.tables["effects"]

    @property
    def answers(self) -> pd.DataFrame:
        """The answer on the prompt on show, intact and changed: probabilities, or predicted values."""
        return self._session.tables["answers"]

    @property
    def attention(self) -> pd.DataFrame:
        """How much the attention of every head changed on the prompt on show, in [0, 1] under a softmax."""
        return self._session.tables["attention"]
