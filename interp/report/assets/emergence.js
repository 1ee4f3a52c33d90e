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
  const limits = (end) => found.map((e) => (e[end] === null ? null : at(e[end])));
  const span = (e) => (e.low === null ? "" : ` [${whole(e.low)}, ${e.high === null ? "–" : whole(e.high)}]`);
  drawFigure(element, {
    height: 70 + 26 * found.length, x: stepAxis(run.steps),
    y: { names: found.map((e) => `${e.subject} · ${relationName(e.metric)}`).reverse() },
    series: [{
      x: found.map((e) => at(e.step)), y: found.map((_, i) => found.length - 1 - i), line: false, mark: "circle", size: 10, hollow: true, colour: ink("accent"),
      low: limits("low"), high: limits("high"), along: "x", spread: "bars", bar: ink("muted"),
      tell: (i) => `${found[i].subject}, ${relationName(found[i].metric)}\nstep ${whole(found[i].step)}${span(found[i])}`,
    }],
  });
}

function moveEmergence(run, events, element) {
  const step = run.steps[nearest(run.steps, page.step)];
  element.figure.set(0, { hollow: events.filter((e) => e.step !== null).map((e) => e.step > step) });
  movePoint(run, element);
}
