"""`interp report --serve` and reports of a sweep's folder."""

from __future__ import annotations

import http.client
import threading

import pytest

import interp
from interp.cli import reports, serving
from interp.cli import run as command
from interp.config.run import configure
from interp.report import collect
from interp.run import load
from interp.runs.folder import RunFolder
from interp.sweep.plan import SweepPlan, cells
from interp.sweep.results import PLAN
from interp.train import train
from tasks.errors import UserError
from tests.interp.cli.test_watch import SMALL


@pytest.fixture
def server(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>first</p>")
    found = serving.PageServer(page)
    found.start()
    yield found
    found.shutdown()
    found.server_close()


def asked(server, path: str = "/", host: str | None = None) -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.getheader("Refresh")


def test_the_page_of_the_moment_is_served_and_asked_for_again_while_it_is_live(server) -> None:
    assert asked(server) == (200, "<p>first</p>", str(serving.REFRESH))
    server.page.write_text("<p>second</p>")
    server.live = False
    assert asked(server) == (200, "<p>second</p>", None)


def test_other_hosts_and_other_files_are_refused(server) -> None:
    assert asked(server, host="elsewhere.example")[0] == 403
    assert asked(server, "/../page.html")[0] == 404
    assert server.server_address[0] == "127.0.0.1"


def test_a_taken_port_is_named(server) -> None:
    with pytest.raises(UserError, match=f"--port {server.server_port}"):
        serving.PageServer(server.page, server.server_port)


def test_the_page_is_written_anew_at_new_checkpoints_until_the_run_has_ended(tmp_path, monkeypatch) -> None:
    config, written = configure("retrieval", overrides=SMALL), []
    RunFolder.create(tmp_path / "r", config)
    run = load(tmp_path / "r")
    monkeypatch.setattr(serving.time, "sleep", lambda seconds: train(config, tmp_path / "r"))
    serving._rewrite([run], lambda: written.append(run.steps), 1.0)
    assert written == [(0, 4, 8)]
    serving._rewrite([run], lambda: written.append(()), 1.0)
    assert len(written) == 1, "a finished run is left alone"


def test_serving_ends_with_ctrl_c_and_leaves_the_page(tmp_path, monkeypatch, capsys) -> None:
    train(configure("retrieval", overrides=SMALL), tmp_path / "r")

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.time, "sleep", interrupted)
    before = threading.active_count()
    assert command(["report", str(tmp_path / "r"), "--serve"]) == 0
    assert "http://127.0.0.1:" in capsys.readouterr().out
    assert (tmp_path / "r" / "report.html").stat().st_size > 10_000
    assert threading.active_count() <= before + 1


def test_port_without_serve_is_refused(tmp_path, capsys) -> None:
    assert command(["report", str(tmp_path), "--port", "8000"]) == 2
    assert "--serve" in capsys.readouterr().err


def test_a_sweep_folder_stands_for_its_runs(tmp_path, capsys) -> None:
    plan, out = SweepPlan(config="retrieval", seeds=(0, 1, 2)), tmp_path / "s"
    first, second, _ = cells(plan)
    for seed, cell in enumerate((first, second)):
        train(configure("retrieval", overrides=SMALL, seed=seed), out / cell.name)
    (out / PLAN).write_text(f'{{"version": "{interp.__version__}", "plan": {plan.model_dump_json()}}}')
    assert [run.name for run in reports._opened(out)] == [first.name, second.name]
    assert "1 of 3 runs are not there" in capsys.readouterr().err


def test_a_page_is_of_the_checkpoints_that_were_there_when_it_was_begun(tmp_path, monkeypatch) -> None:
    """A training that goes on adds some while the page is measured."""
    out = tmp_path / "run"
    train(configure("retrieval", overrides=SMALL), out)
    run, last = load(out), sorted((out / "checkpoints").iterdir())[-1]
    whole = last.read_bytes()
    last.unlink()
    before = run.steps

    def grows(run, progress):
        last.write_bytes(whole)
        return run.steps, run.resolve("last")

    monkeypatch.setattr(collect, "_collected", grows)
    assert collect.collect(run) == (before, before[-1:])
    assert run.steps == (*before, int(last.stem))
