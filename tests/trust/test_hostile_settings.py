"""Settings and texts that someone broke or made to do harm: what is accepted is small, and nothing is run."""

from __future__ import annotations

import contextlib
import itertools
import json
import string
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from interp.causal.circuit import Circuit
from interp.config.run import configure, parse_config, parse_override
from interp.hooks.sites import Site
from interp.models import build_model
from interp.sweep.plan import parse_seeds
from tasks.links import parse_link
from tests.trust.inputs import NUMBERS, SETTINGS, TEXTS, VALUES, Tried, attempt


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
