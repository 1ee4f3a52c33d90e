// How much of the behaviour the circuit carries, beside matched random circuits, and what circuits of every size carry.

function faithfulnessView(run) {
  if (!run.faithfulness) return;
  addView(part(run, "faithfulness"), (el) => drawFaithfulness(run, el));
  caption(run, "faithfulness", "Share of the behaviour left when everything outside the circuit is resample-ablated, at the last checkpoint " +
    "and on prompts other than those that chose it: 1 is the whole model, 0 the resample-ablated run; bars are 95% CIs over prompts (bootstrap). " +
    "Matched random circuits have as many edges between the same layers and slots: a circuit is informative only where they carry less.");
  if (run.faithfulness.sizes.length < 2) return;
  part(run, "sizes").closest("figure").hidden = false;
  addView(part(run, "sizes"), (el) => drawSizes(run, el));
  caption(run, "sizes", "Faithfulness against size: nested circuits, pruned edge after edge, on the same prompts; bars are 95% CIs. The diamond is " +
    "the circuit drawn above: the smallest that keeps the faithfulness asked for. No size is the right one: fewer edges carry less.");
}

function drawFaithfulness(run, element) {
  const rows = run.faithfulness.judged;
  const spread = (row, i) => (row.points.length > 1 ? 0.3 - (0.6 * i) / (row.points.length - 1) : 0);
  const flat = rows.flatMap((row, y) => row.points.map((p, i) => ({ ...p, name: row.name, y: rows.length - 1 - y + spread(row, i) })));
  const crowd = (p) => p.name.startsWith("matched random");
  drawFigure(element, {
    height: 70 + 32 * rows.length, x: { title: "share of the behaviour" }, y: { names: rows.map((r) => r.name).reverse() },
    series: [{
      x: flat.map((p) => p.value), y: flat.map((p) => p.y), line: false, mark: flat.map((p) => (crowd(p) ? "circle" : "diamond")), hollow: flat.map(crowd),
      size: flat.map((p) => (crowd(p) ? 5 : 9)), colours: flat.map((p) => (p.name === "the circuit" ? hue(1) : hue(0))),
      low: flat.map((p) => (crowd(p) ? null : p.low)), high: flat.map((p) => (crowd(p) ? null : p.high)), along: "x", spread: "bars", bar: ink("muted"),
      tell: (i) => `${flat[i].name}${flat[i].edges === null ? "" : `, ${whole(flat[i].edges)} edges`}\n${number(flat[i].value)}${between(flat[i].low, flat[i].high)}`,
    }],
  });
}

function drawSizes(run, element) {
  const sizes = run.faithfulness.sizes;
  drawFigure(element, {
    height: 270, x: { title: "edges", zero: true }, y: { title: "share of the behaviour" },
    series: [{
      x: sizes.map((p) => p.edges), y: sizes.map((p) => p.value), colour: hue(0), width: 1.5, mark: sizes.map((p) => (p.chosen ? "diamond" : "circle")),
      size: sizes.map((p) => (p.chosen ? 11 : 6)), colours: sizes.map((p) => (p.chosen ? hue(1) : hue(0))),
      low: sizes.map((p) => p.low), high: sizes.map((p) => p.high), spread: "bars", bar: ink("muted"),
      tell: (i) => `${sizes[i].edges} edges${sizes[i].heads === null ? "" : `, ${whole(sizes[i].heads)} heads`}\n${number(sizes[i].value)}${between(sizes[i].low, sizes[i].high)}`,
    }],
  });
}
