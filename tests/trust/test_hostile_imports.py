"""Other people's files: no code in them is run, nothing is unpacked, damage is one clear line."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from interp.config.run import parse_config
from interp.importers.plain import import_plain
from interp.importers.state import read_state
from tests.trust.inputs import SETTINGS, Tried, spliced


class Payload:
    """A pickle that makes a folder when loaded by an unpickler that lets it."""

    def __init__(self, call: Callable, *arguments: Any):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def pickles(mark: Path) -> list[bytes]:
    """Ways to run `mkdir(mark)` from a pickle: each does so when nobody refuses it."""
    code = f"__import__('os').mkdir({str(mark)!r})"
    text = str(mark)
    calls = [
        Payload(os.mkdir, text), Payload(eval, code), Payload(exec, code), Payload(os.system, f"mkdir {text}"),
        Payload(Path.mkdir, mark), [torch.zeros(1), Payload(os.mkdir, text)], {"weights": {"w": Payload(eval, code)}},
        {"k": Payload(eval, f"{code} or 1")}, Payload(map, Payload(eval, f"[{code}]"), []),
    ]  # fmt: skip
    return [pickle.dumps(call, protocol) for call in calls for protocol in (0, 2, 4, 5)]


def torch_files(body: bytes) -> list[bytes]:
    """The pickle bare, and in the archive that torch writes, with members named to leave the folder."""
    found = [body]
    for extra in ("archive/data/0", "../../evil", "/tmp/evil", "archive/../../../evil"):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("archive/data.pkl", body)
            archive.writestr("archive/version", "3\n")
            archive.writestr(extra, b"\0" * 16)
        found.append(sink.getvalue())
    return found


def bomb() -> bytes:
    """An archive of 40 kB that unpacks to 40 MB a member, under names of tensors that are larger still."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 40_000_000)
        archive.writestr("archive/version", "3\n")
    return sink.getvalue()


def test_imported_torch_files(tmp_path, record_property, monkeypatch):
    """No code of an imported file is run, nothing is unpacked beside it, and damage is one line."""
    monkeypatch.chdir(tmp_path)
    tried, mark, file = (
        Tried("imported .pt files", record_property),
        tmp_path / "it-ran",
        tmp_path / "model_5.pt",
    )
    truth = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    torch.save(truth, file)
    whole = file.read_bytes()
    hostile = pickles(mark)
    for body in hostile[::4]:
        pickle.loads(body)  # noqa: S301 - proof that it would run, in a folder of its own
        assert mark.exists(), "the file is harmless and proves nothing"
        mark.rmdir()

    def check(data: bytes) -> None:
        file.write_bytes(data)
        found = tried(lambda: read_state(file))
        if found is not None:
            assert all(isinstance(value, torch.Tensor) for value in found.weights.values())
        assert sorted(p.name for p in tmp_path.iterdir()) == ["model_5.pt"], "something was run or unpacked"

    corpus = [file for body in hostile for file in torch_files(body)]
    tried.over(st.binary(max_size=100) | spliced(whole), [bomb(), *corpus], check)
    assert not Path("/tmp/evil").exists()


def test_an_import_whose_mapping_points_elsewhere(tmp_path, record_property):
    tried, names = Tried("mappings of an import", record_property), tmp_path / "names.toml"
    torch.save({"w": torch.zeros(2, 2)}, tmp_path / "w.pt")
    config = parse_config(SETTINGS)

    def check(text: str) -> None:
        with contextlib.suppress(UnicodeEncodeError):
            names.write_text(text, encoding="utf-8")
            tried(lambda: import_plain(tmp_path / "w.pt", names, config, tmp_path / "run"))
            assert not (tmp_path / "run").exists()

    corpus = [
        f"{key} = {value}"
        for key in ('"W_U"', '"../x"', "a")
        for value in ('"w"', "{key='w'}", "{part=[0,0]}", "9" * 9000)
    ]
    tried.over(st.text(max_size=30), [*corpus, "[" * 100_000], check, 0.3)
