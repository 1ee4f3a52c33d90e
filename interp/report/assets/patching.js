// Patching grids: the effect of one site of the clean run, patched into the corrupt one, at the nearest measured checkpoint.

function patchingViews(run) {
  if (!run.patching) return;
  const place = part(run, "patching");
  let chosen = run.patching[0];
  const names = run.patching.map(({ keys }) => `${keys.grid} · ${keys.pair}`);
  choice(article(run).querySelector('[data-controls="patching"]'), "Grid and pair", names, (i) => {
    chosen = run.patching[i];
    redraw([place]);
  });
  addView(place, (el) => drawPatching(chosen, el), (el) => movePatching(run, chosen, el));
  caption(run, "patching", "An activation of the run on the clean prompt is patched into the run on the corrupt prompt, whose tokens differ as the " +
    "pair's name states. Normalised patching metric: 0 is the corrupt output, 1 the clean one. Blank cells have a 95% CI that includes 0. " +
    `Measured at ${whole(chosen.steps.length)} checkpoints (steps ${chosen.steps.map(whole).join(", ")}); the nearest to the slider is shown. ` +
    "Before the behaviour has emerged there is nothing to restore, and the effects are noise.");
}

function drawPatching(panel, element) {
  plot(element, [{
    type: "heatmap", z: [], x: panel.columns.map(plain), y: panel.layers.map((l) => `layer ${l}`), zmin: -1, zmax: 1,
    colorscale: diverging(), colorbar: { ...bar("share restored"), tickvals: [-1, -0.5, 0, 0.5, 1] }, xgap: 1, ygap: 1, hoverongaps: true,
    texttemplate: panel.columns.length <= 16 ? "%{text}" : "",
    hovertemplate: "%{y}, %{x}<br>%{customdata}<extra></extra>",
  }], {
    height: 130 + 34 * panel.layers.length, margin: { l: 64, r: 8, t: 34, b: 60 },
    xaxis: { type: "category", showgrid: false, title: { text: panel.keys.grid === "head outputs" ? "head" : "prompt position" } },
    yaxis: { type: "category", showgrid: false, ticks: "" },
  });
}

function movePatching(run, panel, element) {
  const i = nearest(panel.steps, page.step);
  const cell = (layer, column) => panel.rows.indexOf(`${layer}/${column}`);
  const table = (f) => panel.layers.map((l) => panel.columns.map((c) => f(cell(l, c))));
  const sure = (r) => r >= 0 && panel.value[r][i] !== null && !(panel.low && panel.low[r][i] <= 0 && panel.high[r][i] >= 0);
  const said = (r) => (r < 0 ? "–" : `${number(panel.value[r][i])} ${interval(panel, r, i)}`);
  Plotly.restyle(element, {
    z: [table((r) => (sure(r) ? panel.value[r][i] : null))],
    text: [table((r) => (sure(r) ? panel.value[r][i].toFixed(2) : ""))], customdata: [table(said)],
  }, [0]);
  Plotly.relayout(element, { "title.text": `step ${whole(panel.steps[i])}` });
  element.dataset.step = panel.steps[i];
}
