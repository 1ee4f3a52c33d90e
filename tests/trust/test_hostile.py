"""Input that someone broke or made to do harm: every reader answers with what is true, or with one clear line.

Each test draws inputs by hypothesis on top of a corpus, counts them, and asserts for each one that the reader returned
something equal to the truth or raised a one-line UserError; anything else (another exception, a hang, memory without
bound, code that ran) fails. The address space of the process is bounded while inputs are tried.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import pickle
import re
import resource
import shutil
import string
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from interp.causal.circuits import Circuit
from interp.causal.sites import Site
from interp.cli import run as cli
from interp.config import configure, parse_config, parse_override
from interp.importers.plain import import_plain
from interp.importers.state import read_state
from interp.models import build_model
from interp.report.model import Fact, RunReport
from interp.report.page import as_json, render
from interp.sweep.plan import _folder, parse_seeds
from interp.sweep.results import load_sweep
from interp.train.loop import train
from interp.train.runs import RunFolder
from tasks.errors import UserError
from tasks.links import parse_link

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
EACH = 2000 if FULL else 60
MEMORY = 3 << 30  # bytes of address space that the inputs of a test may take on top of what is there
LONGEST = 1100  # characters of an error
SETTINGS: dict[str, Any] = {
    "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
    "model": {
        "kind": "transformer",
        "n_layers": 1,
        "n_heads": 1,
        "d_model": 4,
        "mlp": "none",
        "mask": "full",
    },
    "train": {
        "steps": 10,
        "batch": 4,
        "lr": 0.01,
        "eval_batch": 8,
        "save_every": 5,
        "schedule": {"every": 5},
    },
}
TEXTS = [
    "", " ", "\0", "\x1b[2J", "\n", "../../etc/passwd", "/etc/passwd", "..", "~", "a" * 10_000, "\u202egnp.exe",
    "\ud800", "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "%n%s",
    "';--", "[red]",
    "__import__('os').system('id')", "!!python/object/apply:os.system ['id']", "$(touch x)", "`touch x`", "nan",
    "-0", "1e999",
]  # fmt: skip
NUMBERS = [0, -1, 10**9, 10**18, 10**40, 2**63, 1e308, float("nan"), float("inf"), -0.0, 1e-320, True]
LEAVES = st.sampled_from([*TEXTS, *NUMBERS, None]) | st.text(max_size=20) | st.integers() | st.floats()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def attempt(call: Callable[[], Any]) -> Any:
    """What the call returns, or None where it refused in one clear line; nothing else may come out of it."""
    try:
        return call()
    except UserError as error:
        said = str(error)
        assert said.strip()
        assert "\n" not in said
        assert len(said) <= LONGEST
        return None


class Tried:
    """Counts inputs, and gives the row of the table when all of them have been survived."""

    def __init__(self, what: str, record_property: Any):
        self.what, self.record, self.count, self.read = what, record_property, 0, 0

    def __call__(self, call: Callable[[], Any]) -> Any:
        self.count += 1
        found = attempt(call)
        self.read += found is not None
        return found

    def over(
        self, strategy: st.SearchStrategy, corpus: list, check: Callable[[Any], None], share: float = 1.0
    ) -> None:
        """Check every input of the corpus, then as many drawn ones as the counts say."""
        drawn = budget(
            max_examples=max(5, int(EACH * share)),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )(given(strategy)(check))
        with bounded_memory():
            for value in corpus:
                check(value)
            drawn()
        result = f"{self.count - self.read} refused in one line, {self.read} read rightly"
        self.record(
            "trust", {"section": "hostile input", "what": self.what, "tried": self.count, "result": result}
        )


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "run"
    train(parse_config(SETTINGS), path)
    return path


@pytest.fixture
def run(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


def keys(settings: dict, above: tuple = ()) -> list[tuple]:
    inner = [keys(v, (*above, k)) for k, v in settings.items() if isinstance(v, dict)]
    return [*((*above, k) for k in settings), *itertools.chain.from_iterable(inner)]


def put(settings: dict, key: tuple, value: Any) -> dict:
    made = json.loads(json.dumps(settings))
    place = made
    for name in key[:-1]:
        place = place[name]
    place[key[-1]] = value
    return made


def test_settings(record_property):
    """Whatever is accepted is small enough to be built, and says the same of itself when read again."""
    tried = Tried("settings of a run", record_property)

    def check(case: tuple) -> None:
        key, value = case
        found = tried(lambda: parse_config(put_raw(key, value)))
        if found is not None:
            assert parse_config(found.settings).hash == found.hash
            attempt(lambda: build_model(found.model, found.task.interface, 0))

    def put_raw(key: tuple, value: Any) -> dict:
        made = put(SETTINGS, key, None)
        place = made
        for name in key[:-1]:
            place = place[name]
        place[key[-1]] = value
        return made

    places = [
        *keys(SETTINGS),
        ("seed",),
        ("model", "extra"),
        ("model", "d_head"),
        ("task", "kind"),
        ("x" * 500,),
    ]
    corpus = [(key, value) for key in places for value in (*TEXTS[:6], *NUMBERS)]
    tried.over(st.tuples(st.sampled_from(places), VALUES), corpus, check)


def test_texts_of_settings(tmp_path, record_property):
    """TOML files, overrides, seeds, sites and links of every shape; nothing in them is run."""
    tried, file = Tried("texts: TOML, --set, seeds, sites, links", record_property), tmp_path / "run.toml"
    readers: list[Callable[[str], Any]] = [
        lambda text: configure("retrieval", overrides=[text]),
        lambda text: configure("retrieval", overrides=[f"train.lr={text}"]),
        parse_override,
        parse_seeds,
        Site.parse,
        Circuit.from_json,
        lambda text: parse_link(text, 2),
    ]

    def check(text: str) -> None:
        for reader in readers:
            tried(lambda reader=reader: reader(text))
        with contextlib.suppress(UnicodeEncodeError):
            file.write_text(text, encoding="utf-8")
            tried(lambda: configure(file))

    deep = [opening * 20_000 for opening in ("[", "(", "{", "a.", "-")]
    big = [
        "9" * 10_000,
        "a = " + "9" * 10_000,
        "train.steps=" + "9" * 5_000,
        "z1" + "*z1" * 5_000,
        "z1" + "**9" * 20,
    ]
    big += [
        "He999999999(z1)",
        "z99999999999",
        "sum(" * 500,
        "0:99999999999999",
        "L" + "9" * 5000,
        "1e400*z1",
        "z1/0",
    ]
    alphabet = string.ascii_letters + string.digits + "=.,:[]{}()<>*+-/ \"'#\n\\_"
    tried.over(st.text(alphabet, max_size=40) | st.text(max_size=20), [*TEXTS, *deep, *big], check, 0.5)
    assert not (tmp_path / "x").exists()


HEADERS = [
    b"", b"\0" * 8, b"\xff" * 8, b"\xff" * 64, (2**62).to_bytes(8, "little"), (10**9).to_bytes(8, "little") + b"{}",
    (100_000).to_bytes(8, "little") + b"[" * 100_000, (2).to_bytes(8, "little") + b"{}",
]  # fmt: skip


def spliced(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with a part cut out, doubled, or overwritten."""
    place = st.integers(0, len(data))
    other = st.binary(max_size=40) | st.sampled_from(
        [b'"', b"9" * 30, b"{", b"\n", b"\xff\xff\xff\xff", b"NaN", b"[" * 50]
    )
    return st.tuples(place, place, other).map(lambda c: data[: min(c[:2])] + c[2] + data[max(c[:2]) :])


