"""A model kind that an installed package of somebody else's registers goes everywhere ours go: it is trained, broken
off and resumed, verified, scored, probed, patched, searched for its circuit and reported. The package lies under
`installed` as pip lays one out; nothing but its entry points says that it is there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import interp
from interp.hooks.protocol import HookedModel
from interp.models import register
from interp.models.build import build_model
from interp.report.collect import write_report
from interp.runs.verify import verify
from interp.train.loop import Interrupted, resume
from tasks import UserError

INSTALLED = Path(__file__).parent / "installed"
SETTINGS = {
    "task": {"kind": "previous-token"},
    "model": {"kind": "distance-attention"},
    "train": {"steps": 160, "batch": 64, "lr": 0.03, "save_every": 80, "schedule": {"every": 80, "log": 0}},
}


@pytest.fixture(scope="module")
def installed():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(INSTALLED))
        yield


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    return interp.Run.train(SETTINGS, tmp_path_factory.mktemp("other") / "run")


def test_a_run_broken_off_and_resumed_equals_the_whole_one_and_verifies(run, tmp_path):
    def cut(step: int, loss: float) -> None:
        if step >= 100:
            raise Interrupted(tmp_path / "cut", step)

    from interp.train.loop import train

    with pytest.raises(Interrupted):
        train(run.config, tmp_path / "cut", progress=cut)
    resume(tmp_path / "cut")
    again = interp.load(tmp_path / "cut")
    assert [again.folder.weights_hash(s) for s in again.steps] == [
        run.folder.weights_hash(s) for s in run.steps
    ]
    assert verify(tmp_path / "cut").ok


def test_it_is_a_hooked_model_and_its_heads_attend_to_the_token_before(run):
    assert isinstance(run.model(), HookedModel)
    scores = run.scores(steps="last").table
    accuracy = scores[(scores["metric"] == "accuracy") & (scores["control"] == "none")]["value"]
    assert accuracy.min() > 0.9
    heads = run.heads(steps="last").table
    own, uniform = (heads[heads["control"] == control]["value"] for control in ("none", "uniform"))
    assert own.max() > 0.6 > 2 * uniform.item()


def test_probes_find_the_answer_after_the_block_and_not_before(run):
    probes = run.probe(steps="last").table.query("control == 'none' and metric == 'accuracy'")
    mean = probes.groupby("site")["value"].mean()
    assert mean["blocks.0.hook_resid_post"] > mean["blocks.0.hook_resid_pre"] + 0.1


def test_patching_and_the_circuit_name_the_heads_that_move_the_token(run):
    patched = run.patch("head_out", by=("layer", "head"), prompts=16).table
    assert patched["value"].max() > 0.3
    circuit = run.circuit(prompts=16).table
    edges = set(map(tuple, circuit.query("metric == 'edge'")[["sender", "receiver"]].to_numpy()))
    assert any(sender == "embed" and receiver.endswith(".v") for sender, receiver in edges)
    faithful = circuit.query("metric == 'faithfulness' and control == 'none'")["value"].item()
    assert faithful > 0.9


def test_its_report_is_written(run, tmp_path):
    page = write_report([run], tmp_path / "page.html")
    text = Path(page).read_text(encoding="utf-8")
    assert "distance-attention" in text
    assert "token before" in text


def test_the_terminal_knows_it_by_its_entry_point_and_says_so_where_it_is_not_installed(run, forked):
    def verified(*path: Path) -> tuple[int, str]:
        done = forked.command("verify", str(run.path), path=path)
        return done.returncode, done.stdout + done.stderr

    assert verified(INSTALLED)[0] == 0
    code, told = verified()
    assert code == 2
    assert "previous-token" in told or "distance-attention" in told


def test_a_kind_that_is_taken_and_settings_of_another_kind_are_refused(run):
    settings = type(run.config.model)
    with pytest.raises(UserError, match="have kind 'distance-attention'"):
        register("another", settings)
    impostor = type("Impostor", (settings,), {})
    with pytest.raises(UserError, match="is taken by other_house"):
        register("distance-attention", impostor)(lambda config, interface, seed: None)
    interface = run.task.interface.model_copy(update={"inputs": "continuous"})
    with pytest.raises(UserError, match="reads tokens"):
        build_model(run.config.model, interface, 0)
