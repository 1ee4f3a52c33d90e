// How much of the behaviour the circuit carries, beside matched random circuits, and what circuits of every size carry.

function faithfulnessView(run) {
  if (!run.faithfulness) return;
  addView(part(run, "faithfulness"), (el) => drawFaithfulness(run, el));
  caption(run, "faithfulness", "Share of the behaviour left when everything outside the circuit is resample-ablated, at the last checkpoint " +
    "and on prompts other than those that chose it: 1 is the whole model, 0 the resample-ablated run; bars are 95% CIs over prompts (bootstrap). " +
    "Matched random circuits have as many edges between the same layers and slots: a circuit is informative only where they carry less.");
  if (run.faithfulness.sizes.length < 2) return;
  part(run, "sizes").hidden = false;
  addView(part(run, "sizes"), (el) => drawSizes(run, el));
  caption(run, "sizes", "Faithfulness against size: nested circuits, pruned edge after edge, on the same prompts; bars are 95% CIs. The diamond is " +
    "the circuit drawn above: the smallest that keeps the faithfulness asked for. No size is the right one: fewer edges carry less.");
}

function drawFaithfulness(run, element) {
  const rows = run.faithfulness.judged;
  const colours = inks("series");
  const spread = (row, i) => (row.points.length > 1 ? 0.3 - (0.6 * i) / (row.points.length - 1) : 0);
  const flat = rows.flatMap((row, y) => row.points.map((p, i) => ({ ...p, name: row.name, y: -y + spread(row, i) })));
  const crowd = (p) => p.name.startsWith("matched random");
  plot(element, [{
    x: flat.map((p) => p.value), y: flat.map((p) => p.y), mode: "markers",
    marker: {
      size: flat.map((p) => (crowd(p) ? 4 : 8)), color: flat.map((p) => (p.name === "the circuit" ? colours[1] : colours[0])),
      symbol: flat.map((p) => (crowd(p) ? "circle-open" : "diamond")),
    },
    error_x: bars(flat.map((p) => (crowd(p) ? { ...p, low: null, high: null } : p))),
    customdata: flat.map((p) => [plain(p.name), p.low === null ? "" : `[${number(p.low)}, ${number(p.high)}]`, p.edges === null ? "" : `, ${whole(p.edges)} edges`]),
    hovertemplate: "%{customdata[0]}%{customdata[2]}<br>%{x:.3g} %{customdata[1]}<extra></extra>",
  }], {
    height: 80 + 32 * rows.length, margin: { l: 56, r: 14, t: 12, b: 46 }, showlegend: false,
    xaxis: { title: { text: "share of the behaviour" } },
    yaxis: { tickvals: rows.map((_, y) => -y), ticktext: rows.map((r) => plain(r.name)), ticks: "", range: [0.6 - rows.length, 0.6] },
  });
}

function drawSizes(run, element) {
  const sizes = run.faithfulness.sizes;
  const colours = inks("series");
  plot(element, [{
    x: sizes.map((p) => p.edges), y: sizes.map((p) => p.value), mode: "lines+markers", line: { color: colours[0], width: 1.5 },
    marker: {
      size: sizes.map((p) => (p.chosen ? 11 : 5)), color: sizes.map((p) => (p.chosen ? colours[1] : colours[0])),
      symbol: sizes.map((p) => (p.chosen ? "diamond" : "circle")),
    },
    error_y: bars(sizes),
    customdata: sizes.map((p) => [p.low === null ? "" : `[${number(p.low)}, ${number(p.high)}]`, p.heads === null ? "" : `, ${whole(p.heads)} heads`]),
    hovertemplate: "%{x} edges%{customdata[1]}<br>%{y:.3g} %{customdata[0]}<extra></extra>",
  }], {
    height: 280, margin: { l: 56, r: 14, t: 12, b: 46 }, showlegend: false,
    xaxis: { title: { text: "edges" }, rangemode: "tozero" }, yaxis: { title: { text: "share of the behaviour" } },
  });
}

/** Bars from each point's low to its high; none where there is no interval. */
function bars(points) {
  return {
    type: "data", symmetric: false, thickness: 1.5, width: 3, color: ink("muted"),
    array: points.map((p) => (p.high === null ? 0 : p.high - p.value)), arrayminus: points.map((p) => (p.low === null ? 0 : p.value - p.low)),
  };
}
