"""A Hugging Face causal language model as a run: revisions are its checkpoints, prompts of text its task.

The weights are not copied; every checkpoint references the files of its revision (`hf_files`). What analyses need
of a model is checked on real prompts before anything is written: attention patterns that sum to 1 and do not attend to
later tokens, scores before the softmax, hooks whose parts add up. An error names what a model lacks.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.config.model_bridge import BridgeConfig
from interp.config.run import RunConfig, parse_config
from interp.importers.record import record
from interp.io.hf_reference import Reference, locate, revisions_in
from interp.models.bridge import BridgedModel, bridged
from interp.models.pretrained import load_model, quiet
from interp.runs.folder import RunFolder
from tasks.base import build, settings_of
from tasks.errors import UserError
from tasks.prompts import TextRetrieval
from tasks.prompts_forms import FORMS
from tasks.prompts_lexicon import Lexicon, lexicon_of

_STEP = re.compile(r"(?:.*\D)?(\d{1,8})")
_TRIED = 8
_AGREES = 1e-3


def import_hf(
    source: str,
    out: str | Path,
    *,
    revisions: Sequence[str] = (),
    dtype: str = "float32",
    **task: Any,
) -> RunFolder:
    """A run whose checkpoints are revisions of a model, by its name on the hub or a local folder.

    `revisions` are named as on the hub (as subfolders of a local folder); the number in a name is the checkpoint's step
    ("step1000"), and "main=143000" says one. Without any a local folder gives all of its revisions. `task` are settings
    of `TextRetrieval` other than its lexicon; its `form` is the first that fits unless given. Raises UserError for a
    model, revision, tokenizer or prompts that will not do, and when `out` holds something else.
    """
    named = steps_of(source, revisions)
    references = {step: Reference.of(_place(source), name) for step, name in named.items()}
    first = references[min(references)].folder()
    prompts = task_for(first, **task)
    model = _loaded(first, dtype)
    bridge = bridged(model, source)  # takes the model over: it is bridged once
    config = bridge_config(model, bridge.cfg, source, dtype)
    config.check(prompts.interface)
    check_surface(config, bridge, prompts)
    del model, bridge
    for step in references:
        _same_sizes(config, references[step].folder())
        if step != min(references):  # one in memory at a time
            _loaded(references[step].folder(), dtype)
    settings = {
        "task": settings_of(prompts),
        "model": config.model_dump(mode="json"),
        "train": {"steps": max(1, *references), "batch": 1, "lr": 1.0},  # theirs, and not known
    }
    run: RunConfig = parse_config(settings)

    def weights(step: int) -> dict[str, Tensor]:
        return references[step].pack()

    return record(Path(out), run, tuple(sorted(references)), weights)


def _loaded(folder: Path, dtype: str) -> Any:
    """A revision's model, every weight out of its files; a prefix that was taken off their names is told of."""
    model, prefix = load_model(folder, dtype)
    if prefix:
        warnings.warn(
            f"{folder}: the names of all weights begin with {prefix!r}, which was taken off", stacklevel=2
        )
    return model


def steps_of(source: str, revisions: Sequence[str]) -> dict[int, str]:
    """Revisions by their step. Raises UserError for names without a number, when there are several, and for doubles."""
    folder = Path(source)
    if not revisions and folder.is_dir() and not (folder / "config.json").is_file():
        revisions = revisions_in(folder)
        if not revisions:
            locate(source, "")  # says what is missing
    if len(revisions) <= 1 and all("=" not in r for r in revisions):
        name = revisions[0] if revisions else ""
        return {_step(name, alone=True): name}
    found: dict[int, str] = {}
    for revision in revisions:
        step = _step(revision, alone=False)
        if step in found:
            raise UserError(f"revisions {found[step]!r} and {revision!r} are both of step {step}")
        found[step] = revision.partition("=")[0]
    return dict(sorted(found.items()))


def _step(revision: str, *, alone: bool) -> int:
    _, equals, stated = revision.partition("=")
    found = _STEP.fullmatch(stated if equals else revision)
    if found is None or (equals and not stated.isdigit()):
        if alone:
            return 0
        raise UserError(f"revision {revision!r} states no step: write it like main=143000")
    return int(found[1])


