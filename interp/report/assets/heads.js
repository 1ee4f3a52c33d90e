// Head scores over checkpoints: a map of every head, and the strongest ones as lines with their intervals.

const STRONGEST = 6;

function headViews(run) {
  if (!run.heads) return;
  const relations = run.heads.filter((p) => p.keys.control === "none");
  if (!relations.length) return;
  let chosen = relations[0];
  const places = ["head-map", "head-lines"].map((name) => part(run, name));
  choice(article(run).querySelector('[data-controls="heads"]'), "Relation", relations.map((p) => relationName(p.keys.metric)), (i) => {
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
  const high = signed ? top : Math.max(top, values.every((v) => v <= 1) ? 1 : top);
  drawFigure(element, {
    height: headHeight(panel), x: columnAxis(panel.steps), y: { title: "head", names: panel.rows },
    cells: {
      value: panel.value, low: signed ? -top : 0, high, stops: signed ? paints("diverging") : ramp(), bar: { title: relationName(panel.keys.metric) },
      breaks: layers.map((l, i) => (i && l !== layers[i - 1] ? i - 0.5 : null)).filter((v) => v !== null),
      tell: (r, c) => `${panel.rows[r]} at step ${whole(panel.steps[c])}\n${number(panel.value[r][c])} ${interval(panel, r, c)}`,
    },
  });
}

const headHeight = (panel) => Math.max(320, 90 + 15 * panel.rows.length);

function drawHeadLines(run, panel, element) {
  const peak = panel.value.map((row) => Math.max(...row.map((v) => Math.abs(v ?? 0))));
  const order = peak.map((_, r) => r).sort((a, b) => peak[b] - peak[a]);
  const strong = order.slice(0, STRONGEST).filter((r) => peak[r] >= 0.25 * peak[order[0]]);
  const others = order.slice(strong.length).reverse();
  const series = others.map((r) => ({
    ...ribbon(panel.steps, { ...panel, low: null }, r, ink("line")), width: 1, legend: false,
  }));
  if (others.length) series.push({ x: [], y: [], name: others.length > 1 ? `the other ${others.length} heads` : "the other head", colour: ink("line"), width: 1 });
  strong.forEach((r, i) => series.push(ribbon(panel.steps, panel, r, hue(i), { dash: dashOf(i) })));
  const ends = [place(run.steps)(0), run.steps.at(-1)];
  for (const control of run.heads.filter((p) => p.keys.metric === panel.keys.metric && p.keys.control !== "none")) {
    const highest = Math.max(...control.value.flat().filter((v) => v !== null));
    series.push(level(highest, `${CONTROL_NAMES[control.keys.control] || control.keys.control}: largest head ${number(highest)}`, control.keys.control === "untrained" ? "dot" : "dash", ends));
  }
  drawFigure(element, { height: headHeight(panel), legend: true, x: stepAxis(run.steps), y: { title: relationName(labelOf(run, panel.keys.metric)), ...range(run, panel) }, series });
}

/** The strongest head of every relation at the selected checkpoint, and the strongest one of each control. */
function describeBest(run, relations, place) {
  const controls = [...new Set(run.heads.map((p) => p.keys.control))].filter((c) => c !== "none");
  const table = make("table");
  const head = make("tr");
  for (const text of ["relation", "strongest head", "score", "95% CI", ...controls.map((name) => CONTROL_NAMES[name] || name)]) head.append(make("th", text, { scope: "col" }));
  table.append(head);
  for (const panel of relations) {
    const [row, column] = strongest(panel);
    const line = make("tr");
    line.append(make("th", relationName(panel.keys.metric), { scope: "row" }), make("td", panel.rows[row], { class: "big" }),
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
