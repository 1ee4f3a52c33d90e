// Head scores over checkpoints: a map of every head, and the strongest ones as lines with their intervals.

const STRONGEST = 6;

function headViews(run) {
  if (!run.heads) return;
  const relations = run.heads.filter((p) => p.keys.control === "none");
  if (!relations.length) return;
  let chosen = relations[0];
  const places = ["head-map", "head-lines"].map((name) => part(run, name));
  choice(article(run).querySelector('[data-controls="heads"]'), "Relation", relations.map((p) => p.keys.metric), (i) => {
    chosen = relations[i];
    redraw(places);
  });
  addView(places[0], (el) => drawHeadMap(run, chosen, el), (el) => point(el, nearest(chosen.steps, page.step), 0.5));
  addView(places[1], (el) => drawHeadLines(run, chosen, el), (el) => movePoint(run, el));
  addView(part(run, "head-best"), () => {}, (el) => describeBest(run, relations, el));
  caption(run, "heads", "Each row on the left is a head (L1H3 is head 3 of layer 1, counted from 0), layers going up; each " +
    "column is a checkpoint, the selected one framed. Colour is the head's score on the relation: its attention mass on " +
    "the tokens that the relation names. Right: the strongest heads over training, with 95% CIs; the other heads in grey. " +
    "Below: the strongest head of every relation at the selected checkpoint; a relation that no head has learned stays at the level of the untrained model.");
}

function drawHeadMap(run, panel, element) {
  const values = panel.value.flat().filter((v) => v !== null);
  const signed = Math.min(...values) < 0;
  const top = Math.max(...values.map(Math.abs));
  const layers = panel.rows.map((name) => name.split("H")[0]);
  const breaks = layers.map((l, i) => (i && l !== layers[i - 1] ? i - 0.5 : null)).filter((v) => v !== null);
  plot(element, [{
    type: "heatmap", z: panel.value, x: panel.steps.map((_, i) => i), y: panel.rows.map((_, i) => i),
    zmin: signed ? -top : 0, zmax: signed ? top : Math.max(top, values.every((v) => v <= 1) ? 1 : top),
    colorscale: signed ? diverging() : ramp(), colorbar: bar(panel.keys.metric),
    customdata: panel.value.map((v, r) => v.map((_, c) => [panel.rows[r], whole(panel.steps[c]), interval(panel, r, c)])),
    hovertemplate: "%{customdata[0]} at step %{customdata[1]}<br>%{z:.3g} %{customdata[2]}<extra></extra>",
  }], {
    height: Math.max(320, 110 + 15 * panel.rows.length), margin: { l: 56, r: 8, t: 40, b: 46 },
    xaxis: columnAxis(panel.steps),
    yaxis: { title: { text: "head" }, showgrid: false, tickvals: panel.rows.map((_, i) => i), ticktext: panel.rows.map(plain), ticks: "" },
    shapes: breaks.map((y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: y, y1: y, line: { color: ink("paper"), width: 3 } })),
  });
}

const diverging = () => inks("diverging").map((c, i, all) => [i / (all.length - 1), c]);

function bar(text) {
  return {
    thickness: 9, len: 1, xpad: 6, ypad: 0, outlinewidth: 0, tickfont: { size: 11 }, nticks: 6,
    title: { text: plain(text), side: "right", font: { size: 12.5 } },
  };
}

function drawHeadLines(run, panel, element) {
  const colours = inks("series");
  const peak = panel.value.map((row) => Math.max(...row.map((v) => Math.abs(v ?? 0))));
  const order = peak.map((_, r) => r).sort((a, b) => peak[b] - peak[a]);
  const strong = order.slice(0, STRONGEST).filter((r) => peak[r] >= 0.25 * peak[order[0]]);
  const at = place(run.steps);
  const traces = order.slice(strong.length).reverse().map((r) => ({
    x: panel.steps.map(at), y: panel.value[r], mode: "lines", line: { color: ink("faint"), width: 1 }, showlegend: false,
    hovertemplate: `${plain(panel.rows[r])}<br>%{y:.3g}<extra></extra>`,
  }));
  strong.forEach((r, i) => traces.push(...ribbon(panel.steps, panel, r, colours[i % colours.length], { dash: DASHES[i % DASHES.length] })));
  for (const control of run.heads.filter((p) => p.keys.metric === panel.keys.metric && p.keys.control !== "none")) {
    const highest = Math.max(...control.value.flat().filter((v) => v !== null));
    traces.push(level(highest, `${control.keys.control}: largest head ${number(highest)}`, ink("muted"), "dot", [at(0), run.steps.at(-1)]));
  }
  plot(element, traces, {
    height: Math.max(320, 110 + 15 * panel.rows.length), showlegend: true, xaxis: stepAxis(run.steps),
    yaxis: { title: { text: plain(labelOf(run, panel.keys.metric)) }, ...range(run, panel) },
  });
}

/** The strongest head of every relation at the selected checkpoint, and the strongest one of each control. */
function describeBest(run, relations, place) {
  const controls = [...new Set(run.heads.map((p) => p.keys.control))].filter((c) => c !== "none");
  const table = make("table");
  const head = make("tr");
  for (const text of ["relation", "strongest head", "score", "95% CI", ...controls]) head.append(make("th", text, { scope: "col" }));
  table.append(head);
  for (const panel of relations) {
    const [row, column] = strongest(panel);
    const line = make("tr");
    line.append(make("th", panel.keys.metric, { scope: "row" }), make("td", panel.rows[row], { class: "big" }),
      make("td", number(panel.value[row][column])), make("td", interval(panel, row, column) || "–"));
    for (const name of controls) {
      const control = run.heads.find((p) => p.keys.metric === panel.keys.metric && p.keys.control === name);
      line.append(make("td", control ? number(control.value[strongest(control)[0]][strongest(control)[1]]) : "–"));
    }
    table.append(line);
  }
  place.replaceChildren(table);
}

function strongest(panel) {
  const column = nearest(panel.steps, page.step);
  const values = panel.value.map((row) => Math.abs(row[column] ?? 0));
  return [values.indexOf(Math.max(...values)), column];
}
