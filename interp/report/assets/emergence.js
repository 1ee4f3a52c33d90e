// When each skill and head emerged: one line a subject, earliest at the top, with the interval of the step.

function emergenceViews(run) {
  if (!run.emergence) return;
  const events = [...run.emergence].sort((a, b) => (a.step ?? Infinity) - (b.step ?? Infinity));
  addView(part(run, "emergence"), (el) => drawEmergence(run, events, el), (el) => moveEmergence(run, events, el));
  const never = events.filter((e) => e.step === null).map((e) => e.subject);
  caption(run, "emergence", "A point is the training step of the first sustained crossing of the threshold; the bar is " +
    (events[0].interval ? "its 95% CI over prompts. " : "the range since the previous checkpoint, within which it happened. ") +
    "Filled points lie at or before the selected checkpoint. The order is only resolved where bars do not overlap." +
    (never.length ? ` Right-censored (not emerged by the last checkpoint): ${never.join(", ")}.` : ""));
}

function drawEmergence(run, events, element) {
  const found = events.filter((e) => e.step !== null);
  const at = place(run.steps);
  const y = found.map((_, i) => -i);
  plot(element, [{
    x: found.map((e) => at(e.step)), y, mode: "markers", marker: { size: 10, color: ink("accent"), symbol: "circle-open", line: { width: 2 } },
    error_x: {
      type: "data", symmetric: false, color: ink("muted"), thickness: 1.5, width: 4,
      array: found.map((e) => (e.high === null ? 0 : at(e.high) - at(e.step))),
      arrayminus: found.map((e) => (e.low === null ? 0 : at(e.step) - at(e.low))),
    },
    customdata: found.map((e) => [plain(e.subject), plain(e.metric), whole(e.step), e.low === null ? "" : `[${whole(e.low)}, ${whole(e.high)}]`]),
    hovertemplate: "%{customdata[0]}, %{customdata[1]}<br>step %{customdata[2]} %{customdata[3]}<extra></extra>",
  }], {
    height: 90 + 30 * found.length, margin: { l: 56, r: 14, t: 12, b: 46 }, showlegend: false, xaxis: stepAxis(run.steps),
    yaxis: { tickvals: y, ticktext: found.map((e) => `${plain(e.subject)} · ${plain(e.metric)}`), ticks: "", range: [0.6 - found.length, 0.6] },
  });
}

function moveEmergence(run, events, element) {
  const step = run.steps[nearest(run.steps, page.step)];
  const symbols = events.filter((e) => e.step !== null).map((e) => (e.step <= step ? "circle" : "circle-open"));
  Plotly.restyle(element, { "marker.symbol": [symbols] }, [0]);
  movePoint(run, element);
}
