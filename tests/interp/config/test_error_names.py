"""Names in errors are names of settings: sections, fields, places in lists; never the branch of a union."""

from __future__ import annotations

import re

import pytest

import tasks
from interp.config.model import parse_model
from interp.config.run import RunConfig, configure
from tasks.errors import UserError

CASES = [
    ("retrieval", {"model.d_model": 0}, ["model.d_model"]),
    ("retrieval", {"task.hops": 0, "task.vocab": "x"}, ["task.hops", "task.vocab"]),
    ("linear-attention", {"model.corner": "x"}, ["model.corner"]),
    ("single-index", {"model.start": "y", "train.lr": -1}, ["model.start", "train.lr"]),
    ("single-index", {"task.link": 3}, ["task.link"]),
    ("single-index", {"task.link": {"a": 1}}, ["task.link", "task.link.omega"]),
    ("retrieval", {"train.clamps": [{"site": "x"}]}, ["train.clamps.0.to"]),
    ("retrieval", {"train.betas": [0.1]}, ["train.betas.1"]),
    ("retrieval", {"train.schedule.explicit": [1, "a"]}, ["train.schedule.explicit.1"]),
    ("retrieval", {"model.d_head": "wide"}, ["model.d_head"]),
    ("retrieval", {"train.schedule": 3}, ["train.schedule"]),
]


@pytest.mark.parametrize(("preset", "changes", "names"), CASES)
def test_names(preset, changes, names) -> None:
    for given in ({"changes": changes}, {"overrides": [f"{k}={toml(v)}" for k, v in changes.items()]}):
        with pytest.raises(UserError) as refused:
            configure(preset, **given)
        told = str(refused.value).removeprefix(f"{preset}: ")
        assert re.findall(r"(?:^|: |; )((?:model|task|train)[.\w]*): ", told) == names
        assert not re.search(r"\.(int|float|str|literal|constrained)\b|literal\[|PositionalSemantic\.", told)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_unknown_names_say_the_whole_name() -> None:
    with pytest.raises(UserError, match=r"unknown setting 'task.hopz': did you mean 'task.hops'"):
        configure("retrieval", changes={"task.hopz": 1})
    with pytest.raises(UserError, match=r"unknown setting 'task.hopz': did you mean 'task.hops'"):
        tasks.build({"kind": "retrieval", "hopz": 1})
    with pytest.raises(UserError, match=r"^unknown setting 'model.d_modle': did you mean 'model.d_model'"):
        parse_model({"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_modle": 4})
    with pytest.raises(UserError, match="task 'retrieval': vocab 32 is too small"):
        configure("retrieval", changes={"task.chains": 50})


def test_a_name_that_a_message_gives_can_be_set() -> None:
    """Every top-level field of the sections is no branch's name."""
    from tasks.complaints import place

    def names(model, depth=0):
        for name, field in model.model_fields.items():
            yield name
            kind = field.annotation
            if depth < 3 and hasattr(kind, "model_fields"):
                yield from names(kind, depth + 1)

    classes = [RunConfig, *(tasks.base.task_class(kind) for kind in tasks.kinds())]
    for name in {name for each in classes for name in names(each)}:
        assert place({"loc": (name, 0), "type": "int_type"}) == [name, "0"]
