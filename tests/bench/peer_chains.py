"""Chains of the learning coefficient by devinterp's own optimiser on the plain model, as a peer of `estimates`.

devinterp's sampling functions (2.0.1) are made for language models' data sets and import packages that are not among
our pins. Its optimiser, `SGMCMC.sgld`, needs torch alone; with the gradients it is what a chain's time goes to. `make
peers` puts that one package into a folder of its own, which is looked into behind everything else. Left out of the
peer's time: its writing of samples, its progress bar, its statistics.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from interp.config.run import RunConfig
from tasks.base import Batch
from tasks.errors import UserError
from tests.bench.training_step import Plain

FOLDER = Path("runs/peers")
NOT_THERE = "devinterp: not run, `make peers` installs it"


def installed(folder: Path = FOLDER) -> bool:
    """Whether the folder holds devinterp; if so, it can be imported from now on."""
    if not (folder / "devinterp" / "optim").is_dir():
        return False
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return True


def devinterp_chains(
    config: RunConfig, batches: Sequence[Batch], n: int, settings: Mapping[str, Any]
) -> Callable[[], list[float]]:
    """Losses of all steps of all chains, with the settings that `interp.landscape.llc.coefficient` takes.

    What comes back raises UserError when a loss is not finite: the time of chains that blew up is none.
    """
    from devinterp.optim import SGMCMC  # pyright: ignore[reportMissingImports]

    torch.manual_seed(settings["seed"])
    start = Plain(config.model, config.task.interface).eval()  # type: ignore[arg-type]

    def one(chain: int) -> list[float]:
        torch.manual_seed(settings["seed"] + chain)
        model, losses = copy.deepcopy(start), []
        optimiser = SGMCMC.sgld(
            model.parameters(),
            lr=settings["step"],
            nbeta=n / math.log(n),
            localization=settings["gamma"],
        )
        for step in range(settings["burn_in"] + settings["draws"]):
            batch = batches[step % len(batches)]
            optimiser.zero_grad()
            loss = config.task.loss(model(batch.inputs), batch).mean()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        return losses

    def chains() -> list[float]:
        losses = [loss for chain in range(settings["chains"]) for loss in one(chain)]
        if not all(map(math.isfinite, losses)):
            raise UserError("devinterp's chains left the finite numbers: take a smaller step")
        return losses

    return chains
