"""Decoder: finds planted symbols, stays at chance on noise, and its interval covers."""

from __future__ import annotations

import pytest
import torch

from probes.decode import Decoder
from tasks import UserError

CLASSES = 8


def _data(seed: int, n: int, planted: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n, 2), generator=gen)
    table = torch.randn(CLASSES, 16, generator=torch.Generator().manual_seed(99))
    x = torch.randn(n, 16, generator=gen) * (0.2 if planted else 1.0)
    return {"site": x + table[labels[:, 0]] if planted else x}, labels


def _decoded(planted: bool) -> Decoder:
    decoder = Decoder(["first", "second"], CLASSES)
    for seed, split in enumerate(("fit", "fit", "validation", "test")):
        decoder.add(split, *_data(seed, 400, planted))
    return decoder


def test_planted_symbol_is_read_and_the_other_is_not() -> None:
    table = _decoded(True).table().set_index(["control", "position"])
    assert table.loc[("none", "first"), "value"] > 0.95
    assert table.loc[("none", "second"), "ci_low"] < 1 / CLASSES < table.loc[("none", "second"), "ci_high"]
    assert table.loc[("shuffled", "first"), "ci_low"] < 1 / CLASSES


def test_noise_stays_at_chance_beside_its_twin() -> None:
    table = _decoded(False).table(untrained=_decoded(True))
    own = table[table["control"] == "none"]
    assert ((own["ci_low"] < 1 / CLASSES) & (own["ci_high"] > 1 / CLASSES)).all()
    assert table[(table["control"] == "untrained") & (table["position"] == "first")]["value"].iloc[0] > 0.95


def test_refusals() -> None:
    decoder = Decoder(["first", "second"], CLASSES)
    sites, labels = _data(0, 50, True)
    with pytest.raises(UserError, match="before 'test'"):
        decoder.add("test", sites, labels)
    with pytest.raises(UserError, match="labels must be"):
        decoder.add("fit", sites, labels + CLASSES)
    with pytest.raises(UserError, match="no test prompts"):
        decoder.table()
    with pytest.raises(UserError, match="two classes"):
        Decoder(["a"], 1)
