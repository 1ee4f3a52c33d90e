"""The evidence in a real Chromium: grids, filters, the head's card, runs side by side, ledgers, paper, accessibility.

What the browser tests click, press and choose, here and in `test_report_browser`: the slider (dragged, arrow keys,
Home, End, from anywhere and from itself), Play, Theme, the step axis, the run select; in the circuit a head (pointer,
Enter; its pattern follows the slider), "Show the attention of" it and "Save as SVG"; in the attention a small map and
the layer select; the select of the patching grid and of the filter's layer; the relation select and a circuit's node
of runs side by side; a details element without scripts.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pandas as pd
import pytest

from interp.studies.ledger import Claim, Criterion, Ledger

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=window.__hit=1>"


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def test_patching_grids_move_with_the_slider_and_leave_unsure_cells_blank(opened, retrieval):
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    grid = page.see("patching")
    painted = """e => {
        const copy = document.createElement('canvas').getContext('2d');
        copy.drawImage(e.querySelector('canvas'), 0, 0);
        return [...copy.getImageData(0, 0, 4, 3).data].filter((v, i) => i % 4 === 3 && v);
    }"""
    late = page.shown("patching", "cell-text")
    assert len(late) == 1, "L1H3 alone"
    assert float(late[0]) > 0.7
    assert grid.evaluate(painted) == [255]
    page.page.keyboard.press("Home")
    assert page.shown("patching", "cell-text") == []
    assert grid.evaluate(painted) == []
    page.page.locator('[data-controls="patching"] select').select_option(label="residual stream · swap-hop-2")
    assert len(page.shown("patching", "x-tick")) == 8
    page.quiet()


def test_the_circuit_stands_beside_random_ones_and_a_head_tells_its_weights(opened, retrieval):
    page = opened(retrieval(count=12, tokens=8))
    told = page.see("faithfulness").evaluate(
        "e => e.figure.spec.series[0].x.map((_, i) => e.figure.spec.series[0].tell(i))"
    )
    assert [text.startswith("matched random circuits, 8 edges\n") for text in told].count(True) == 3
    assert page.see("faithfulness").locator(".figure-plot .mark").count() == len(told)
    page.see("circuit").locator('[data-node="L1H3"]').focus()
    page.page.keyboard.press("Enter")
    card = page.page.locator('#run-0 [data-part="head-card"]')
    page.until("e => e.querySelector('.drawn') && e.querySelector('table')", card)
    said = card.inner_text()
    assert "OV positive share" in said
    assert "K-composition, largest with L0H1" in said
    pattern = page.page.locator("#run-0 [data-part='head-pattern']")
    page.until("e => e.dataset.head === 'L1H3' && e.querySelector('canvas')", pattern)
    page.page.keyboard.press("Home")
    page.until("e => e.dataset.step === '0'", pattern)
    assert "L1H3: its attention on this prompt at step 0" in pattern.inner_text()
    page.see("circuit").locator('[data-node="L2H0"]').focus()
    page.page.keyboard.press("Enter")
    page.until("e => e.dataset.head === 'L2H0'", pattern)
    assert pattern.locator("canvas").count() == 1, "mounted once"
    page.quiet()


def test_matches_carry_bands_and_slopes_and_the_filter_its_families(opened, regression):
    page = opened(regression())
    match = page.see("match")
    best = "e => e.figure.spec.series[0].x.map((k) => e.figure.spec.x.names[k])"
    assert match.evaluate(best) == ["1", "2", "3", "4"]
    assert match.locator(".figure-plot .mark").count() == 4
    assert "slope of best step: 1 [0.95, 1.05] a layer" in page.shown("match", "figure-title")[0]
    assert page.shown("filter", "key") == ["gd (misfit 4.0%)", "ridge (misfit 4.0%)", "measured"]
    told = page.see("verdicts").inner_text()
    assert "indistinguishable" in told
    assert "gd, ridge" in told
    assert "0.003 [0.002, 0.004]" in told
    page.quiet()


def test_runs_stand_side_by_side_with_their_mean_over_seeds(opened, retrieval):
    runs = [retrieval(count=9, tokens=8, title=f"seed {i}") for i in range(3)]
    shifted = runs[1].scores.assign(value=runs[1].scores["value"] * 0.9)
    runs[1] = replace(runs[1], scores=shifted)
    alike = [replace(run, outputs=("retrieval", "hop 3"), condition='{"hops": 3}') for run in runs]
    page = opened(*alike)
    within = "#compare"
    assert page.see("compare-loss", within=within).locator(".figure-plot .line").count() == 3
    drawn = page.see("compare-scores", within=within).locator(".figure-plot .band").count()
    assert drawn == 1, "one ribbon over the seeds of the only arm"
    page.see("compare-heads", within=within)
    assert page.see("compare-emergence", within=within).locator(".figure-plot .mark").count() == 9
    words = page.page.locator("#compare ul").inner_text()
    assert "3 runs: seed 0, seed 1, seed 2" in words
    titles = [page.shown(f"compare-scores{i}", "figure-title", within)[0] for i in ("", "-1", "-2")]
    assert titles == [f"accuracy, hop {hop}" for hop in (1, 2, 3)]
    page.page.locator(f"{within} select").select_option(label="link 1->link 2")
    assert page.shown("compare-heads", "figure-title", within) == ["link 1->link 2, strongest head"]
    page.quiet()


def test_arms_with_and_without_the_curriculum_stand_side_by_side(opened, retrieval):
    """Two seeds with every hop in the target, two asked for the last alone, which never learn it."""
    runs = []
    for seed in (0, 1):
        full = retrieval(count=9, tokens=8, title=f"ic {seed}")
        last = {name: getattr(full, name) for name in ("scores", "emergence")}
        last["scores"] = full.scores[full.scores["position"] == "hop 3"].assign(value=0.05 + 0.01 * seed)
        last["emergence"] = pd.DataFrame([{"subject": "hop 3", "metric": "accuracy", "step": None}])
        final = replace(
            full, title=f"final {seed}", circuit=None, missing={"circuit": "it does nothing."}, **last
        )
        outputs = ("retrieval", "hop 1", "hop 2", "hop 3")
        dated = [
            {"subject": f"hop {k}", "metric": "accuracy", "step": 500 * k + 100 * seed} for k in (1, 2, 3)
        ]
        full = replace(full, emergence=pd.concat([full.emergence, pd.DataFrame(dated)]))
        runs.append(replace(full, outputs=outputs, condition='{"task": {"target": "ic"}}'))
        runs.append(replace(final, outputs=("retrieval", "hop 3"), condition='{"task": {"target": "final"}}'))
    page = opened(*runs)
    within = "#compare"
    words = page.page.locator("#compare .verdict li").all_inner_texts()
    assert (
        page.page.locator("#compare h2").inner_text()
        == "4 runs in 2 conditions: task.target ic; task.target final"
    )
    assert "hop 1 at step 500 to 600, hop 2 at step 1,000 to 1,100" in words[0]
    assert words[0].endswith("Order: hop 1 < hop 2 < hop 3 in 2 of 2.")
    assert "hop 3 5.5% [range 5.0%, 6.0%]. Emerged: hop 3 in no run." in words[1]
    conditions = ["task.target ic", "task.target final"]
    for view, named, runs_seen in (
        ("compare-scores", conditions[:1], 2),
        ("compare-scores-2", conditions, 4),
    ):
        seen = page.see(view, within=within)
        keys = page.shown(view, "key", within)
        assert [key for key in keys if key.startswith("task")] == named
        single = seen.locator('[opacity="0.45"] .line').count()
        assert single == runs_seen, "an arm that is not asked for a read has no line there"
    onsets = page.see("compare-emergence", within=within)
    ends = onsets.evaluate("e => e.figure.spec.series.filter(s => s.mark === 'triangle').flatMap(s => s.x)")
    assert ends == [runs[0].steps[-1]] * 2, "hop 3 of the two that were asked for it alone"
    assert page.see("compare-circuit-0", within=within).locator('[data-node="L1H3"]').count() == 1
    assert (
        page.page.locator("#compare [data-part='circuits'] .absent").all_inner_texts()
        == ["Not shown: it does nothing."] * 2
    )
    page.see("compare-circuit-2", within=within).locator('[data-node="L1H3"]').click()
    page.until("() => !document.getElementById('run-2').hidden")
    assert page.page.locator("#run-select").input_value() == "2"
    page.quiet()


def ledger(text: str = "") -> Ledger:
    claim = Claim(f"depth{text}", f"Depth decides{text}", "a paper, Thm 1", "1", Criterion.above(0.5))
    rows = [
        claim.measured(
            value, value - 0.1, value + 0.1, 3, condition="adam", budget="1 step", command="interp study x"
        )
        for value in (0.9, 0.55, 0.1)
    ]
    asked = claim.not_testable(would_need="a GPU for a day", command="interp study x --scale paper")
    return Ledger(f"study{text}", "quick", (0, 1, 2), (*rows, asked))


def test_a_ledger_says_its_verdicts_in_words_and_hostile_ones_stay_text(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8), ledgers=[ledger(HOSTILE)])
    said = page.page.locator("#ledgers").inner_text()
    for sign, verdict in zip(
        "✓◐✗–", ("reproduced", "inconclusive", "contradicted", "not testable"), strict=True
    ):
        assert f"{sign} {verdict}" in said or f"{sign} 1 {verdict}" in said
    assert f"Depth decides{HOSTILE}" in said
    assert page.page.locator("img").count() == 0
    assert page.page.evaluate("window.__hit") is None
    page.quiet()


def test_measurements_that_come_with_the_project_say_where_they_come_from(opened, retrieval):
    from interp.report.ledgers import published_ledgers

    (kept,) = published_ledgers(["retrieval", "retrieval", "a task of one's own"])
    page = opened(retrieval(count=4, tokens=8), ledgers=[kept, ledger()])
    said = page.page.locator("#ledgers").inner_text()
    assert f"stacked-heads, scale {kept.ledger.scale}" in said
    assert said.count(f"Measured {kept.date} with version {kept.version}, not on these runs") == 1
    rows = page.page.locator("#ledgers tbody tr").count()
    assert rows == len(kept.ledger.claims) + len(ledger().claims)
    page.quiet()


def test_printing_draws_what_was_never_scrolled_to(opened, retrieval, tmp_path):
    page = opened(retrieval(count=6, tokens=8), ledgers=[ledger()], color_scheme="dark")
    page.until("() => document.getElementById('run-0').dataset.unpacked === 'true'")
    page.page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") >= 3
    plots = "[...document.querySelectorAll('#run-0 .plot:not([hidden])')]"
    never = f"{plots}.filter(e => !e.classList.contains('drawn')).length"
    assert page.page.evaluate(never) == 0
    assert page.page.evaluate("document.documentElement.dataset.theme") is None, "the theme is back"
    page.quiet()


def test_paper_has_plots_of_its_own_width_and_the_heads_that_were_never_scrolled_to(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8))
    wide = "() => document.querySelector('#run-0 [data-view=loss] .figure-area svg').getBoundingClientRect().width"
    page.see("loss")
    before = page.page.evaluate(wide)
    page.until("() => document.getElementById('run-0').dataset.unpacked === 'true'")
    page.page.emulate_media(media="print")
    page.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.page.evaluate(wide) < 350 < before, "half of an A4 page's 688"
    over = """() => [...document.querySelectorAll('#run-0 .plot:not([hidden]) .figure-area svg')]
        .map(e => e.getBoundingClientRect().right - document.querySelector('main').getBoundingClientRect().right)"""
    assert max(page.page.evaluate(over)) <= 1
    heads = page.page.locator("#run-0 .paper-heads canvas")
    assert heads.count() == 4
    assert heads.first.is_visible()
    assert page.page.locator("#run-0 .stage").is_hidden()
    page.page.emulate_media(media="screen")
    page.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.page.evaluate(wide) == pytest.approx(before, abs=1)
    assert heads.first.is_hidden()
    page.quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened, retrieval, axe, scheme):
    """Of any impact, on two runs side by side with every kind of figure, details open, CircuitsVis drawn."""
    made = {condition: retrieval(count=6, tokens=8, title=condition) for condition in ("a", "b")}
    runs = [
        replace(run, outputs=("retrieval", "hop 3"), condition=f'{{"arm": "{condition}"}}')
        for condition, run in made.items()
    ]
    page = opened(*runs, ledgers=[ledger()], color_scheme=scheme)
    for view in ("scores", "circuit", "patching", "head-best", "attention"):
        page.see(view)
    page.attention(runs[0].steps[-1])
    page.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.page.evaluate(f"{axe};0")
    found = page.page.evaluate("axe.run()")
    assert len(found["passes"]) > 30
    told = [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert told == []


def test_small_maps_of_circuitsvis_are_pinned_by_keys(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8))
    stage = page.see("attention")
    small = stage.get_by_role("button", name="L2H2: show its attention enlarged")
    small.focus()
    page.page.keyboard.press("Enter")
    page.large("L2H2")
    page.quiet()


def test_an_unreadable_ledger_is_named(tmp_path):
    from interp.report.ledgers import find_ledgers, read_ledger
    from tasks.errors import UserError

    kept = tmp_path / "depth" / "ledger-quick.json"
    kept.parent.mkdir()
    kept.write_text(ledger().to_json(), encoding="utf-8")
    assert [one.study for one in find_ledgers(tmp_path)] == ["study"]
    assert isinstance(read_ledger(kept).table(), pd.DataFrame)
    for text in ("{}", "[1]", "no json"):
        kept.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="not a study's ledger"):
            read_ledger(kept)
    with pytest.raises(UserError, match="cannot be read"):
        read_ledger(tmp_path / "gone.json")
