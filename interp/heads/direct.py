"""Direct attribution: what each component of a transformer adds to its outputs, and to a head's attention scores.

Owns the analysis "output-attribution" (direct logit attribution, at every checkpoint). To outputs by
`interp.models.readout`, to scores by `interp.heads.composition`; here both are averaged over prompts of a task, with a
control beside them. Only direct paths count: what a component does through later ones is ascribed to these. Scales of
LayerNorms are held at the run's.
"""

from __future__ import annotations

from typing import ClassVar

import pandas as pd
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Direct
from interp.heads.composition import qk_attribution
from interp.hooks.protocol import HookedModel
from interp.models.readout import readout_attribution
from interp.models.transformer import HookedTransformer
from probes import stats
from tasks.base import Batch, Relation, Task
from tasks.errors import UserError
from tasks.streams import generator


def output_attribution(model: object, task: Task, batch: Batch, output: str | int) -> pd.DataFrame:
    """Direct contribution of each component to the right answer at one output position, with a 95% CI over prompts.

    `output`: its name, or its number among the targets. Tokens: to the target's logit minus the mean of the logits that
    are read with it, in logits, mean over prompts. Real-valued targets: the slope of the contribution on the target
    through the origin; the components of a perfect model sum to 1. Fewer than 32 prompts have no interval. Rows of
    control "other targets" hold the same with each prompt's target exchanged for the next one's. Raises UserError for
    other models than this package's transformers, an unknown `output`, and targets that are not entries of outputs.
    """
    net, names = _transformer(model), _names(task, batch)
    place = _place(task, batch, output, names)
    position, outputs = _read(task, batch, place)
    with torch.no_grad():
        cache = net.run_with_cache(batch.inputs)[1]
        every, labels = readout_attribution(net, cache, position)
    parts = every[..., outputs]
    targets = batch.targets[:, place]
    asked = {"none": targets, "other targets": targets.roll(1, 0)}
    tables = [_to_answer(parts, labels, found, task).assign(control=c) for c, found in asked.items()]
    return pd.concat(tables, ignore_index=True).assign(
        position=names[place] if names else str(place), metric="direct attribution"
    )


class OutputAttribution(Direct):
    """Direct logit attribution at every checkpoint. `output`: the output position, by name or number, the last unless
    given; `prompts`: how many it is averaged over.
    """

    name: ClassVar[str] = "output-attribution"

    output: str | int = -1
    prompts: int = Field(default=256, ge=2)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        batch = task.sample(self.seed, "output attribution", 0, self.prompts)
        double = next(iter(model.parameters())).dtype == torch.float64
        return output_attribution(model, task, batch.double() if double else batch, self.output)


def _names(task: Task, batch: Batch) -> list[str]:
    """Names of the targets, none where the task names groups of them."""
    return list(task.output_names) if len(task.output_names) == batch.targets.shape[1] else []


def _place(task: Task, batch: Batch, output: str | int, names: list[str]) -> int:
    count = batch.targets.shape[1]
    if output in names:
        return names.index(str(output))
    if isinstance(output, int) and -count <= output < count:
        return output % count
    raise UserError(
        f"output position {output!r}: task {task.kind!r} has {names or 'no names of single ones, but'} 0 to {count - 1}"
    )


def _read(task: Task, batch: Batch, place: int) -> tuple[int, slice]:
    """Where a target is read: position of the prompt, and the outputs there, which several targets may share."""
    face, count = task.interface, batch.targets.shape[1]
    positions = list(face.output_positions)
    if len(positions) == count:
        return positions[place], slice(None)
    if len(positions) != 1 or face.d_out % count:
        raise UserError(f"task {task.kind!r}: {count} targets at {len(positions)} output positions")
    width = face.d_out // count
    return positions[0], slice(place * width, (place + 1) * width)


def _to_answer(
    parts: Float[Tensor, "component batch d_out"], labels: list[str], targets: Tensor, task: Task
) -> pd.DataFrame:
    size = parts.shape[-1]
    if not targets.is_floating_point():
        if targets.ndim != 1 or bool(((targets < 0) | (targets >= size)).any()):
            raise UserError(f"task {task.kind!r}: some targets are not among the {size} outputs of the model")
        index = targets.expand(len(parts), -1)[..., None]
        found = stats.mean((parts.gather(-1, index)[..., 0] - parts.mean(-1)).T)
        unit = "logits"
    else:
        wanted = targets.reshape(len(targets), -1).double()
        if wanted.shape[-1] != size:
            raise UserError(
                f"task {task.kind!r}: targets of {wanted.shape[-1]} numbers for {size} outputs cannot be attributed"
            )
        top = (parts.double() * wanted).sum(2).T
        found = stats.quotient(top, wanted.pow(2).sum(1, keepdim=True).expand_as(top))
        unit = "share of target"
    rows = [{"component": label, "unit": unit, **found[i].row()} for i, label in enumerate(labels)]
    return pd.DataFrame(rows)


def score_attribution(
    model: object, task: Task, batch: Batch, head: str, relation: str, seed: int
) -> pd.DataFrame:
    """Attention scores of a head on a relation's pairs, as a sum over components of the query and of the key.

    Mean over pairs, before the mask and the softmax. Rows of control "random column" hold the same for the same rows
    with columns drawn uniformly from those that the mask allows: softmax sees differences of scores alone. Raises
    UserError for other models than this package's transformers, an unknown relation, and one without pairs here.
    """
    net, known = _transformer(model), {each.name: each for each in task.relations(batch)}
    if relation not in known:
        raise UserError(f"relation {relation!r}: task {task.kind!r} has {list(known)}")
    inputs, dest, source = _pairs(batch, known[relation])
    columns = dest + 1 if net.config.mask == "causal" else torch.full_like(dest, batch.inputs.shape[1])
    draw = torch.rand(dest.shape, generator=generator(seed, "random columns", 0))
    asked = {"none": source, "random column": (draw * columns).long().minimum(columns - 1)}
    tables = [qk_attribution(net, inputs, head, dest, to).assign(control=c) for c, to in asked.items()]
    found = pd.concat(tables, ignore_index=True).assign(receiver=head, relation=relation, n=dest.numel())
    return found.drop(columns="site")


def _pairs(batch: Batch, relation: Relation) -> tuple[Tensor, Int[Tensor, "b pair"], Int[Tensor, "b pair"]]:
    """Inputs with their pairs; where prompts have different ones, each pair is given a copy of its prompt."""
    if relation.valid is None:
        return batch.inputs, relation.dest, relation.source
    prompt, pair = relation.valid.nonzero(as_tuple=True)
    if not len(prompt):
        raise UserError(f"relation {relation.name!r}: none of {len(batch)} prompts has a pair; take more")
    return batch.inputs[prompt], relation.dest[prompt, pair][:, None], relation.source[prompt, pair][:, None]


def _transformer(model: object) -> HookedTransformer:
    if not isinstance(model, HookedTransformer):
        raise UserError(
            f"attribution to components needs a model of kind 'transformer', not {type(model).__name__}"
        )
    return model
