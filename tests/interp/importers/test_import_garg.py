"""Imported checkpoints compute what the GPT-2 they come from computes, and nothing in a file is ever run."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

import interp
from interp.cli import run as cli
from interp.importers.garg import import_garg
from interp.importers.plain import import_plain
from interp.runs.verify import verify
from tasks.errors import UserError

D, HEADS, LAYERS, WIDTH, POINTS, END = 3, 2, 2, 16, 9, 6


class Theirs(nn.Module):
    """Linear read-in, Hugging Face's GPT-2, linear read-out on interleaved (x, y)."""

    def __init__(self, seed: int):
        from transformers import GPT2Config, GPT2Model

        super().__init__()
        sizes = {"n_positions": 2 * POINTS, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        self._read_in = nn.Linear(D, WIDTH)
        self._backbone = GPT2Model(GPT2Config(vocab_size=11, use_cache=False, **sizes, **dropout))
        self._read_out = nn.Linear(WIDTH, 1)
        gen = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():  # large, so that every weight (biases, norms) shows in the output
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=gen)
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        return self._read_out(self._backbone(inputs_embeds=self._read_in(tokens)).last_hidden_state)


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    return Theirs(0)


def config_yaml(**model) -> dict:
    sizes = {"family": "gpt2", "n_dims": D, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    curriculum = {"points": {"start": 2, "end": END, "inc": 2, "interval": 10}}
    training = {"task": "linear_regression", "task_kwargs": {}, "data": "gaussian", "curriculum": curriculum}
    return {
        "out_dir": "../models",
        "model": {**sizes, "n_positions": POINTS, **model},
        "training": {**training, "batch_size": 32, "learning_rate": 3e-4, "num_tasks": None},
    }


def write(folder: Path, state, name: str = "model_500.pt", config: dict | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / name)
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / name


def refused(*arguments, capsys) -> str:
    """The one line of a refusal."""
    assert cli(["import", *map(str, arguments)]) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert len(text.err.strip().splitlines()) == 1
    return text.err


def difference(run: interp.Run, theirs: Theirs, step: int) -> float:
    inputs = run.task.sample(0, "eval", 0, 64).inputs
    with torch.no_grad():
        ours, reference = run.model(step)(inputs), theirs(inputs)
    assert reference.std() > 0.3, "outputs large enough for the comparison to mean something"
    return (ours - reference).abs().max().item()


def test_state_file_predicts_as_gpt2_does(theirs, tmp_path, capsys) -> None:
    content = {"model_state_dict": theirs.state_dict(), "optimizer_state_dict": {}, "train_step": 700}
    file = write(tmp_path / "theirs", content, "state.pt", config_yaml())
    assert cli(["import", "garg", str(file), "--out", str(tmp_path / "run")]) == 0
    assert "at steps 700" in " ".join(capsys.readouterr().out.split())
    run = interp.load(tmp_path / "run")
    assert difference(run, theirs, 700) < 1e-5
    assert (run.task.d, run.task.n, run.steps) == (D, END - 1, (700,))
    assert (run.config.train.batch, run.config.train.lr) == (32, 3e-4)
    assert run.model().positions.W_pos.shape == (2 * END - 1, WIDTH), "rows past the last read are cut"
    assert str(verify(tmp_path / "run")).endswith("the run is finished")


def test_without_config_all_positions_are_used(theirs, tmp_path) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    run = interp.Run(import_garg(file, tmp_path / "run", n_heads=HEADS))
    assert run.task.n == POINTS - 1
    assert difference(run, theirs, 500) < 1e-5


def test_another_number_of_heads_computes_something_else(theirs, tmp_path) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    run = interp.Run(import_garg(file, tmp_path / "run", n_heads=2 * HEADS))
    assert difference(run, theirs, 500) > 1e-2


def test_a_folder_becomes_a_run_with_every_analysis(theirs, tmp_path, capsys) -> None:
    second, folder, out = Theirs(1), tmp_path / "theirs", tmp_path / "run"
    write(folder, second.state_dict(), "model_1000.pt", config_yaml())
    write(folder, theirs.state_dict(), "model_200.pt")
    write(folder, {"model_state_dict": theirs.state_dict(), "train_step": 1200}, "state.pt")
    assert cli(["import", "garg", str(folder), "--out", str(out)]) == 0
    run = interp.load(out)
    assert run.steps == (200, 1000)
    assert difference(run, theirs, 200) < 1e-5
    assert difference(run, second, 1000) < 1e-5
    for command in (
        ["scores"],
        ["probe"],
        ["heads"],
        ["patch", "--pair", run.task.pair_kinds[0], "--prompts", "8"],
    ):
        assert cli([command[0], str(out), *command[1:]]) == 0, command
    assert cli(["runs", str(out)]) == 0
    assert len(run.metrics()) == 0, "nothing was measured while it trained here"
    assert verify(out).ok


def test_second_import_changes_nothing_and_other_weights_are_refused(theirs, tmp_path, capsys) -> None:
    file, out = write(tmp_path / "theirs", theirs.state_dict(), config=config_yaml()), tmp_path / "run"
    import_garg(file, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    import_garg(file, out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    torch.save(Theirs(1).state_dict(), file)
    assert "other weights of step 500" in refused("garg", file, "--out", out, capsys=capsys)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_an_import_that_was_broken_off_is_finished(theirs, tmp_path, monkeypatch) -> None:
    from interp.runs.recorder import Recorder

    folder, out, whole = tmp_path / "theirs", tmp_path / "run", Recorder.record
    for step in (1, 2, 3):
        write(folder, theirs.state_dict(), f"model_{step}.pt", config_yaml())

    def stopped(self, step, weights, **metrics):
        if step == 2:
            raise KeyboardInterrupt
        whole(self, step, weights, **metrics)

    monkeypatch.setattr(Recorder, "record", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_garg(folder, out)
    assert interp.load(out).steps == (1,)
    monkeypatch.undo()
    assert import_garg(folder, out).steps == (1, 2, 3)
    assert str(verify(out)).endswith("the run is finished")


def test_masks_of_older_versions_are_dropped(theirs, tmp_path) -> None:
    old = theirs.state_dict()
    for layer in range(LAYERS):
        old[f"_backbone.h.{layer}.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.uint8)
        old[f"_backbone.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    run = interp.Run(import_garg(write(tmp_path / "theirs", old), tmp_path / "run", n_heads=HEADS))
    assert difference(run, theirs, 500) < 1e-5


C_ATTN = "_backbone.h.1.attn.c_attn.weight"
CHANGES = {
    "missing": (lambda s: s.pop(C_ATTN), C_ATTN),
    "missing read-in": (lambda s: s.pop("_read_in.weight"), "_read_in.weight"),
    "missing read-out": (lambda s: s.pop("_read_out.bias"), "_read_out.bias"),
    "a layer too few": (
        lambda s: [s.pop(k) for k in list(s) if ".h.0." in k],
        "_backbone.h.0.mlp.c_fc.weight",
    ),
    "unknown": (lambda s: s.update(extra=torch.zeros(1)), "'extra' is not known"),
    "transposed": (
        lambda s: s.update({C_ATTN: s[C_ATTN].T}),
        f"'{C_ATTN}' has shape [48, 16], should be [16, 48]",
    ),
    "flat": (lambda s: s.update({"_read_in.weight": torch.zeros(5)}), "'_read_in.weight' has shape [5]"),
    "not finite": (
        lambda s: s.update({C_ATTN: s[C_ATTN] * torch.nan}),
        f"'{C_ATTN}' has values that are not finite",
    ),
    "float64": (lambda s: s.update({C_ATTN: s[C_ATTN].double()}), "float64"),
    "no tensor": (lambda s: s.update({C_ATTN: 3}), f"'{C_ATTN}' is no dense tensor"),
    "huge": (lambda s: s.update({"_backbone.wpe.weight": torch.zeros(1).expand(10**9, WIDTH)}), "n"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_dict_that_does_not_fit_is_named(name, theirs, tmp_path, capsys) -> None:
    change, said = CHANGES[name]
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    change(state)
    file = write(tmp_path / "theirs", state)
    assert said in refused("garg", file, "--out", tmp_path / "run", "--n-heads", HEADS, capsys=capsys)
    assert not (tmp_path / "run").exists()


CONFIGS = {
    "another width": (config_yaml(n_embd=32), "model.n_embd is 32, but the weights have 16"),
    "another family": (config_yaml(family="lstm"), "family"),
    "other heads than asked": (config_yaml(n_head=4), "--n-heads 2, but config.yaml has n_head: 4"),
    "another task": ({**config_yaml(), "training": {"task": "decision_tree"}}, "task"),
    "unknown task setting": (
        {**config_yaml(), "training": {"task_kwargs": {"sparsity": 3}}},
        "task_kwargs.sparsity",
    ),
    "too many points": ({**config_yaml(), "training": {"curriculum": {"points": {"end": 99}}}}, "end is 99"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_does_not_fit_is_named(name, theirs, tmp_path, capsys) -> None:
    config, said = CONFIGS[name]
    file = write(tmp_path / "theirs", theirs.state_dict(), config=config)
    line = refused("garg", file, "--out", tmp_path / "run", "--n-heads", HEADS, capsys=capsys)
    assert said in line
    assert "config.yaml" in line


def test_noise_and_scale_come_with_the_task(theirs, tmp_path) -> None:
    config = config_yaml()
    config["training"] |= {"task": "noisy_linear_regression", "task_kwargs": {"noise_std": 0.1, "scale": 2}}
    run = interp.Run(import_garg(write(tmp_path / "t", theirs.state_dict(), config=config), tmp_path / "run"))
    assert (run.task.noise, run.task.weight_scale) == (0.1, 2)


def test_heads_and_steps_are_never_guessed(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    assert "--n-heads N" in refused("garg", file, "--out", tmp_path / "run", capsys=capsys)
    uneven = refused("garg", file, "--out", tmp_path / "run", "--n-heads", 3, capsys=capsys)
    assert "3 heads do not divide the width 16" in uneven
    unnamed = write(tmp_path / "theirs", theirs.state_dict(), "weights.pt")
    assert "model_N.pt" in refused("garg", unnamed, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "none.pt"):
        refused("garg", nothing, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    assert not (tmp_path / "run").exists()


class Hostile:
    """Unpickled by the ordinary unpickler, it makes a folder."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("wrap", ["zip", "bare pickle", "inside a state"])
def test_a_file_that_would_run_code_is_refused_and_does_not(wrap, theirs, tmp_path, capsys) -> None:
    mark, file = tmp_path / "it-ran", tmp_path / "model_5.pt"
    if wrap == "bare pickle":
        file.write_bytes(pickle.dumps(Hostile(mark)))
    else:
        inside = {"model_state_dict": theirs.state_dict(), "train_step": Hostile(mark)}
        torch.save(Hostile(mark) if wrap == "zip" else inside, file)
    assert "refused" in refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)
    assert not mark.exists(), "the file's code ran"
    assert not (tmp_path / "run").exists()
    with contextlib.suppress(
        RuntimeError
    ):  # a bare pickle runs before torch sees that it is none of its files
        torch.load(file, weights_only=False)
    assert mark.exists(), "the file is harmless and proves nothing"


def test_a_hostile_configuration_is_plain_data(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    mark = tmp_path / "it-ran"
    (file.parent / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert "config.yaml: not valid YAML" in refused("garg", file, "--out", tmp_path / "run", capsys=capsys)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no torch file", b"\x80\x02]q\x00."])
def test_a_damaged_file_is_one_line(content, tmp_path, capsys) -> None:
    file = tmp_path / "model_5.pt"
    file.write_bytes(content)
    assert "model_5.pt" in refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)


def test_a_cut_off_file_is_one_line(theirs, tmp_path, capsys) -> None:
    file = write(tmp_path / "theirs", theirs.state_dict())
    file.write_bytes(file.read_bytes()[:-2000])
    refused("garg", file, "--out", tmp_path / "run", "--n-heads", 2, capsys=capsys)


PLAIN = {
    "task": {"kind": "regression", "d": 2, "n": 3},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mlp": "none"},
    "train": {"steps": 40, "batch": 4, "lr": 1e-3},
}
PLAIN["model"] |= {"biases": False, "layer_norm": "none", "positions": "none"}
NAMES = """
"token_embed.W_E" = {key = "embed.weight", transpose = true}
"blocks.0.attn.w_q" = {key = "attn.qkv", part = [0, 3]}
"blocks.0.attn.w_k" = {key = "attn.qkv", part = [1, 3]}
"blocks.0.attn.w_v" = {key = "attn.qkv", part = [2, 3]}
"blocks.0.attn.w_o" = "attn.out"
"W_U" = "head"
"""


def test_a_plain_state_dict_by_a_stated_mapping(tmp_path, capsys) -> None:
    gen = torch.Generator().manual_seed(0)
    shapes = {"embed.weight": (4, 2), "attn.qkv": (4, 12), "attn.out": (4, 4), "head": (4, 1)}
    state = {name: torch.randn(shape, generator=gen) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "names.toml").write_text(NAMES)
    run = interp.Run(
        import_plain(
            tmp_path / "weights.pt",
            tmp_path / "names.toml",
            interp.config.run.parse_config(PLAIN),
            tmp_path / "run",
        )
    )
    x = run.task.sample(0, "eval", 0, 5).inputs
    e = x @ state["embed.weight"].T
    q, k, v = (e @ state["attn.qkv"]).split(4, dim=-1)
    scores = (q @ k.transpose(1, 2) / 2).masked_fill(~torch.ones(7, 7).tril().bool(), -torch.inf)
    expected = (e + scores.softmax(-1) @ v @ state["attn.out"]) @ state["head"]
    torch.testing.assert_close(run.model()(x), expected, atol=1e-5, rtol=0)
    assert run.steps == (40,)
    assert verify(tmp_path / "run").ok


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"W_U" = "head"', '"W_V" = "head"', "no weight 'W_V'"),
        ('"W_U" = "head"', "", "does not state where 'W_U' comes from"),
        ('"W_U" = "head"', '"W_U" = {key = "head", turn = 1}', "'W_U'"),
        ("[2, 3]", "[3, 3]", "part [3, 3]"),
        ("[2, 3]", "[2, 4]", "'attn.qkv' has shape [4, 12], should be [4, 16]"),
        ('"W_U"', "W_U =", "not valid TOML"),
    ],
)
def test_a_mapping_that_does_not_fit_is_named(old, new, said, tmp_path) -> None:
    shapes = {"embed.weight": (4, 2), "attn.qkv": (4, 12), "attn.out": (4, 4), "head": (4, 1)}
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "weights.pt")
    (tmp_path / "names.toml").write_text(NAMES.replace(old, new))
    config = interp.config.run.parse_config(PLAIN)
    with pytest.raises(UserError) as error:
        import_plain(tmp_path / "weights.pt", tmp_path / "names.toml", config, tmp_path / "run")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