def _place(source: str) -> str:
    """A folder by its whole path, so that the run is found again from anywhere; a name as it is."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def bridge_config(model: Any, cfg: Any, name: str, dtype: str) -> BridgeConfig:
    """The settings of a bridged model. Raises UserError for one that the analyses do not support."""
    own = model.config
    if getattr(own, "is_encoder_decoder", False):
        raise UserError(f"{name}: {type(model).__name__} is an encoder with a decoder; causal models only")
    if not cfg.n_heads or not cfg.d_mlp or getattr(cfg, "num_experts", None):
        raise UserError(f"{name}: {type(model).__name__} has no plain stack of attention and MLP blocks")
    settings = {k: v for k, v in own.to_diff_dict().items() if k not in ("_name_or_path", "dtype")}
    return BridgeConfig(
        name=name, architecture=type(model).__name__, settings=json.loads(json.dumps(settings, default=str)),
        n_layers=cfg.n_layers, n_heads=cfg.n_heads, n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_model=cfg.d_model, d_head=cfg.d_head, d_mlp=cfg.d_mlp, n_ctx=cfg.n_ctx, d_vocab=cfg.d_vocab,
        parallel=bool(cfg.parallel_attn_mlp), gated=bool(cfg.gated_mlp), dtype=dtype,  # type: ignore[arg-type]
    )  # fmt: skip


def _same_sizes(config: BridgeConfig, folder: Path) -> None:
    """Raises UserError when a revision is another model than the first."""
    theirs = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, value in config.settings.items():
        if name in ("transformers_version", "architectures", "torch_dtype") or name not in theirs:
            continue
        if theirs[name] != value:
            raise UserError(
                f"{folder}: its {name} is {theirs[name]!r}, that of the first revision {value!r}; "
                "revisions of one run are one model"
            )


def task_for(folder: Path, **task: Any) -> TextRetrieval:
    """Prompts in the tokens of a model's tokenizer; without a `form` in the first that has enough names there.

    Raises UserError for a tokenizer whose words are not those of the text, and for one that no form fits.
    """
    tokenizer = load_tokenizer(folder)
    words = lexicon(tokenizer).model_dump()
    refused = []
    for form in FORMS if task.get("form") is None else (task["form"],):
        try:
            built = build({"kind": "prompts", "lexicon": words, **task, "form": form})
        except UserError as error:
            refused.append(error)
            continue
        assert isinstance(built, TextRetrieval)
        check_text(built, tokenizer)
        return built
    raise refused[0]


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model. Raises UserError when there is none."""
    from transformers import AutoTokenizer

    with quiet():
        try:
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except (ValueError, OSError, KeyError) as error:
            line = " ".join(str(error).split())[:100]
            raise UserError(f"{folder}: no tokenizer can be loaded from it ({line})") from None


def lexicon(tokenizer: Any) -> Lexicon:
    """The prompts' words in a tokenizer, with whatever it puts before a text."""
    bare = tokenizer.encode(" So", add_special_tokens=False)
    whole = tokenizer.encode(" So")
    prefix = whole[: len(whole) - len(bare)]
    if whole != [*prefix, *bare]:
        raise UserError("the model's tokenizer adds tokens after a text, where the answer should come")
    encode = partial(tokenizer.encode, add_special_tokens=False)
    return lexicon_of(encode, len(tokenizer), tuple(prefix), tokenizer.unk_token_id)


def check_text(task: TextRetrieval, tokenizer: Any) -> None:
    """Raises UserError when the tokenizer reads the prompts' text in other tokens than their words one by one."""
    words = task.in_words()
    texts = words.texts(words.sample(0, "text", 0, _TRIED))
    for text, tokens in zip(texts, task.sample(0, "text", 0, _TRIED).inputs.tolist(), strict=True):
        if tokenizer.encode(text) != tokens:
            raise UserError(
                f"the model's tokenizer joins words of the prompts, so positions cannot be identified: {text[:60]!r}"
            )


def check_surface(config: BridgeConfig, bridge: Any, task: TextRetrieval) -> None:
    """Check on prompts what analyses rely on. Raises UserError naming the first violation."""
    model = BridgedModel(config, task.interface, 0)
    model.hold(bridge)
    inputs = task.sample(0, "surface", 0, 2).inputs
    with torch.no_grad():
        cache = model.run_with_cache(inputs, names_filter=_in_blocks, return_cache_object=False)[1]
    for layer in range(config.n_layers):
        _check_layer(config, cache, f"blocks.{layer}.")


def _in_blocks(name: str) -> bool:
    """Which hooks to look at; a list of names would insist that each of them fires."""
    return name.startswith("blocks")


def _check_layer(config: BridgeConfig, cache: dict[str, Tensor], stem: str) -> None:
    who = f"{config.name}: {config.architecture}"
    needed = (
        "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z",
        "hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post", "mlp.hook_pre",
    )  # fmt: skip
    for name in needed:
        if stem + name not in cache:
            raise UserError(
                f"{who} does not show {stem}{name} (a fused kernel, or no attention): not offered"
            )
    pattern, pos = cache[stem + "attn.hook_pattern"].float(), cache[stem + "hook_resid_pre"].shape[1]
    if pattern.shape[1:] != (config.n_heads, pos, pos) or (pattern.sum(-1) - 1).abs().max() > _AGREES * 10:
        raise UserError(f"{who}: {stem}attn.hook_pattern holds no attention shares: not offered")
    if pattern.triu(1).abs().max() > 0:
        raise UserError(
            f"{who} attends to later tokens: it has no causal mask, and its last token no next one"
        )
    parts = sum(cache[stem + name].float() for name in ("hook_resid_pre", "hook_attn_out", "hook_mlp_out"))
    post = cache[stem + "hook_resid_post"].float()
    tolerance = _AGREES if config.dtype == "float32" else 0.05
    if (parts - post).abs().max() > tolerance * post.abs().max().clamp_min(1.0):
        raise UserError(f"{who}: what {stem[:-1]} writes does not add up to its stream: not offered")
