"""Settings and data keep their bytes: hashes of settings, first prompts of every preset, names of random streams.

Runs, tables and ledgers of earlier versions are found by the hash of their settings, and their prompts are drawn again
from (seed, stream, step). The values typed here are those of version 0.1; whoever renames a setting or a stream finds
them changed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest
import torch

from interp.config.clamp import ClampConfig
from interp.config.run import configure, parse_config, preset_names
from tasks.base import build, settings_of

ROOT = Path(__file__).parents[3]
PRESETS: dict[str, tuple[str, str]] = {
    "khop": ("5e7fc117d2f5c539", "7b1da5b600e0a177"),
    "linear-attention": ("88777dbff21bd1af", "d0c18a6c91c7efde"),
    "markov": ("317b0405f0aa1a99", "db92fd113b22cdf5"),
    "newton": ("f70e025742001e78", "85885fe2cd46c296"),
    "one-step-gd": ("881fa18e819a804a", "8e1a82c794f890b7"),
    "regression": ("4849c701e05c244c", "a035faa07748cf70"),
    "retrieval": ("ca8f20bc8a27824a", "f6eec4846e995f78"),
    "single-index": ("9cbcf3150e45a54d", "5c4e14c962a87e74"),
    "stacked-heads-paper": ("e48f953be3f4b46f", "f06cb2ee338c4c0f"),
    "task-diversity": ("0780cf092da31f9e", "b14b9033d51316b7"),
}
GOLDEN: dict[str, tuple[str, str]] = {
    "retrieval": ("98c51e81f56935c3", "f6eec4846e995f78"),
    "regression": ("3e93d30dfa2cebd2", "a035faa07748cf70"),
}
TASKS: dict[str, str] = {
    "khop": "88853697833492a0",
    "markov": "3be5ce2fd15abb97",
    "prompts": "e3dd83713b5b6546",
    "regression": "b02d53ff6242295e",
    "retrieval": "089071abf66b783a",
    "single-index": "f57b62a9e21bc84b",
}
STREAMS = {
    "ablation",
    "adopt",
    "analysis",
    "basis",
    "candidates",
    "causal probe",
    "causal probe, choose",
    "causal probe, fit",
    "clamp",
    "curvature",
    "curvature probes",
    "curvature start",
    "deep",
    "descent",
    "edge screen",
    "eigenbasis",
    "elsewhere",
    "fact heads",
    "final",
    "fit",
    "floor",
    "forgetting",
    "frozen features",
    "given",
    "graft",
    "init w",
    "labels",
    "least squares",
    "lemma",
    "llc",
    "long",
    "needed",
    "needed there",
    "noise",
    "noise reference",
    "other heads",
    "passed on",
    "patch",
    "probe queries",
    "proof",
    "questions",
    "random circuit",
    "random columns",
    "random composition",
    "repeated tokens",
    "report",
    "resample",
    "retrieval heads",
    "roles",
    "scalar start",
    "screen",
    "surface",
    "teacher",
    "text",
    "told",
    "train",
    "training set",
    "two-layer student",
    "unused",
    "values that are names",
    "wired newton",
    "wired norms",
}


def _short(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def _data(config) -> str:
    """The first prompts of the three streams that training and analyses draw, every byte."""
    digest = hashlib.sha256()
    for stream in ("train", "eval", "analysis"):
        batch = config.task.sample(config.data_seed, stream, 0, 4)
        for tensor in (batch.inputs, batch.targets):
            digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _streams() -> set[str]:
    """Every name of a stream that is written in the source: of `sample`, `generator`, and `pair`."""
    place = {"sample": 1, "generator": 1, "pair": 2, "pair_of": 3}
    found = set()
    for path in sorted(
        file for room in ("interp", "probes", "tasks") for file in (ROOT / room).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                given = node.args[place[name] :][:1] if name in place else []
                found |= {
                    arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
    return found


@pytest.mark.parametrize("name", preset_names())
def test_presets_keep_the_hash_of_their_settings_and_their_first_prompts(name) -> None:
    config = configure(name)
    assert (config.hash[:16], _data(config)) == PRESETS[name]


@pytest.mark.parametrize("name", ["retrieval", "regression"])
def test_runs_of_version_0_1_keep_the_hash_of_their_settings_and_their_first_prompts(name) -> None:
    stored = json.loads(
        (ROOT / "tests" / "golden" / "v0.1" / name / "config.json").read_text(encoding="utf-8")
    )
    config = parse_config(stored["settings"])
    assert (config.hash[:16], _data(config)) == GOLDEN[name]
    assert config.hash == stored["hash"]


@pytest.mark.parametrize("kind", TASKS)
def test_tasks_keep_the_names_of_their_settings(kind) -> None:
    assert _short(json.dumps(settings_of(build({"kind": kind})), sort_keys=True)) == TASKS[kind]


def test_clamps_keep_the_names_of_their_settings() -> None:
    clamp = ClampConfig(site="L0H1", to="donor", donor="runs/a", donor_step=3)
    assert json.dumps(clamp.model_dump(mode="json")) == (
        '{"site": "L0H1", "to": "donor", "relation": "", "donor": "runs/a", "donor_step": 3, "donor_site": "", '
        '"donor_weights": "", "start": 0, "stop": 0}'
    )


def test_streams_keep_their_names() -> None:
    assert _streams() >= STREAMS, "these names draw the data of earlier versions"
