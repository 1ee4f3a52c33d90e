"""Modules as others write them, small and untrained: what adoption is tried on. None of them knows this project."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 13, 8, 24, 4, 2


class CausalSelfAttention(nn.Module):
    """As in nanoGPT: one joint map, torch's kernel or a softmax by hand, and a mask buffer called `bias`."""

    def __init__(self, flash: bool):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.flash = flash
        self.register_buffer("bias", torch.tril(torch.ones(CONTEXT, CONTEXT)).view(1, 1, CONTEXT, CONTEXT))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (t.view(B, T, HEADS, C // HEADS).transpose(1, 2) for t in self.c_attn(x).split(C, dim=2))
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = F.softmax(att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf")), dim=-1)
            y = att @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class NanoBlock(nn.Module):
    def __init__(self, flash: bool):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn, self.mlp = CausalSelfAttention(flash), MLP()

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """Gives logits for the last position alone, and its unembedding is its embedding."""

    def __init__(self, flash: bool = True):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(VOCABULARY, WIDTH),
                "wpe": nn.Embedding(CONTEXT, WIDTH),
                "h": nn.ModuleList(NanoBlock(flash) for _ in range(LAYERS)),
                "ln_f": nn.LayerNorm(WIDTH),
            }
        )
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.transformer["wte"].weight = self.lm_head.weight

    def forward(self, idx, targets=None):
        place = torch.arange(idx.size(1))
        x = self.transformer["wte"](idx) + self.transformer["wpe"](place)
        for block in self.transformer["h"]:
            x = block(x)
        x = self.transformer["ln_f"](x)
        if targets is not None:
            logits = self.lm_head(x)
            return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return self.lm_head(x[:, [-1], :]), None


class MinBlock(nn.Module):
    """As in minGPT: the MLP is a table of modules that are called one by one."""

    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = CausalSelfAttention(False)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(WIDTH, 48), "c_proj": nn.Linear(48, WIDTH), "act": nn.GELU()}
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m["c_proj"](m["act"](m["c_fc"](self.ln_2(x))))


class MinGPT(NanoGPT):
    def __init__(self):
        super().__init__(False)
        self.transformer["h"] = nn.ModuleList(MinBlock() for _ in range(LAYERS))

    def forward(self, idx, targets=None):
        x = self.transformer["wte"](idx) + self.transformer["wpe"](torch.arange(idx.size(1))[None])
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x)), None


class Encoder(nn.Module):
    """`torch.nn.TransformerEncoder` between an embedding and a head, with a causal mask."""

    def __init__(self, norm_first: bool = True):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 48, batch_first=True, norm_first=norm_first)
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.encoder(self.tokens(x), mask=mask, is_causal=True))


ENCODER = {"like": "torch", "embed": "tokens", "unembed": "head"}


def _sizes(**more):
    return {
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": 40,
        "vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, **more,
    }  # fmt: skip


def gpt2(head: bool = True):
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

    config = GPT2Config(
        n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, vocab_size=VOCABULARY, n_positions=CONTEXT,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return (GPT2LMHeadModel if head else GPT2Model)(config)


def bare_gpt2():
    return gpt2(head=False)


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_sizes(num_key_value_heads=2)))


def qwen2():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**_sizes(num_key_value_heads=2)))


def mistral():
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**_sizes(num_key_value_heads=1, sliding_window=None)))


def neox():
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**_sizes()))


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same with weights of a size at which every part matters, norms' gains and biases included."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source) * 0.3 + (weight.ndim == 1) * 0.8)
    return module.eval()


KINDS = {
    "nanoGPT": NanoGPT, "nanoGPT by hand": lambda: NanoGPT(False), "minGPT": MinGPT, "TransformerEncoder": Encoder,
    "GPT-2": gpt2, "GPT-2 without head": bare_gpt2, "Llama": llama, "Qwen2": qwen2, "Mistral": mistral,
    "GPT-NeoX": neox,
}  # fmt: skip
