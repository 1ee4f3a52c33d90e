"""Weights at which the small GPT-2 and GPT-NeoX models of the study of prompts start, and their tokenizer.

Found by trial: what attention writes is small at first, heads of the first layer begin by attending some places back,
and GPT-NeoX turns half of a head's numbers with the position (when all are turned, names are matched slowly: two hops
.56 after 1,200 updates, .98 after 400 with half).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.bridge import quiet
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from tasks.prompts_lexicon import UNKNOWN, vocabulary_of, word_level

WRITTEN = {"gpt2": 0.5, "gpt-neox": 0.25}  # of what attention would write: found by trial
NEAR = {"gpt2": 1.1, "gpt-neox": 2.0}  # scores of about 2.5 and 4 where a first head looks
TURNED = 0.5  # of a head's numbers, by rotary positions
TURN, PLACES = 10.0, 1000.0  # bases of the angles of rotary positions (texts are short) and of sinusoids


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