def absurd(data: bytes) -> list[bytes]:
    """The header of a checkpoint with sizes that no memory holds, and offsets that lie."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = next(key for key in header if key != "__metadata__")
    made = []
    for change in (
        {"shape": [10**12]}, {"shape": [2**62, 2**62]}, {"shape": [-1]}, {"shape": []}, {"dtype": "F8192"},
        {"data_offsets": [0, 2**63]}, {"data_offsets": [2**63, 0]}, {"data_offsets": [0, 0]}, {"shape": "../../x"},
    ):  # fmt: skip
        text = json.dumps({**header, name: {**header[name], **change}}).encode()
        made.append(len(text).to_bytes(8, "little") + text + data[8 + size :])
    text = json.dumps({**header, "../../../evil": header[name]}).encode()
    return [*made, len(text).to_bytes(8, "little") + text + data[8 + size :]]


def test_checkpoints(run, record_property):
    """A checkpoint that is read has the very tensors that were written."""
    tried, folder = Tried("checkpoints", record_property), RunFolder.open(run)
    file = folder.checkpoint_path(5)
    data, truth = file.read_bytes(), folder.weights(5)

    def check(altered: bytes) -> None:
        file.write_bytes(altered)
        for read in (lambda: folder.weights(5), lambda: folder.weights_hash(5)):
            found = tried(read)
            if isinstance(found, dict):
                assert altered == data
                assert all(torch.equal(found[name], truth[name]) for name in truth)

    tried.over(st.binary(max_size=200) | spliced(data), [*HEADERS, *absurd(data)], check)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "resume/state.safetensors"])
def test_files_of_a_run(run, name, record_property):
    """Settings, records and resume state that are read are those that were written; of records a part may be missing
    only at the end of the file."""
    tried, file = Tried(name, record_property), run / name
    data, folder = file.read_bytes(), RunFolder.open(run)
    hash_, records = folder.config_hash, folder.records()
    (run / "resume/state.safetensors").unlink() if name == "metrics.jsonl" else None

    def check(altered: bytes) -> None:
        file.write_bytes(altered)
        if name == "config.json":
            found = tried(lambda: RunFolder.open(run).config_hash)
            assert found in (None, hash_)
        elif name == "metrics.jsonl":
            found = tried(folder.records)
            assert found is None or found == records[: len(found)]
        else:
            found = tried(folder.resume_state)
            assert found is None or altered == data

    corpus = [
        b"",
        b"[" * 200_000,
        b"9" * 5_000_000,
        b"\xff" * 100,
        b"{}" * 1000,
        b'{"a":' * 50_000,
        data * 2,
        data[:-1],
    ]
    tried.over(st.binary(max_size=200) | spliced(data), corpus, check, 0.5)


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


class Tags(HTMLParser):
    """Counts elements and attributes that act."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.acting: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.acting += [
            name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")
        ]


