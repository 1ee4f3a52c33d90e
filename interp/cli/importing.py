"""Commands that make a run from weights trained elsewhere: import garg, import plain, import hf."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from interp.cli.training import PresetOrFile

app = App(
    name="import", help_epilogue="interp import garg --help, plain --help and hf --help give an example each."
)


@app.command(help_epilogue="Example: interp import garg models/linear_regression/state.pt --out runs/garg")
def garg(file: Path, /, *, out: Path, n_heads: int | None = None) -> int:
    """Read a checkpoint of Garg et al.'s in-context learners, or a folder of them, into a run.

    Parameters
    ----------
    file
        state.pt, model_N.pt, or a folder whose every model_N.pt becomes a checkpoint.
    out
        Folder of the run.
    n_heads
        Number of attention heads, where no config.yaml next to the file gives it.
    """
    from interp.cli import training_notes
    from interp.importers.garg import import_garg

    return training_notes.imported(import_garg(file, out, n_heads))


@app.command(
    help_epilogue="Example: interp import plain weights.pt --map names.toml --config regression --out runs/theirs"
)
def plain(
    file: Path,
    /,
    *,
    config: PresetOrFile,
    out: Path,
    mapping: Annotated[str | None, Parameter(name="--map", show_default=False)] = None,
    layout: Annotated[str | None, Parameter(show_default=False)] = None,
    module: Annotated[str | None, Parameter(metavar="MODULE:FUNCTION", show_default=False)] = None,
) -> int:
    """Read a plain state dict into a run: by a mapping to this package's weights, or as the module that it belongs to.

    Parameters
    ----------
    file
        A state dict that torch saved.
    config
        The run's settings: a TOML file or a preset; of a module its task alone, which may be a task's kind.
    out
        Folder of the run.
    mapping
        hooked-transformer (TransformerLens' classic names), or a TOML file with lines such as "W_U" = "head" or
        "blocks.{l}.attn.w_q" = {key = "layers.{l}.q.weight", transpose = true}; also reshape, part, cut, zeros, eye,
        and a line ignore = ["*.mask"].
    layout
        Where the parts of a block lie in the module (see interp adopt): a shipped layout or a TOML file.
    module
        A function that builds the module whose state dict it is (package.file:function).
    """
    from interp.cli import training_notes
    from interp.cli.adopting import task_settings
    from interp.config.run import configure
    from interp.importers.adopt import adopt_folder
    from interp.importers.plain import import_plain
    from tasks.errors import UserError

    if (mapping is None) == (module is None) or (layout and not module):
        raise UserError(
            "give --map NAMES.toml, or the module of the weights: --module mine:build --layout gpt2"
        )
    if mapping is not None:
        return training_notes.imported(import_plain(file, mapping, configure(config), out))
    assert module is not None
    task = task_settings(str(config), ())
    found = adopt_folder(module, task=task, out=out, checkpoints=file, layout=layout)
    return training_notes.imported(found[0])


@app.command(
    help_epilogue="Example: interp import hf EleutherAI/pythia-70m --revision step1000 --out runs/pythia"
)
def hf(
    source: str,
    /,
    *,
    out: Path,
    revision: tuple[str, ...] = (),
    form: Annotated[
        Literal["equations", "lives-with", "kingdoms", "functions", "relatives"] | None,
        Parameter(show_default=False),
    ] = None,
    hops: int = 2,
    chains: int = 4,
    shots: int = 0,
    order: Literal["value_first", "query_first", "random"] = "value_first",
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> int:
    """Make a run from a Hugging Face causal language model and a prompt task; its weights stay where they are.

    Parameters
    ----------
    source
        A name on the hub, or a folder that holds a saved model or one subfolder a revision.
    out
        Folder of the run.
    revision
        A revision to use as a checkpoint; the number in its name is the step, or write main=143000. May be repeated.
    form
        The wording of the prompts: the first whose names are single tokens in the model's tokenizer, unless given.
    hops
        Hops (look-ups) that a question requires.
    chains
        Chains of facts in a prompt, including the queried one.
    shots
        Examples with their answers before the question.
    order
        Order of a chain's facts.
    dtype
        Floating-point type in which the weights are loaded.
    """
    from interp.cli import show, training_notes
    from interp.importers.hf import import_hf

    run = import_hf(
        source,
        out,
        revisions=revision,
        dtype=dtype,
        form=form,
        hops=hops,
        chains=chains,
        shots=shots,
        order=order,
    )
    if form is None:
        show.note(f"prompts are worded as {run.config.task.model_dump()['form']!r} (--form chooses)")
    return training_notes.imported(run)
