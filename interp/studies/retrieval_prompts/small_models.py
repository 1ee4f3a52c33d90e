"""Small GPT-2 and GPT-NeoX models trained from nothing on the text prompts, saved as their makers save them.

They stand in where no pretrained model is at hand: what the study of prompts does to a published model and its training
revisions it does to these. `make_small` writes OUT/step0, OUT/step50, ... each with `save_pretrained` (weights,
configuration, word-level tokenizer). A training text is the facts of a prompt and the question about each of its
chains; only answers are learned, and weights are a function of the settings and the number of threads.

The texts were found by trial, on seeds 2 to 5, and settle part of what is then found in these models. Texts grow as
the model answers them: one hop among two chains and few names first, since the wait before a head that matches names
appears grows with the number of names, then one hop with all of them, then two hops by turns with one. So that these
models learn one hop before two is no finding. Answers are not written into the text: where they were, a question
asked twice was answered by the first answer in place of two hops. One hop is also asked among eight chains, whose
texts are as long as those of two hops among four: GPT-2 otherwise looks at no fact further on than those it was taught
with (two hops .25 after 600 updates, and no head at the first fact). Half of the values that are asked for in one hop
are names and not answers of a prompt: else heads come to look at those answers alone, and at no value on the way to
them (without it one of two GPT-2 had not got past .46 in 700 updates; that the last token looks at the value of hop 1
is taught by this). GPT-NeoX turns half of a head's numbers with the position: when all are turned, names are matched
slowly (two hops .56 after 1,200 updates, .98 after 400 with half).
"""

from __future__ import annotations

import json
import shutil
import sys
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
from tasks.prompts_forms import pools_of
from tasks.prompts_lexicon import UNKNOWN, Lexicon, vocabulary_of, word_level

SETTINGS = "small.json"
ANSWERED = 0.9  # of the answers to a stage's texts of most hops, over RECENT of them: texts grow
RECENT = 20
STAGES = ((1, 2, 4), (1, 2, 6), (1, 4, 12), (1, 4, 52), (1, 8, 52), (2, 4, 52))
NAMED = 0.5  # of the values asked for in one hop are names
WRITTEN = {"gpt2": 0.5, "gpt-neox": 0.25}  # of what attention would write: found by trial
NEAR = {"gpt2": 1.1, "gpt-neox": 2.0}  # scores of about 2.5 and 4 where a first head looks
TURNED = 0.5  # of a head's numbers, by rotary positions
TURN, PLACES = 10.0, 1000.0  # bases of the angles of rotary positions (texts are short) and of sinusoids
Progress = Callable[[int, float], None]


class SmallModel(BaseModel):
    """What is trained, on what and how long; `keep` are the steps that are saved (0 is before any update).

    A stage is the most hops, the chains of a text, and for each hop the names it may use (the vocabulary's own number,
    if it has fewer); the last one lasts. Fewer hops take turns with the most, batch by batch, as in those of the stages
    of so many before that had most names, each in turn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["gpt2", "gpt-neox"] = "gpt2"
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    width: int = Field(default=64, ge=1)
    form: Literal["equations", "lives-with", "kingdoms"] = "equations"  # their questions name no hop
    stages: tuple[tuple[int, int, int], ...] = Field(default=STAGES, min_length=1)
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
            need = chains * (2 if hops == 1 else 1)  # a name asked for is nowhere else in its text
            if names < need:
                raise ValueError(f"{chains} chains need {need} names a hop, and a stage has {names}")
        return self

    def task(self, stage: int, step: int) -> TextRetrieval:
        """The prompts of a step."""
        most, chains, names = self.stages[stage]
        hops = most - step % most
        before = [s for s in self.stages[:stage] if s[0] == hops]
        if hops < most and before:
            widest = [s for s in before if s[2] == max(names for _, _, names in before)]
            _, chains, names = widest[step // most % len(widest)]
        return _prompts(self.form, hops, chains, names * hops)

    @property
    def context(self) -> int:
        """Tokens of the longest text, or of a prompt that asks for one hop more than any text."""
        longest = [_prompts(self.form, hops + 1, chains, sys.maxsize) for hops, chains, _ in self.stages]
        texts = [text_of(self.task(stage, 0), 0, 0, 1).tokens.shape[1] for stage in range(len(self.stages))]
        return max(*texts, *(prompt.interface.n_ctx for prompt in longest))


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


class Text(NamedTuple):
    """Tokens, the positions before which the answers are to be predicted, and the answers' tokens."""

    tokens: Int[Tensor, "batch pos"]
    places: Int[Tensor, "answer"]
    answers: Int[Tensor, "batch answer"]


def text_of(task: TextRetrieval, seed: int, step: int, batch: int) -> Text:
    """Facts, and the task's question about every chain in turn, the answers left out.

    The chain that `task` asks about is the first. Of one hop, NAMED of the values are names that no fact goes on from.
    """
    prompts = task.sample(seed, "train", step, batch)
    facts, asked = prompts.inputs.shape[1] - task.question_length, int(prompts.asked[0])
    keys = torch.cat([prompts.keys[:, None], prompts.rival_keys], 1)[:, :, 0]
    ends = torch.cat([prompts.src[:, None], prompts.rivals], 1)[:, :, -1]
    inputs = _named(task, prompts.inputs, keys, ends, seed, step) if task.hops == 1 else prompts.inputs
    question = inputs[:, None, facts:].repeat(1, task.chains, 1)
    question[:, :, asked - facts] = inputs.gather(1, keys)
    tokens = torch.cat([inputs[:, :facts], question.flatten(1)], 1)
    places = facts + task.question_length * torch.arange(1, task.chains + 1)
    return Text(tokens, places, inputs.gather(1, ends))


def _named(
    task: TextRetrieval,
    inputs: Int[Tensor, "batch pos"],
    keys: Int[Tensor, "batch chain"],
    ends: Int[Tensor, "batch chain"],
    seed: int,
    step: int,
) -> Int[Tensor, "batch pos"]:
    """Prompts with names that are not in them in place of some of the values."""
    source, size = generator(seed, "values that are names", step), keys.shape
    names = torch.tensor(list(task.lexicon.names[next(iter(pools_of(task.form, task.shape)))].values()))
    there = (inputs.gather(1, keys)[:, :, None] == names).any(1)
    free = torch.rand(size[0], len(names), generator=source).masked_fill(there, 2.0).argsort(1)[:, : size[1]]
    changed = torch.rand(size, generator=source) < NAMED
    return inputs.scatter(1, ends, torch.where(changed, names[free], inputs.gather(1, ends)))


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
                rope_parameters={"rope_type": "default", "rope_theta": TURN, "partial_rotary_factor": TURNED}, **ends,
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
    turned = int(bias.shape[2] * TURNED)
    angles = torch.arange(heads)[:, None] * _rates(turned, TURN)
    bias[:, 0, : turned // 2] = NEAR["gpt-neox"]
    bias[:, 1, :turned] = NEAR["gpt-neox"] * torch.cat([angles.cos(), angles.sin()], 1)


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
