// Faithfulness of the circuit, compared with random circuits of its size; points with their intervals.

function faithfulnessView(run) {
  if (!run.faithfulness) return;
  addView(part(run, "faithfulness"), (el) => drawFaithfulness(run, el));
  caption(run, "faithfulness", "Faithfulness: share of the behaviour that remains when everything outside the circuit is resample-ablated, at the last checkpoint " +
    "and on held-out prompts: 1 is the full model, 0 the fully resample-ablated run; bars are 95% CIs over prompts. " +
    "A circuit is informative only where random circuits with as many edges are less faithful.");
}

function drawFaithfulness(run, element) {
  const rows = run.faithfulness;
  const colours = inks("series");
  const flat = rows.flatMap((row, y) => row.points.map((p, i) => ({ ...p, name: row.name, y: -y + (row.points.length > 1 ? 0.3 - (0.6 * i) / (row.points.length - 1) : 0) })));
  plot(element, [{
    x: flat.map((p) => p.value), y: flat.map((p) => p.y), mode: "markers",
    marker: { size: 8, color: flat.map((p) => (p.name === "the circuit" ? colours[1] : colours[0])), symbol: flat.map((p) => (p.name.startsWith("random") ? "circle-open" : "diamond")) },
    error_x: {
      type: "data", symmetric: false, thickness: 1.5, width: 3, color: ink("muted"),
      array: flat.map((p) => (p.high === null ? 0 : p.high - p.value)), arrayminus: flat.map((p) => (p.low === null ? 0 : p.value - p.low)),
    },
    customdata: flat.map((p) => [plain(p.name), p.low === null ? "" : `[${number(p.low)}, ${number(p.high)}]`, p.edges === null ? "" : `, ${whole(p.edges)} edges`]),
    hovertemplate: "%{customdata[0]}%{customdata[2]}<br>%{x:.3g} %{customdata[1]}<extra></extra>",
  }], {
    height: 80 + 32 * rows.length, margin: { l: 56, r: 14, t: 12, b: 46 }, showlegend: false,
    xaxis: { title: { text: "share of the behaviour" } },
    yaxis: { tickvals: rows.map((_, y) => -y), ticktext: rows.map((r) => plain(r.name)), ticks: "", range: [0.6 - rows.length, 0.6] },
  });
}
