"""devinterp's learning coefficient on the net and the prompts that this project wrote. Run by the peers' own Python.

A sequence is a prompt's tokens and behind them its answers, since its sampling takes one array a sequence; the loss is
that of this project's task, every position of a prompt having the prompt's. Only weights that this project's net has
are moved. First a chain without noise over minibatches in order, then chains as they are meant.

    python tests/peers/of_devinterp.py FOLDER
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import given
import numpy as np
import torch
from datasets import Dataset
from devinterp.slt.llc import compute_llc  # pyright: ignore[reportMissingImports]
from devinterp.slt.sampling import sample  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F


def main(folder: Path) -> None:
    data, settings = given.prompts(folder), json.loads((folder / "llc.json").read_text())
    model = given.net(folder)
    length, outputs = data["losses/inputs"].shape[1], data["losses/targets"].shape[1]
    rows = torch.cat([data["losses/inputs"], data["losses/targets"]], 1)
    dataset = Dataset.from_dict({"input_ids": rows.tolist()}).with_format("torch")

    def loss(model, rows):
        logits = model(rows[:, :length])[:, -1].unflatten(1, (outputs, -1))
        each = F.cross_entropy(logits.flatten(0, 1), rows[:, length:].flatten(), reduction="none")
        each = each.view(len(rows), outputs) * torch.tensor(settings["outputs"])
        return each.mean(1, keepdim=True).expand(-1, rows.shape[1] - 1)

    def chains(count, draws, burn_in, noise):
        samples = sample(
            model, dataset, {}, lr=settings["step"], n_beta=settings["beta_n"], loss_fn=loss,
            param_masks=dict.fromkeys(settings["weights"]), num_chains=count, num_draws=draws,
            num_burnin_steps=burn_in, batch_size=settings["minibatch"], localization=settings["gamma"],
            noise_level=noise, shuffle=noise > 0, match_sampling_input_ids_across_chains=False, device="cpu",
            num_init_loss_batches=len(rows) // settings["minibatch"],
        )  # fmt: skip
        return compute_llc(samples)

    still = chains(1, settings["still"], 0, 0.0)
    found = chains(settings["chains"], settings["draws"], settings["burn_in"], 1.0)
    trace = np.asarray(found["loss_trace"])
    kept = trace[:, settings["burn_in"] :].mean(1) - float(found["init_loss"])
    facts = {
        "packages": {p: version(p) for p in ("devinterp", "torch")},
        "init_loss": float(found["init_loss"]),
        "with its burn-in": np.asarray(found["llc_per_chain"]).tolist(),
        "behind its burn-in": (settings["beta_n"] * kept).tolist(),
    }
    given.write(folder, "devinterp", {}, facts, still=np.asarray(still["loss_trace"])[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
