"""Settings of a run: where they come from, what is refused, what their hash covers; the schedule and the rates."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.config.run import configure, parse_config, preset_names
from interp.config.schedule import checkpoint_steps, rate
from interp.config.train import Schedule, TrainConfig
from tasks.errors import UserError

SCHEDULES = st.builds(
    Schedule,
    log=st.integers(0, 60),
    every=st.integers(0, 50),
    explicit=st.lists(st.integers(0, 500), max_size=5).map(tuple),
)


@given(SCHEDULES, st.integers(1, 500))
def test_schedule_laws(schedule, steps):
    realised = checkpoint_steps(schedule, steps)
    assert realised[0] == 0
    assert realised[-1] == steps
    assert all(a < b for a, b in itertools.pairwise(realised))
    assert set(realised) >= {s for s in schedule.explicit if s <= steps}
    if schedule.every:
        assert set(realised) >= set(range(0, steps, schedule.every))
    assert len(realised) <= 2 + schedule.log + len(schedule.explicit) + (
        -(-steps // schedule.every) if schedule.every else 0
    )


def test_log_spacing_is_even_in_the_logarithm():
    assert checkpoint_steps(Schedule(log=4), 1000) == (0, 1, 10, 100, 1000)


def test_rates_warm_up_and_fall_along_a_cosine():
    train = TrainConfig(steps=110, batch=1, lr=1.0, warmup=10, decay="cosine", final_lr=0.1)
    assert [rate(train, s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate(train, 10) == pytest.approx(1.0)
    assert rate(train, 60) == pytest.approx(0.55)
    assert rate(train, 110) == pytest.approx(0.1)
    flat = TrainConfig(steps=110, batch=1, lr=1.0)
    assert {rate(flat, s) for s in range(110)} == {1.0}


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_whole_and_survive_their_own_json(name):
    config = configure(name)
    again = parse_config(config.settings)
    assert again.hash == config.hash
    assert again == config
    assert checkpoint_steps(config.train.schedule, config.train.steps)[-1] == config.train.steps


def test_the_hash_covers_every_setting():
    hashes = {
        configure("retrieval").hash,
        configure("retrieval", seed=1).hash,
        configure("retrieval", init_seed=1).hash,
        configure("retrieval", data_seed=1).hash,
        configure("retrieval", steps=100).hash,
        configure("retrieval", overrides=["task.chains=3"]).hash,
        configure("retrieval", overrides=["model.n_layers=2"]).hash,
    }
    assert len(hashes) == 7
    assert configure("retrieval", init_seed=0, data_seed=0).hash == configure("retrieval").hash


def test_seeds_follow_the_seed_unless_given():
    config = configure("retrieval", seed=5, data_seed=2)
    assert (config.seed, config.init_seed, config.data_seed) == (5, 5, 2)


def test_a_file_and_overrides_read_as_toml(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[task]\nkind = "retrieval"\n[model]\nkind = "lstm"\nn_layers = 1\nd_model = 8\n'
        "[train]\nsteps = 5\nbatch = 2\nlr = 0.1\n"
    )
    sets = ["train.optimiser=sgd", "train.schedule.explicit=[1, 3]", "train.lr=2e-3", "task.hops=2"]
    config = configure(file, overrides=sets)
    assert config.train.optimiser == "sgd"
    assert config.train.schedule.explicit == (1, 3)
    assert config.train.lr == 0.002
    assert config.task.model_dump()["hops"] == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lrr=1", "unknown setting 'train.lrr': did you mean 'train.lr'?"),
        ("trian.lr=1", "unknown setting 'trian': did you mean 'train'?"),
        ("model.n_leyers=1", "unknown setting 'model.n_leyers': did you mean 'model.n_layers'?"),
        ("train.schedule.evry=1", "did you mean 'train.schedule.every'?"),
        ("lr=1", "unknown setting 'lr': did you mean 'train.lr'?"),
        ("train.seed=1", "unknown setting 'train.seed': did you mean 'seed'?"),
        ("task.chainz=1", "did you mean 'task.chains'?"),
        ("task.kind=nothing", "unknown task kind 'nothing'"),
        ("model.kind=transformr", "unknown model kind 'transformr': did you mean 'transformer'?"),
        ("model={}", "model has no kind: known are "),
        ("task={}", "task has no kind: known are "),
        ("model.n_layers=1000000", "lower n_layers"),
        ("model.n_layers=-1", "must be 1 or more (got -1)"),
        ("train.lr=nan", "finite"),
        ("train.lr=abc", "train.lr: must be a number (got 'abc')"),
        ("train.steps=2.5", "train.steps: must be a whole number (got 2.5)"),
        ("train.learning_rate=.1", "unknown setting 'train.learning_rate': did you mean 'train.lr'?"),
        ("train.lr=1.2.3", "not a TOML value"),
        ("train.lr=[1", "not a TOML value"),
        ("train.lr", "write it as key=value"),
        ("train.lr.deep=1", "train.lr is a value"),
        ("train.schedule.explicit=[9999]", "beyond the last step"),
        ("train.steps=0", "train.steps: must be 1 or more (got 0)"),
        ("seed=-1", "seed: must be 0 or more (got -1)"),
        ("seed=1\nseed=2", "one value at a time"),
    ],
)
def test_bad_overrides_are_one_line(override, line):
    with pytest.raises(UserError) as caught:
        configure("retrieval", overrides=[override])
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'preset = "retreival"\n[task]\nkind = "retrieval"\nhopz = 3\nchains = -1\n'
        '[model]\nkind = "lstm"\nd_model = 8\n[train]\nsteps = 0\nbatch = 4\nlr = 1e-3\n'
    )
    with pytest.raises(UserError) as caught:
        configure(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: 5 faults: unknown setting 'preset': ")
    for fault in ("unknown setting 'task.hopz'", "chains: ", "model.n_layers: is missing", "train.steps: "):
        assert fault in said
    assert len(said.splitlines()) == 1


def test_unknown_sources_are_one_line(tmp_path):
    with pytest.raises(UserError, match="did you mean 'retrieval'"):
        configure("retreival")
    (tmp_path / "broken.toml").write_text("[train\n")
    with pytest.raises(UserError, match="not valid TOML"):
        configure(tmp_path / "broken.toml")


def test_changes_belong_to_their_owner_and_stay_as_they_are():
    changes = {"train.schedule": {"log": 8, "every": 200}, "train.schedule.every": 1000}
    assert configure("regression", changes=changes).train.schedule.every == 1000
    assert changes == {"train.schedule": {"log": 8, "every": 200}, "train.schedule.every": 1000}
