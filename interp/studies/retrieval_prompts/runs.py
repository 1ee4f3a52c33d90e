"""What the study of prompts trains where no pretrained model is at hand: small GPT-2 and GPT-NeoX models on prompts.

They stand in for a published model and its training revisions. `make_small` writes OUT/step0, OUT/step50, ... each with
`save_pretrained` (weights, configuration, word-level tokenizer); weights are a function of the settings and the number
of threads. What the texts are stands in `runs_texts`.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from interp.models.bridge import quiet
from interp.studies.ledger import Scale
from interp.studies.retrieval_prompts.runs_texts import SmallModel, Text, text_of
from interp.studies.retrieval_prompts.runs_weights import build_small, tokenizer_of
from tasks import UserError

NAME = "retrieval-prompts"
HOPS = {"quick": (1, 2, 3), "cpu": (1, 2, 3, 4, 5, 6), "paper": (1, 2, 3, 4, 5, 6, 8)}
# densest where the answers of one hop and of two come to all names
_BEGIN = (0, 50, *range(100, 501, 20), 600, 800)
KEEP = {
    "quick": _BEGIN,
    "cpu": (*_BEGIN, 1200, 1500, 2000, 3000, *range(4000, 12_001, 1000)),
    "paper": (*_BEGIN, 1200, 1500, 2000, 3000, *range(4000, 40_001, 2000)),
}
# of each family one seed whose earlier trainings were looked at, and one that was not
SEEDS = {"gpt2": (1, 7), "gpt-neox": (0, 7)}
SETTINGS = "small.json"
ANSWERED = 0.9  # of the answers to a stage's texts of most hops, over RECENT of them: texts grow
RECENT = 20
Watch = Callable[[int, float], None]


def make_small(settings: SmallModel, out: str | Path, progress: Watch | None = None) -> Path:
    """Train and save; a folder that holds this very model already is left as it is, one broken off is begun again.

    Raises UserError when the folder holds anything else.
    """
    out = Path(out)
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    if (out / SETTINGS).is_file():
        if (out / SETTINGS).read_text(encoding="utf-8") != text:
            raise UserError(f"{out}: holds another small model; choose another folder")
        return out
    _clear(out)
    torch.set_num_threads(1)
    _train(settings, out, progress)
    (out / SETTINGS).write_text(text, encoding="utf-8")  # last: only a finished training has it
    return out


def _clear(out: Path) -> None:
    """Make way for a training: remove what one that was broken off has left. Raises UserError for other files."""
    if out.is_dir():
        for entry in out.iterdir():
            if not entry.name.startswith("step"):
                raise UserError(f"{out}: holds other files ({entry.name}); choose another folder")
            shutil.rmtree(entry)
    out.mkdir(parents=True, exist_ok=True)


def _train(settings: SmallModel, out: Path, progress: Watch | None) -> None:
    model, tokenizer = build_small(settings), tokenizer_of()
    updates = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0)
    stage, lately = 0, deque[float](maxlen=RECENT)
    for step in range(settings.keep[-1] + 1):
        if step in settings.keep:
            save(model, tokenizer, out / f"step{step}")
        if step == settings.keep[-1]:
            break
        task = settings.task(stage, step)
        text = text_of(task, settings.seed, step, settings.batch)
        for group in updates.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / settings.warmup)
        logits = answers_of(model, text)
        loss = text_loss(logits, text)
        updates.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        updates.step()
        if task.hops == settings.stages[stage][0]:
            lately.append(float((logits.argmax(-1) == text.answers).float().mean()))
        if len(lately) == RECENT and sum(lately) > ANSWERED * RECENT and stage + 1 < len(settings.stages):
            stage += 1
            lately.clear()
        if progress:
            progress(step, float(loss.detach()))


def answers_of(model: Any, text: Text) -> Float[Tensor, "batch answer vocabulary"]:
    """The model's logits where the answers are to be predicted."""
    return model(input_ids=text.tokens, logits_to_keep=text.places - 1).logits


def text_loss(logits: Float[Tensor, "batch answer vocabulary"], text: Text) -> Float[Tensor, ""]:
    """Mean cross entropy of the answers over the whole vocabulary, in nats."""
    return F.cross_entropy(logits.flatten(0, 1), text.answers.flatten())


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """A revision, as any published model is saved."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def small_models(scale: Scale) -> dict[str, SmallModel]:
    """The study's own models at a scale; a smaller scale is the beginning of a larger one's training."""
    return {
        f"small-{family}-{seed}": SmallModel(family=family, seed=seed, keep=KEEP[scale])  # type: ignore[arg-type]
        for family, seeds in SEEDS.items()
        for seed in seeds
    }


ANALYSES = ("heads", "scores")


def planned(scale: Scale) -> dict[str, str]:
    """The settings of the small models, by name."""
    return {name: model.model_dump_json() for name, model in small_models(scale).items()}
