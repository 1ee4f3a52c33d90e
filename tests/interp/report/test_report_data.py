"""The data side of the report: quantised attention, tables as panels, what is refused."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pandas as pd
import pytest

from interp.report.cells import number, rows_of
from interp.report.model import DrawnAttention, DrawnCircuit, DrawnLink, Node, RunReport
from interp.report.payload import MOST_POINTS, curves, panels, payload
from interp.report.quantise import from_bytes, pack
from tasks.errors import UserError


def attention(pattern: np.ndarray, **changes) -> DrawnAttention:
    steps, tokens = pattern.shape[0], pattern.shape[-1]
    settings = {
        "name": "p",
        "tokens": tuple(map(str, range(tokens))),
        "steps": tuple(range(steps)),
        "pattern": pattern,
    }
    return DrawnAttention(**{**settings, **changes})


def unpacked(packed, shape):
    data = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), dtype=np.uint8).reshape(shape)
    return from_bytes(np.cumsum(data, axis=0, dtype=np.uint8), packed.zero, packed.scale)


@pytest.mark.parametrize("signed", [False, True])
def test_quantised_attention_is_within_its_stated_error(signed):
    pattern = np.random.default_rng(0).uniform(-3.7 if signed else 0, 3.7 if signed else 1, (5, 2, 3, 7, 7))
    packed = pack(attention(pattern, signed=signed))
    error = np.abs(unpacked(packed, pattern.shape) - pattern).max()
    assert 0 < error <= packed.error + 1e-12
    assert packed.error <= (2 * np.abs(pattern).max() if signed else 1) / 255


@pytest.mark.parametrize("signed", [False, True])
def test_zero_stays_exactly_zero(signed):
    pattern = np.zeros((1, 1, 1, 3, 3))
    pattern[..., 0, 0] = 0.37
    assert (unpacked(pack(attention(pattern, signed=signed)), pattern.shape)[pattern == 0] == 0).all()


def test_attention_of_nothing_but_zeros_is_zero():
    pattern = np.zeros((1, 1, 1, 3, 3))
    assert (unpacked(pack(attention(pattern, signed=True)), pattern.shape) == 0).all()


def test_attention_that_is_not_finite_names_its_step():
    pattern = np.zeros((4, 1, 1, 3, 3))
    pattern[2, 0, 0, 1, 1] = np.nan
    with pytest.raises(UserError, match="step 20"):
        pack(attention(pattern, steps=(0, 10, 20, 30)))


@pytest.mark.parametrize("value", [-0.2, 1.7])
def test_weights_outside_a_softmax_must_be_called_signed(value):
    with pytest.raises(UserError, match="signed=True"):
        pack(attention(np.full((1, 1, 1, 2, 2), value)))


def test_a_pattern_that_does_not_fit_its_tokens_is_refused():
    with pytest.raises(UserError, match="one row and column a token"):
        attention(np.zeros((1, 1, 1, 3, 3)), tokens=("a", "b"))


def test_a_link_outside_the_prompt_is_refused():
    with pytest.raises(UserError, match="outside a prompt of 3"):
        attention(np.zeros((1, 1, 1, 3, 3)), links=(DrawnLink("hop", 3, 0),))


def test_panels_put_every_value_in_its_row_and_step():
    table = pd.DataFrame(
        [
            {"step": s, "row": r, "metric": m, "value": s + 10 * r + 100 * (m == "b")}
            for s in (5, 0)
            for r in (1, 2)
            for m in "ab"
        ]
    )
    made = panels(rows_of(table), lambda row: str(row["row"]), ("metric",), "t")
    assert [p["keys"]["metric"] for p in made] == ["a", "b"]
    assert made[1]["steps"] == [0, 5]
    assert made[1]["rows"] == ["1", "2"]
    assert made[1]["value"] == [[110.0, 115.0], [120.0, 125.0]]
    assert "low" not in made[1]


def test_a_missing_measurement_is_null_and_a_missing_control_is_none():
    table = pd.DataFrame(
        {
            "step": [0, 1, 1],
            "row": ["a", "a", "b"],
            "metric": "m",
            "value": [1.0, np.inf, 3.0],
            "control": None,
        }
    )
    (panel,) = panels(rows_of(table), lambda row: str(row["row"]), ("metric", "control"), "t")
    assert panel["keys"]["control"] == "none"
    assert panel["value"] == [[1.0, None], [None, 3.0]]


def test_two_values_for_one_cell_are_refused():
    table = pd.DataFrame({"step": [3, 3], "row": ["hop 1", "hop 1"], "metric": "m", "value": [1.0, 2.0]})
    with pytest.raises(UserError, match="two values for hop 1 at step 3"):
        panels(rows_of(table), lambda row: str(row["row"]), ("metric",), "scores")


def test_long_curves_are_averaged_and_keep_the_first_step():
    steps = np.arange(10 * MOST_POINTS)
    made = curves(pd.DataFrame({"step": steps, "loss": steps.astype(float), "lr": 1.0}))
    assert made["each"] == 10
    assert list(made["series"]) == ["loss"]
    assert made["steps"][0] == 0
    assert len(made["steps"]) <= MOST_POINTS + 1
    assert made["series"]["loss"][1] == pytest.approx(np.mean(np.arange(1, 11)))


def test_short_curves_are_kept_as_they_are():
    made = curves(pd.DataFrame({"step": [4, 0, 2], "loss": [1.0, 3.0, np.nan]}))
    assert made == {"steps": [0.0, 2.0, 4.0], "each": 1, "series": {"loss": [3.0, None, 1.0]}}


def test_a_circuit_keeps_the_order_of_its_edges(retrieval):
    made = payload(retrieval(count=4))["circuit"]
    assert made["endpoints"][0] == ["link 1", "L0H1"]
    assert made["rows"][0] == "link 1 → L0H1"
    assert [len(row) for row in made["value"]] == [4] * len(made["endpoints"])


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ((Node("a", "token", 0),), r"name the nodes \['b'\]"),
        ((Node("a", "token", 0), Node("b", "output", 7)), r"nodes \['b'\] stand outside"),
        ((Node("a", "token", 0), Node("a", "output", 0)), "two nodes have one name"),
    ],
)
def test_a_circuit_that_does_not_hang_together_is_refused(nodes, complaint):
    edges = pd.DataFrame({"source": ["a"], "target": ["b"], "step": [0], "value": [1.0]})
    with pytest.raises(UserError, match=complaint):
        DrawnCircuit(("x", "y"), nodes, edges)


def test_numbers_keep_five_digits():
    assert number(0.123456789) == 0.12346
    assert number(float("nan")) is None
    assert number(float("inf")) is None


@pytest.mark.parametrize("steps", [(), (3, 1), (1, 1)])
def test_steps_must_ascend(steps):
    with pytest.raises(UserError, match="ascending"):
        RunReport(title="r", verdict="", steps=steps)


def test_a_table_without_its_columns_is_refused_by_name():
    with pytest.raises(UserError, match=r"'heads' lacks the columns \['layer', 'head'\]"):
        RunReport(
            title="r",
            verdict="",
            steps=(0,),
            heads=pd.DataFrame({"step": [0], "metric": ["m"], "value": [1.0]}),
        )


def test_a_run_with_nothing_but_its_steps_has_only_those():
    made = payload(
        RunReport(
            title="r",
            verdict="",
            steps=(0, 5),
            heads=pd.DataFrame(columns=["step", "layer", "head", "metric", "value"]),
        )
    )
    assert made["steps"] == [0, 5]
    assert not {"metrics", "scores", "heads", "probes", "emergence"} & set(made)


def test_heads_are_ordered_by_layer_then_head(retrieval):
    heads = retrieval(count=6).heads.sample(frac=1, random_state=0)
    made = payload(RunReport(title="r", verdict="", steps=(0,), heads=heads))
    assert made["heads"][0]["rows"] == [f"L{layer}H{head}" for layer in range(3) for head in range(4)]
