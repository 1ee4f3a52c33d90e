"""Attention maps of the page in a real Chromium: painted while the slider moves, drawn by CircuitsVis at rest."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.browser


MOVED = """(view) => new Promise((done) => {  // at once: a loaded machine might draw before the next frame comes
    new MutationObserver(done).observe(view, { attributes: true, attributeFilter: ['data-at'] });
    const slider = document.getElementById('slider');
    slider.value = 3;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
})"""
CELLS = """const cells = (canvas) => {
    const middle = (i) => Math.floor((i + 0.5) * canvas.width / 8);
    const colour = (i) => canvas.getContext('2d').getImageData(middle(i % 8), middle(Math.floor(i / 8)), 1, 1).data;
    return Array.from({ length: 64 }, (_, i) => [...colour(i)]);
};"""


def test_small_maps_follow_a_moving_slider_and_look_as_circuitsvis_draws_them(opened, retrieval):
    """The colour in the middle of every cell of a small map: before, painted on the way, drawn at rest."""
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    page.attention(run.steps[-1])
    stage = page.see("attention")
    before, painted, shown = stage.evaluate(f"""async (place) => {{
        {CELLS}
        const canvas = place.querySelector('.stage canvas');
        const before = cells(canvas);
        await ({MOVED})(place);
        const painted = cells(canvas);
        canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);  // what is there later was drawn anew
        return [before, painted, place.dataset.step];
    }}""")
    assert shown == str(run.steps[-1])
    assert np.abs(np.array(painted) - np.array(before)).max() > 20
    page.until(
        f"e => {{ {CELLS} return cells(e.querySelector('.stage canvas')).every((c) => c[3] === 255); }}",
        stage,
    )
    drawn = stage.evaluate(f"e => {{ {CELLS} return cells(e.querySelector('.stage canvas')); }}")
    np.testing.assert_allclose(painted, drawn, atol=2)


LARGE = """const large = (place) => {
    const canvas = [...place.querySelectorAll('canvas')].at(-1);
    const size = { width: canvas.width, height: canvas.height };
    const copy = Object.assign(document.createElement('canvas'), size).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data;
};
const off = (one, other) => one.filter((v, i) => Math.abs(v - other[i]) > 8).length / one.length;"""


@pytest.mark.parametrize("view", ["attention", "circuit-lines"])
def test_the_large_map_follows_a_moving_slider_as_circuitsvis_draws_it(opened, retrieval, view):
    """Every pixel of the large map, axes and all: before, painted on the way, drawn at rest."""
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    if view == "attention":
        page.attention(run.steps[-1])
        place = page.see("attention")
    else:
        page.see("circuit").locator('[data-node="L1H3"]').focus()
        page.page.keyboard.press("Enter")
        place = page.page.locator("#run-0 [data-part='head-pattern']")
        page.until("e => e.dataset.head === 'L1H3' && e.querySelector('canvas')", place)
        page.until(f"e => {{ {LARGE} return large(e).some((v) => v); }}", place)
        page.see("circuit-lines")
    shown = place.evaluate(f"""async (place) => {{
        {LARGE}
        window.before = large(place);
        await ({MOVED})(document.querySelector('#run-0 [data-view="{view}"]'));
        window.painted = large(place);
        return place.dataset.step;
    }}""")
    assert shown == str(run.steps[-1]), "CircuitsVis has not followed yet"
    page.until(f"e => e.dataset.step === '{run.steps[3]}'", place)
    page.until(f"e => {{ {LARGE} return large(e).some((v, i) => v !== painted[i]); }}", place)
    off = place.evaluate(f"e => {{ {LARGE} return [painted, before].map((one) => off(one, large(e))); }}")
    # an edge of one pixel about each of 8 x 8 cells of 50 is drawn softer than it is painted
    assert off[0] < 0.04 < 0.1 < off[1], off
    page.quiet()


def test_attention_unpacks_to_the_weights_that_were_given(opened, regression):
    run = regression()
    page = opened(run)
    page.page.locator("#slider").fill("20")
    stage = page.see("attention")
    page.until(f"e => e.dataset.step === '{run.steps[20]}'", stage)
    unpacked = page.page.evaluate("""async () => {
        const inflate = async (id) => {
            const raw = Uint8Array.from(atob(document.getElementById(id).textContent), c => c.charCodeAt(0));
            const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream('deflate'));
            return new Uint8Array(await new Response(stream).arrayBuffer());
        };
        const a = JSON.parse(new TextDecoder().decode(await inflate('data-0'))).attention[0];
        const bytes = await inflate('bytes-0-0');
        const [, layers, heads, n] = a.shape;
        const each = layers * heads * n * n;
        let level = 0;
        for (let step = 0; step <= 20; step += 1) level += bytes[step * each + ((heads + 1) * n + 15) * n + 4];
        return [((level % 256) - a.zero) * a.scale, a.error];
    }""")
    assert unpacked[0] == pytest.approx(run.attention[0].pattern[20, 1, 1, 15, 4], abs=unpacked[1] + 1e-9)
