"""Small GPT-2 and GPT-NeoX models trained from nothing on the text prompts, saved as their makers save them.

They stand in where no pretrained model is at hand: what the study of prompts does to a published model and its training
revisions it does to these. `make_small` writes OUT/step0, OUT/step50, ... each with `save_pretrained` (weights,
configuration, word-level tokenizer). A training text is the facts of a prompt, questions about some of its chains with
their answers, then some facts again, drawn at random. What is learned are the answers, and the value in every fact that
is said again; the number of hops asked for changes from batch to batch, so that one-hop questions can be learned
first. Weights are a function of the settings and the number of threads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from interp.models.bridge import quiet
from tasks import UserError
from tasks.prompts import PromptBatch, TextRetrieval
from tasks.prompts_forms import Form
from tasks.prompts_lexicon import UNKNOWN, vocabulary_of, word_level

SETTINGS = "small.json"
Progress = Callable[[int, float], None]


class SmallModel(BaseModel):
    """What is trained, on what and how long; `keep` are the steps that are saved (0 is before any update).

    Every batch is of one of `forms` with one of `hops` hops and one of `chains` chains. Short prompts are learned first
    and help the long ones; for the `first` updates the shortest come alone. A batch asks about as many chains as
    `questions` says, and says `again` facts again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["gpt2", "gpt-neox"] = "gpt2"
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    width: int = Field(default=64, ge=1)
    forms: tuple[Form, ...] = Field(default=("equations",), min_length=1)
    hops: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    chains: tuple[int, ...] = Field(default=(2, 4), min_length=1)
    questions: int = Field(default=2, ge=1)
    again: int = Field(default=12, ge=1)
    first: int = Field(default=0, ge=0)
    batch: int = Field(default=32, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=100, ge=1)
    keep: tuple[int, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> SmallModel:
        if any(a >= b for a, b in zip((-1, *self.keep), self.keep, strict=False)):
            raise ValueError("keep must name steps from 0 on, strictly increasing")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        if self.questions > min(self.chains):
            raise ValueError(f"questions={self.questions} are more than chains={min(self.chains)}")
        return self

    def tasks(self) -> list[TextRetrieval]:
        """The prompts of every form, number of hops and number of chains, in the order in which batches take turns."""
        return [
            TextRetrieval(form=form, hops=hops, chains=chains)
            for chains in self.chains
            for hops in self.hops
            for form in self.forms
        ]

    def text(self, task: TextRetrieval, step: int, batch: int) -> Text:
        """The training texts of a step."""
        return text_of(task, self.seed, step, batch, self.questions, self.again)

    @property
    def context(self) -> int:
        """Tokens of the longest text."""
        return max(self.text(task, 0, 1).tokens.shape[1] for task in self.tasks())


def make_small(settings: SmallModel, out: str | Path, progress: Progress | None = None) -> Path:
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


def _train(settings: SmallModel, out: Path, progress: Progress | None) -> None:
    model, tokenizer = build_small(settings), tokenizer_of()
    updates = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01)
    tasks = settings.tasks()
    for step in range(settings.keep[-1] + 1):
        if step in settings.keep:
            save(model, tokenizer, out / f"step{step}")
        if step == settings.keep[-1]:
            break
        task = tasks[0 if step < settings.first else step % len(tasks)]
        text = settings.text(task, step, settings.batch)
        for group in updates.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / settings.warmup)
        loss = text_loss(model(input_ids=text.tokens).logits, text)
        updates.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        updates.step()
        if progress:
            progress(step, float(loss.detach()))


class Text(NamedTuple):
    """Tokens, and the positions of those to be predicted from what stands before them, `answers` answers first."""

    tokens: Int[Tensor, "batch pos"]
    learned: Int[Tensor, "batch place"]
    answers: int


