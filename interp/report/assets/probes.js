// Probe results by site and checkpoint, and the selected checkpoint beside its controls on the same colour scale.

function probeViews(run) {
  if (!run.probes) return;
  const measured = run.probes.filter((p) => p.keys.control === "none");
  if (!measured.length) return;
  let chosen = measured[0];
  const places = ["probe-map", "probe-controls"].map((name) => part(run, name));
  choice(article(run).querySelector('[data-controls="probes"]'), "Probe", measured.map(probeName), (i) => {
    chosen = measured[i];
    tell();
    redraw(places);
  });
  const tell = () => caption(run, "probes", "Each row on the left is a site of the residual stream, the embedding at the bottom and " +
    "later layers above; each column is a checkpoint, the selected one framed. A strong colour means that a linear probe, scored on " +
    `held-out prompts, decodes the quantity well (${run.lower.includes(chosen.keys.metric) ? "low error" : "high score"}). ` +
    "Right: the selected checkpoint in numbers, with the same probe on its controls. What can be decoded as well from the untrained model was not learned.");
  tell();
  addView(places[0], (el) => drawProbeMap(run, chosen, el), (el) => point(el, nearest(chosen.steps, page.step), 0.5));
  addView(places[1], (el) => drawProbeControls(run, chosen, el), (el) => moveProbeControls(run, chosen, el));
}

const probeName = ({ keys }) => ["metric", "target", "algorithm", "k", "position"].map((k) => keys[k]).filter(Boolean).map(relationName).join(" · ");

function controlsOf(run, panel) {
  return run.probes.filter((p) => p.keys.control !== "none" && probeName(p) === probeName(panel));
}

/** One colour scale for the map and its controls; logarithmic when the values span more than a factor of twenty. */
function probeScale(run, panel) {
  const values = [panel, ...controlsOf(run, panel)].flatMap((p) => p.value.flat()).filter((v) => v !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const log = low > 0 && high / low > 20;
  const f = (v) => (v === null || v === undefined ? null : log ? Math.log10(v) : v);
  const ticks = log && [-4, -3, -2, -1, 0, 1, 2, 3].flatMap((e) => [10 ** e, 3 * 10 ** e]).map((t) => [Math.log10(t), number(t)]);
  return { f, cells: { low: f(low), high: f(high), stops: ramp(run.lower.includes(panel.keys.metric)), bar: { title: labelOf(run, panel.keys.metric), ticks } } };
}

const siteName = (site) => site.replace(/^blocks\.(\d+)\.hook_/, "block $1 ").replace(/^hook_/, "").replace(/_/g, " ");

function drawProbeMap(run, panel, element) {
  const { f, cells } = probeScale(run, panel);
  drawFigure(element, {
    height: probeHeight(panel), x: columnAxis(panel.steps), y: { names: panel.rows.map(siteName) },
    cells: {
      ...cells, value: panel.value.map((row) => row.map(f)),
      tell: (r, c) => `${siteName(panel.rows[r])} at step ${whole(panel.steps[c])}\n${number(panel.value[r][c])} ${interval(panel, r, c)}`,
    },
  });
}

const probeHeight = (panel) => Math.max(210, 66 + 32 * panel.rows.length);

function controlColumns(run, panel) {
  const shown = [panel, ...controlsOf(run, panel)];
  const rowOf = (p, site) => p.rows.indexOf(site);
  return panel.rows.map((site) => shown.map((p) => {
    const row = rowOf(p, site);
    return row < 0 ? null : p.value[row][nearest(p.steps, page.step)];
  }));
}

function drawProbeControls(run, panel, element) {
  const { cells } = probeScale(run, panel);
  const names = ["trained", ...controlsOf(run, panel).map((p) => CONTROL_NAMES[p.keys.control] || p.keys.control)];
  drawFigure(element, {
    height: probeHeight(panel), widest: 160 * names.length, x: { names, title: "at the selected checkpoint" }, y: { names: panel.rows.map(siteName) },
    cells: { ...cells, bar: null, value: panel.rows.map(() => names.map(() => null)), gap: true },
  });
}

const short = (value) => (value !== null && Math.abs(value) >= 0.1 && Math.abs(value) < 100 ? value.toFixed(2) : number(value));

function moveProbeControls(run, panel, element) {
  const { f } = probeScale(run, panel);
  const columns = controlColumns(run, panel);
  element.figure.setCells({
    value: columns.map((row) => row.map(f)), text: columns.map((row) => row.map(short)),
    tell: (r, c) => `${siteName(panel.rows[r])}, ${element.figure.spec.x.names[c]}\n${number(columns[r][c])}`,
  });
}
