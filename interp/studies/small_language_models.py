"""Small GPT-2 and GPT-NeoX models trained from nothing on the text prompts, saved as their makers save them.

They stand in where no pretrained model is at hand: what the study of prompts does to a published model and its training
revisions it does to these. `make_small` writes OUT/step0, OUT/step50, ... each with `save_pretrained` (weights,
configuration, word-level tokenizer). A training text is the facts of a prompt and questions about any of them with
their answers; only answers are learned. Texts grow as the model answers them: one hop among two chains and few names
first, since the wait before a head that matches names appears grows with the number of names; then one hop with all of
them, then two hops, again from few, with questions of one hop every other batch. So the texts themselves put one hop
before two: that these models learn in that order is no finding. Weights are a function of the settings and the number
of threads.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from interp.models.bridge import quiet
from tasks import UserError
from tasks.base import generator
from tasks.prompts import TextRetrieval
from tasks.prompts_lexicon import UNKNOWN, Lexicon, vocabulary_of, word_level

SETTINGS = "small.json"
ANSWERED = 0.9  # of the answers to a stage's texts of most hops, over RECENT of them: texts grow
RECENT = 20
STAGES = ((1, 2, 2), (1, 2, 6), (1, 4, 12), (1, 4, 52), (2, 2, 6), (2, 4, 6), (2, 4, 52))
WRITTEN = {"gpt2": 0.5, "gpt-neox": 0.25}  # of what attention would write: found by trial
NEAR = {"gpt2": 1.1, "gpt-neox": 1.4}  # scores of about 2.5 and 4 where a first head looks
TURN, PLACES = 10.0, 1000.0  # bases of the angles of rotary positions (texts are short) and of sinusoids
Progress = Callable[[int, float], None]


class SmallModel(BaseModel):
    """What is trained, on what and how long; `keep` are the steps that are saved (0 is before any update).

    A stage is the most hops (fewer take turns with them, batch by batch), the chains of a text, and for each hop the
    names it may use (the vocabulary's own number, if it has fewer); the last one lasts. A text asks `questions` times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["gpt2", "gpt-neox"] = "gpt2"
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    width: int = Field(default=64, ge=1)
    form: Literal["equations", "lives-with", "kingdoms"] = "equations"  # their questions name no hop
    stages: tuple[tuple[int, int, int], ...] = Field(default=STAGES, min_length=1)
    questions: int = Field(default=4, ge=1)
    batch: int = Field(default=48, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    warmup: int = Field(default=50, ge=1)
    keep: tuple[int, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> SmallModel:
        if any(a >= b for a, b in zip((-1, *self.keep), self.keep, strict=False)):
            raise ValueError("keep must name steps from 0 on, strictly increasing")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        for hops, chains, names in self.stages:
            if hops < 1:
                raise ValueError(f"a stage asks for {hops} hops")
            if names < chains:
                raise ValueError(f"{chains} chains need {chains} names a hop, and a stage has {names}")
        return self

    def task(self, stage: int, step: int) -> TextRetrieval:
        """The prompts of a step."""
        most, chains, names = self.stages[stage]
        hops = most - step % most
        return _prompts(self.form, hops, chains, names * hops)

    @property
    def context(self) -> int:
        """Tokens of the longest text."""
        each = [self.task(stage, 0) for stage in range(len(self.stages))]
        return max(text_of(task, 0, 0, 1, self.questions).tokens.shape[1] for task in each)


@cache
def _prompts(form: Any, hops: int, chains: int, names: int) -> TextRetrieval:
    return TextRetrieval(form=form, hops=hops, chains=chains, lexicon=few_names(names))


def few_names(count: int) -> Lexicon:
    """The words' lexicon with the first `count` names that a chain may be made of; answers are all there."""
    whole = word_level()
    pools = {
        pool: dict(list(names.items())[:count]) if pool in ("letter", "person") else names
        for pool, names in whole.names.items()
    }
    return whole.model_copy(update={"names": pools})


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
    updates = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.0)
    stage, lately = 0, deque[float](maxlen=RECENT)
    for step in range(settings.keep[-1] + 1):
        if step in settings.keep:
            save(model, tokenizer, out / f"step{step}")
        if step == settings.keep[-1]:
            break
        task = settings.task(stage, step)
        text = text_of(task, settings.seed, step, settings.batch, settings.questions)
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


class Text(NamedTuple):
    """Tokens, and the positions of the answers, which are to be predicted from what stands before them."""

    tokens: Int[Tensor, "batch pos"]
    places: Int[Tensor, "answer"]

    @property
    def answers(self) -> Int[Tensor, "batch answer"]:
        """The answers' tokens."""
        return self.tokens[:, self.places]


def text_of(task: TextRetrieval, seed: int, step: int, batch: int, questions: int) -> Text:
    """Facts, and questions with their answers and a full stop.

    Each question is about any link of any chain, drawn anew: what was asked before tells nothing about what is asked
    next. The last value of the link's chain is the answer, so a question has as many hops as there are links left.
    """
    prompts = task.sample(seed, "train", step, batch)
    facts, asked = prompts.inputs.shape[1] - task.question_length, int(prompts.asked[0])
    keys = torch.cat([prompts.keys[:, None], prompts.rival_keys], 1)
    ends = torch.cat([prompts.src[:, None], prompts.rivals], 1)[:, :, -1]
    drawn = torch.randint(
        keys[0].numel(), (batch, questions), generator=generator(seed, "questions of a text", step)
    )
    question = prompts.inputs[:, None, facts:].repeat(1, questions, 1)
    question[:, :, asked - facts] = prompts.inputs.gather(1, keys.flatten(1).gather(1, drawn))
    answer = prompts.inputs.gather(1, ends.gather(1, drawn // keys.shape[2]))
    stop = torch.tensor(task.lexicon.words["."]).expand(batch, questions, -1)
    said = torch.cat([question, answer[..., None], stop], 2)
    places = facts + task.question_length + said.shape[2] * torch.arange(questions)
    return Text(torch.cat([prompts.inputs[:, :facts], said.flatten(1)], 1), places)


def answers_of(model: Any, text: Text) -> Float[Tensor, "batch answer vocabulary"]:
    """The model's logits where the answers are to be predicted."""
    return model(input_ids=text.tokens, logits_to_keep=text.places - 1).logits


def text_loss(logits: Float[Tensor, "batch answer vocabulary"], text: Text) -> Float[Tensor, ""]:
    """Mean cross entropy of the answers over the whole vocabulary, in nats."""
    return F.cross_entropy(logits.flatten(0, 1), text.answers.flatten())


def build_small(settings: SmallModel) -> Any:
    """The untrained model: a function of the settings; the global random state stays as it was."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    size = settings.width
    ends: dict[str, Any] = {"vocab_size": word_level().vocabulary, "bos_token_id": 0, "eos_token_id": 0}
    ends["initializer_range"] = size**-0.5  # the usual .02 is for widths in the thousands: scores start flat
    ends["tie_word_embeddings"] = True  # a token handed on unchanged is the one predicted
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.family == "gpt2":
            config = GPT2Config(
                n_positions=settings.context, n_embd=size, n_layer=settings.layers, n_head=settings.heads,
                n_inner=size, activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ends,
            )  # fmt: skip
            model = GPT2LMHeadModel(config)
            model.transformer.wpe.weight.data = sinusoids(settings.context, size)
        else:
            config = GPTNeoXConfig(
                max_position_embeddings=settings.context, hidden_size=size, num_hidden_layers=settings.layers,
                num_attention_heads=settings.heads, intermediate_size=size,
                rope_parameters={"rope_type": "default", "rope_theta": TURN, "partial_rotary_factor": 1.0}, **ends,
            )  # fmt: skip
            model = GPTNeoXForCausalLM(config)
    _let_names_through(model, WRITTEN[settings.family])
    _look_near(model, settings.heads)
    return model


def _let_names_through(model: Any, written: float) -> None:
    """Blocks begin by writing little (attention) and nothing (MLP): else their noise drowns the names in the stream."""
    for name, weight in model.named_parameters():
        if name.endswith(("attn.c_proj.weight", "attention.dense.weight")):
            weight.data *= written
        if name.endswith(("mlp.c_proj.weight", "mlp.dense_4h_to_h.weight")):
            weight.data.zero_()


def _look_near(model: Any, heads: int) -> None:
    """Heads of the first layer begin by looking about 0, 1, 2, ... places back, as in a convolution.

    d'Ascoli et al. (2103.10697), whatever the tokens are. GPT-2: queries read the fastest of the sinusoids, keys the
    same turned by the head's number of places, and the random weights stay at a tenth. GPT-NeoX: biases, which rotary
    positions turn.
    """
    if hasattr(model, "transformer"):
        weight = model.transformer.h[0].attn.c_attn.weight.data
        width, size = len(weight), len(weight) // heads
        weight[:, : 2 * width] *= 0.1
        for head in range(heads):
            for pair, angle in enumerate(head * _rates(width, PLACES)[: size // 2]):
                rows, start = slice(2 * pair, 2 * pair + 2), head * size + 2 * pair
                turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
                weight[rows, start : start + 2] += NEAR["gpt2"] * torch.eye(2)
                weight[rows, width + start : width + start + 2] += NEAR["gpt2"] * turn
        return
    bias = model.gpt_neox.layers[0].attention.query_key_value.bias.data.view(heads, 3, -1)
    half = bias.shape[2] // 2
    angles = torch.arange(heads)[:, None] * _rates(bias.shape[2], TURN)
    bias[:, 0, :half] = NEAR["gpt-neox"]
    bias[:, 1] = NEAR["gpt-neox"] * torch.cat([angles.cos(), angles.sin()], 1)


def sinusoids(positions: int, width: int) -> Float[Tensor, "position width"]:
    """Position vectors to begin with, in which one linear map is a step back from anywhere (Vaswani et al. 2017).

    Random ones would have to be learned place by place before a head can look at the word before. Of the size of the
    other vectors: entries have a standard deviation of 1/sqrt(width).
    """
    turns = torch.arange(positions)[:, None] * _rates(width, PLACES)
    return torch.stack([turns.sin(), turns.cos()], -1).flatten(1)[:, :width] * (2 / width) ** 0.5


def _rates(width: int, base: float) -> Float[Tensor, "pair"]:
    """Angles by which a place turns each pair of numbers, fastest first."""
    return base ** (-torch.arange(0, width, 2) / width)


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
