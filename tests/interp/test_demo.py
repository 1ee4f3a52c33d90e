"""What the demo says while it works."""

from __future__ import annotations

from pathlib import Path

from interp.config.run import configure
from interp.demo import Reporter, demo, measure_while_training
from interp.io.tables import read_table
from interp.train import train

SMALL = [
    *("train.steps=4", "train.batch=4", "train.eval_batch=8", "train.schedule.log=0"),
    *("train.schedule.every=4", "task.length=12", "model.d_model=8"),
]


def test_the_time_to_go_is_that_of_the_pace_and_not_of_the_start() -> None:
    now, said = [0.0], []
    reporter = Reporter(said.append, lambda: now[0])
    for seconds, done in [(0, 0), (28, 1), (30, 10), (50, 101), (51, 110), (80, 261)]:
        now[0] = seconds
        reporter.report("retrieval", done, 1001)
    assert said == [
        "     retrieval: 1 of 1,001, 28 s gone",
        "     retrieval: 101 of 1,001, 50 s gone, about 198 s to go",
        "     retrieval: 261 of 1,001, 80 s gone, about 148 s to go",
    ]
    reporter.report("measuring", 1, 4)
    now[0] = 100
    reporter.report("measuring", 2, 4)
    assert said[3:] == ["     measuring: 2 of 4, 20 s gone, about 40 s to go"]


def test_the_quick_demo_trains_one_run_and_says_what_it_found(tmp_path) -> None:
    said: list[str] = []
    page = demo(tmp_path / "quick", said.append, SMALL, quick=True)
    assert page.is_file()
    assert [path.name for path in page.parent.iterdir() if path.is_dir()] == ["markov"]
    text = "\n".join(said)
    assert "Which strategy it follows: " in text
    assert "bigram from step" not in text, "four steps learn nothing"
    assert said[-3].startswith("3/3  wrote")
    made = tmp_path / "quick/markov"
    assert said[-2:] == [f"run: {made}", f"next: interp heads {made}"]


def test_checkpoints_of_a_run_that_trains_are_measured_as_they_come(tmp_path) -> None:
    config = configure("markov", overrides=[*SMALL, "train.steps=8", "train.schedule.every=2"])
    looks = []

    def look(step: int, loss: float) -> None:
        if step in (5, 7):
            asked = iter([False, True])  # stopped after one look
            measure_while_training(tmp_path, lambda: next(asked))
            looks.append(measured(tmp_path))

    train(config, tmp_path, progress=look)
    assert looks == [(0, 2, 4), (0, 2, 4, 6)]
    measure_while_training(tmp_path, lambda: False)  # ends, since the training has
    assert measured(tmp_path) == (0, 2, 4, 6)


def measured(path: Path) -> tuple[int, ...]:
    found = read_table(path / "analysis/scores.parquet")
    assert found is not None
    return tuple(found[1].checkpoints)