def text_of(task: TextRetrieval, seed: int, step: int, batch: int, questions: int, said_again: int) -> Text:
    """Facts; questions about `questions` chains, each with its answer and a full stop; some facts again.

    The asked chain comes first, so what stands before its answer is the task's own prompt.
    """
    prompts = task.sample(seed, "train", step, batch)
    again, places = task.restated(seed, "train", step, batch, said_again)
    parts, learned = _questions(task, prompts, questions)
    start = sum(part.shape[1] for part in parts)
    return Text(torch.cat([*parts, again], 1), torch.cat([learned, places + start], 1), questions)


def _questions(
    task: TextRetrieval, batch: PromptBatch, questions: int
) -> tuple[list[Tensor], Int[Tensor, "batch answer"]]:
    """Facts and questions in pieces, and where the answers are."""
    stop = torch.tensor(task.lexicon.words["."]).expand(len(batch), -1)
    facts = batch.inputs.shape[1] - task.question_length
    question, asked = batch.inputs[:, facts:], int(batch.asked[0]) - facts
    names = torch.cat(
        [batch.inputs[:, facts + asked, None], batch.inputs.gather(1, batch.rival_keys[:, :, 0])], 1
    )
    answers = batch.inputs.gather(1, torch.cat([batch.src[:, -1:], batch.rivals[:, :, -1]], 1))
    parts, places = [batch.inputs[:, :facts]], []
    for chain in range(questions):
        said = question.clone()
        said[:, asked] = names[:, chain]
        parts += [said, answers[:, chain : chain + 1], stop]
        places.append(sum(part.shape[1] for part in parts[:-2]))
    return parts, torch.tensor(places).expand(len(batch), -1)


def text_loss(logits: Float[Tensor, "batch pos vocabulary"], text: Text) -> Float[Tensor, ""]:
    """Cross entropy over the whole vocabulary, in nats: the mean over answers plus the mean over facts said again."""
    before = (text.learned - 1)[..., None].expand(-1, -1, logits.shape[-1])
    answers = text.tokens.gather(1, text.learned)
    each = F.cross_entropy(logits.gather(1, before).flatten(0, 1), answers.flatten(), reduction="none")
    answered, said = each.unflatten(0, answers.shape).tensor_split([text.answers], dim=1)
    return answered.mean() + said.mean()


def build_small(settings: SmallModel) -> Any:
    """The untrained model: a function of the settings; the global random state stays as it was."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    ends: dict[str, Any] = {"vocab_size": word_level().vocabulary, "bos_token_id": 0, "eos_token_id": 0}
    ends["initializer_range"] = (
        settings.width**-0.5
    )  # the usual .02 is for widths in the thousands: scores start flat
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.family == "gpt2":
            config = GPT2Config(
                n_positions=settings.context, n_embd=settings.width, n_layer=settings.layers, n_head=settings.heads,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ends,
            )  # fmt: skip
            model = GPT2LMHeadModel(config)
            model.transformer.wpe.weight.data = sinusoids(settings.context, settings.width)
            return model
        config = GPTNeoXConfig(
            max_position_embeddings=settings.context, hidden_size=settings.width, num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads, intermediate_size=4 * settings.width, **ends,
        )  # fmt: skip
        return GPTNeoXForCausalLM(config)


def sinusoids(positions: int, width: int) -> Float[Tensor, "position width"]:
    """Position vectors to begin with, in which one linear map is a step back from anywhere (Vaswani et al. 2017).

    Random ones would have to be learned place by place before a head can look at the word before. Of the size of the
    other vectors: entries have a standard deviation of 1/sqrt(width).
    """
    rates = 1000 ** (-torch.arange(0, width, 2) / width)
    turns = torch.arange(positions)[:, None] * rates
    return torch.stack([turns.sin(), turns.cos()], -1).flatten(1)[:, :width] * (2 / width) ** 0.5


def tokenizer_of() -> Any:
    """The word-level tokenizer of the prompts' vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(vocabulary_of(word_level()), unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token=UNKNOWN, pad_token=UNKNOWN)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """A revision, as any published model is saved."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
