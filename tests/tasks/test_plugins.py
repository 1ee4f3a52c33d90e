"""Plug-ins are found whoever finds the packages: the library's own finder, or that of its backport."""

from __future__ import annotations

from tasks import plugins


class Backport:
    """An entry point of another class than the library's, as `importlib_metadata` hands out once it is imported."""

    name = "backported"

    def __init__(self) -> None:
        self.loaded = 0

    def load(self) -> None:
        self.loaded += 1


def test_entry_points_of_another_class_are_loaded_unless_known(monkeypatch) -> None:
    found = Backport()
    monkeypatch.setattr(plugins, "entry_points", lambda group: (found,) if group == "algoscope.tried" else ())
    plugins.load_plugins("ALGOSCOPE_TRIED", "algoscope.tried", {})
    assert found.loaded == 1
    plugins.load_plugins("ALGOSCOPE_TRIED", "algoscope.tried", {"backported"})
    assert found.loaded == 1
    plugins._installed.cache_clear()
