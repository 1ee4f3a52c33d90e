// One head of the circuit, beside its edges: where it attends over training, a summary of its weights, its pattern by
// CircuitsVis.

function headCard(run, node, card) {
  card.hidden = !node || node.kind !== "head";
  const place = card.querySelector('[data-part="head-facts"]');
  place.replaceChildren();
  if (card.hidden) return;
  if (run.showPattern) whenIdle(card, () => run.showPattern(node.layer, node.head));
  card.dataset.head = node.name;
  place.append(make("h3", `${node.name}: what it attends to, and what its weights show`));
  const box = make("div", "", { class: "pair" });
  const lines = make("div", "", { class: "plot", "data-part": "head-lines" });
  box.append(lines, weightTable(run, node));
  place.append(box);
  drawHeadScores(run, node, lines);
}

/** The same head at another checkpoint: its lines stay, the rest follows. */
function moveCard(run, node, card) {
  if (card.dataset.head !== node.name || card.hidden) return;
  if (run.showPattern) {
    run.paintPattern(node.layer, node.head);
    whenRested(card, () => run.showPattern(node.layer, node.head));
  }
  movePoint(run, card.querySelector('[data-part="head-lines"]'));
  card.querySelector('[data-part="head-facts"] .pair').lastChild.replaceWith(weightTable(run, node));
}

function drawHeadScores(run, node, element) {
  const own = (run.heads || []).filter((p) => p.keys.control === "none" && p.rows.includes(node.name));
  const peak = (p) => Math.max(...p.value[p.rows.indexOf(node.name)].map((v) => Math.abs(v ?? 0)));
  const shown = own.sort((a, b) => peak(b) - peak(a)).slice(0, 5);
  const series = shown.map((p, i) => {
    const row = p.rows.indexOf(node.name);
    return ribbon(p.steps, { ...p, rows: p.rows.map(() => relationName(p.keys.metric)) }, row, hue(i), { dash: dashOf(i) });
  });
  drawFigure(element, { height: 240, legend: true, x: stepAxis(run.steps), y: { title: "attention mass" }, series });
  movePoint(run, element);
}

/** Positive shares at the nearest measured checkpoint, and the earlier head each side composes with most. */
function weightTable(run, node) {
  if (!run.weights) return make("p", "No weight summary was measured for this run.", { class: "absent" });
  const table = make("table");
  const head = make("tr");
  for (const text of ["weight statistic", "value", "interpretation"]) head.append(make("th", text, { scope: "col" }));
  table.append(head);
  const told = (name, value, why) => {
    const line = make("tr");
    line.append(make("th", name, { scope: "row" }), make("td", value, { class: "big" }), make("td", why));
    table.append(line);
  };
  for (const p of run.weights.shares) {
    const row = p.rows.indexOf(node.name);
    const i = nearest(p.steps, page.step);
    const why = p.keys.metric.startsWith("OV") ? "near 1: copies what it attends to" : "near 1: attends to tokens that resemble the query token";
    if (row >= 0) told(`${p.keys.metric}, step ${whole(p.steps[i])}`, number(p.value[row][i]), `${why}; random weights: 0`);
  }
  for (const j of run.weights.joined.filter((w) => w.head === node.name)) {
    told(`${j.metric}, largest with ${j.sender}`, number(j.value), `maximum over random weights: ${number(j.random)}; at the last checkpoint`);
  }
  return table;
}
