"""Attribution patching by TransformerLens' hooks and caches, as its demo has it. Run by the peers' own Python.

Of the corrupt run: (clean - corrupt activation) times the gradient of the metric, summed over the site; and the exact
patches of `transformer_lens.patching`.

    python tests/peers/of_transformer_lens.py FOLDER
"""

import sys
from importlib.metadata import version
from pathlib import Path

import given
import torch
from transformer_lens import patching

WANTED = ("hook_resid_pre", "hook_z", "hook_mlp_out")


def main(folder: Path) -> None:
    data = given.prompts(folder)
    model = given.net(folder)

    def metric(logits):
        return given.apart(logits, data).mean()

    def wanted(name):
        return name.endswith(WANTED)

    slopes = {}
    model.reset_hooks()
    model.add_hook(wanted, lambda slope, hook: slopes.__setitem__(hook.name, slope.detach()), "bwd")
    value = metric(model(data["corrupt"]))
    value.backward()
    model.reset_hooks()
    with torch.no_grad():
        clean = model.run_with_cache(data["clean"], names_filter=wanted)[1]
        corrupt = model.run_with_cache(data["corrupt"], names_filter=wanted)[1]
    product = {name: (clean[name] - corrupt[name]) * slopes[name] for name in slopes}
    layers = range(model.cfg.n_layers)
    found = {
        "resid_pre": torch.stack([product[f"blocks.{n}.hook_resid_pre"].sum((0, 2)) for n in layers]),
        "z": torch.stack([product[f"blocks.{n}.attn.hook_z"].sum((0, 1, 3)) for n in layers]),
        "mlp_out": torch.stack([product[f"blocks.{n}.hook_mlp_out"].sum((0, 2)) for n in layers]),
    }
    with torch.no_grad():
        whole = model.run_with_cache(data["clean"])[1]
        exact = {
            "exact/resid_pre": patching.get_act_patch_resid_pre(model, data["corrupt"], whole, metric),
            "exact/z": patching.get_act_patch_attn_head_out_all_pos(model, data["corrupt"], whole, metric),
        }
    facts = {"packages": {p: version(p) for p in ("transformer-lens", "torch")}, "corrupt": float(value)}
    arrays = {name: values.numpy() for name, values in {**found, **exact}.items()}
    given.write(folder, "transformer_lens", {}, facts, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