def page_of(text: str) -> str:
    scores = pd.DataFrame({"step": [0, 5], "position": [text, text], "metric": "loss", "value": [1.0, 0.5]})
    facts = (Fact(text, text, text),)
    report = RunReport(
        title=text, verdict=text, steps=(0, 5), scores=scores, facts=facts, labels={"loss": text}
    )
    return render([report])


def test_labels_in_a_page(record_property):
    """A name adds no element, no acting attribute and no end to a script."""
    tried, usual = Tried("names and labels in a page", record_property), Tags(page_of("plain"))

    def check(text: str) -> None:
        with contextlib.suppress(UnicodeEncodeError):
            text.encode()
            found = Tags(tried(lambda: page_of(text)))
            assert (found.names, found.acting) == (usual.names, usual.acting)
            assert json.loads(as_json({text: text})) == {text: text}

    pieces = st.sampled_from(
        [
            "<",
            ">",
            "&",
            "'",
            '"',
            "</script",
            "<!--",
            "-->",
            "]]>",
            "<svg onload=x>",
            "{{",
            "%}",
            "\u2028",
            "\0",
            "a",
        ]
    )
    tried.over(st.lists(pieces, max_size=6).map("".join), TEXTS, check, 0.2 if FULL else 0.3)


def test_names_of_a_sweep_s_runs_stay_in_its_folder(tmp_path, record_property):
    """Folders are named after settings: none leaves the sweep's, two never share one."""
    tried = Tried("settings that name a sweep's folders", record_property)

    def check(values: list) -> None:
        names = [tried(lambda value=value: _folder({"task.name": value, "seed": 0})) for value in values]
        assert len(set(names)) == len({json.dumps(v, sort_keys=True) for v in values})
        for name in names:
            assert (tmp_path / name).resolve().parent == tmp_path.resolve()
            assert len(name) <= 255
            assert re.fullmatch(r"[A-Za-z0-9_.,=+~-]+", name)

    finite = LEAVES.filter(lambda v: v == v and v not in (float("inf"), -float("inf")) and not _lone(v))
    corpus = [[text] for text in TEXTS if not _lone(text)] + [
        ["a/b", "a-b"],
        ["../x", "..-x"],
        ["x" * 300, "x" * 301],
    ]
    tried.over(st.lists(finite, min_size=1, max_size=4, unique_by=repr), corpus, check, 0.5)


def _lone(value: Any) -> bool:
    """Whether a text holds half of a surrogate pair, which no file system and no UTF-8 knows."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return True
    return False


def test_a_sweep_s_own_files(tmp_path, record_property):
    tried = Tried("files of a sweep", record_property)
    plan, failures = tmp_path / "sweep.json", tmp_path / "failures.json"
    good = json.dumps({"version": "0.1.0", "plan": {"config": "retrieval"}}).encode()

    def check(data: bytes) -> None:
        plan.write_bytes(data)
        failures.unlink(missing_ok=True)
        tried(lambda: load_sweep(tmp_path))
        plan.write_bytes(good)
        failures.write_bytes(data)
        tried(lambda: load_sweep(tmp_path))

    tried.over(
        st.binary(max_size=60) | spliced(good), [b"[" * 100_000, b"[]", b"9" * 9_000, b'{"a": 1}'], check, 0.5
    )


@pytest.mark.parametrize(
    "name", ["a\x1b[31mred", "[bold]x[/]", "new\nline", "-rf", "<img src=x onerror=alert(1)>", "\u202eabc"]
)
def test_a_folder_s_name_is_text_on_the_terminal(sound, name, tmp_path, capsys, monkeypatch, record_property):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sound, tmp_path / name)
    for command in (["runs", "."], ["verify", f"./{name}"], ["scores", f"./{name}", "--json"]):
        assert cli(command) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
    record_property(
        "trust",
        {
            "section": "hostile input",
            "what": f"a run named {name!r}",
            "tried": 3,
            "result": "text on the terminal",
        },
    )
