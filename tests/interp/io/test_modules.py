"""Whose code a file is: packages of another environment on the path are libraries too, a user's own file is not."""

from pathlib import Path

import pandas as pd

from interp.io.modules import installed


def test_libraries_are_told_by_the_folder_that_pip_installs_into(tmp_path):
    own = tmp_path / "mine" / "metric.py"
    other = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "pydantic" / "main.py"
    debian = tmp_path / "usr" / "lib" / "python3" / "dist-packages" / "yaml.py"
    assert [installed(path) for path in (own, other, debian)] == [False, True, True]
    assert installed(Path(pd.__file__))
