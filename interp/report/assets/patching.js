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
  drawFigure(element, {
    height: 110 + 34 * panel.layers.length, widest: 110 * panel.columns.length, title: " ",
    x: { names: panel.columns, title: panel.keys.grid === "head outputs" ? "head" : "prompt position" }, y: { names: panel.layers.map((l) => `layer ${l}`) },
    cells: { value: panel.layers.map(() => panel.columns.map(() => null)), low: -1, high: 1, stops: paints("diverging"), bar: { title: "share restored", ticks: [-1, -0.5, 0, 0.5, 1].map((v) => [v, String(v)]) }, gap: true },
  });
}

function movePatching(run, panel, element) {
  const i = nearest(panel.steps, page.step);
  const cell = (layer, column) => panel.rows.indexOf(`${layer}/${column}`);
  const table = (f) => panel.layers.map((l) => panel.columns.map((c) => f(cell(l, c))));
  const sure = (r) => r >= 0 && panel.value[r][i] !== null && !(panel.low && panel.low[r][i] <= 0 && panel.high[r][i] >= 0);
  const said = (r) => (r < 0 ? "not measured" : `${number(panel.value[r][i])} ${interval(panel, r, i)}${sure(r) ? "" : " (not significant: blank)"}`);
  element.figure.setCells({
    value: table((r) => (sure(r) ? panel.value[r][i] : null)),
    text: panel.columns.length <= 16 ? table((r) => (sure(r) ? panel.value[r][i].toFixed(2) : "")) : null,
    tell: (y, x) => `layer ${panel.layers[y]}, ${panel.columns[x]}\n${said(cell(panel.layers[y], panel.columns[x]))}`,
  });
  element.figure.tellTitle(`step ${whole(panel.steps[i])}`);
  element.dataset.step = panel.steps[i];
}
