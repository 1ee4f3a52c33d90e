// The first figure: loss over steps and scores of single output positions, both with the closed-form Bayes risk and chance;
// and a table of the selected checkpoint.

const MANY_OUTPUTS = 6;

const labelOf = (run, metric) => run.labels[metric] || metric;
/** A loss and the same over the label variance are one scale, and share their levels. */
const scaleOf = (metric) => metric.replace(/^loss \/ .*/, "loss");
const levelsOf = (run, metric, kind) => run.levels.filter((l) => scaleOf(l.metric) === scaleOf(metric) && l.level === kind);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** The Bayes risk, or chance, of one output position, else of "all". */
function levelAt(run, metric, kind, read) {
  const found = levelsOf(run, metric, kind);
  const own = found.find((l) => l.position === read) || (read === "all" && found.length ? { value: mean(found.map((l) => l.value)) } : null);
  return own ? own.value : null;
}

function learningViews(run) {
  if (run.metrics) addView(part(run, "loss"), (el) => drawLoss(run, el), (el) => movePoint(run, el));
  if (run.scores) scoreViews(run);
  const words = [];
  if (run.metrics) words.push(lossWords(run));
  if (run.scores) words.push((run.metrics ? "Right: each" : "Each") + (run.scores[0].rows.length > MANY_OUTPUTS ? PROFILE_WORDS : SCORE_WORDS));
  if (words.length) caption(run, "learning", words.join(" "));
  for (const view of ["loss", "scores"]) {
    const element = part(run, view);
    if (element && !views.has(element)) element.remove();
  }
}

/** Shares come before losses: a share can be judged without knowing the Bayes risk. */
function scoreViews(run) {
  const panels = [...run.scores].sort((a, b) => run.lower.includes(a.keys.metric) - run.lower.includes(b.keys.metric));
  let panel = panels[0];
  const many = () => panel.rows.length > MANY_OUTPUTS;
  const places = [part(run, "scores"), part(run, "live")];
  choice(article(run).querySelector('[data-controls="learning"]'), "Score", panels.map((p) => p.keys.metric), (i) => {
    panel = panels[i];
    redraw(places);
  });
  addView(places[0], (el) => (many() ? drawProfile : drawScores)(run, panel, el),
    (el) => (many() ? moveProfile(run, panel, el) : movePoint(run, el)));
  addView(places[1], () => {}, (el) => tellScores(run, panel, el));
}

const SCORE_WORDS = " line is one output position of the prompt, with its 95% CI over prompts as a band; dotted lines are " +
  "the level of guessing without the examples (chance), dashed grey ones the Bayes risk (the smallest loss that any predictor can reach).";
const PROFILE_WORDS = " point is one output position, in prompt order, at the selected checkpoint, compared with the first checkpoint, " +
  "the Bayes risk (the smallest loss that any predictor can reach) and chance. In-context learning appears as a fall towards it from left to right.";

function lossWords(run) {
  const averaged = run.metrics.each > 1 ? ` (each point averages ${run.metrics.each} logged steps)` : "";
  return `Left: training loss${averaged}; the vertical line is the selected checkpoint. A curve that reaches the Bayes risk has ` +
    "no room to improve.";
}

function movePoint(run, element) {
  const step = run.steps[nearest(run.steps, page.step)];
  point(element, place(run.steps)(step));
}

function drawLoss(run, element) {
  const ends = [place(run.steps)(0), Math.max(...run.steps, ...run.metrics.steps)];
  const series = Object.entries(run.metrics.series).map(([name, y], i) =>
    curve(lossName(run, name), run.metrics.steps, y, { colour: hue(i), dash: dashOf(i), bridged: true }));
  for (const [kind, dash] of [["bayes_risk", "dash"], ["chance", "dot"]]) {
    const value = levelAt(run, "loss", kind, "all");
    if (value !== null) series.push(level(value, `${LEVEL_NAMES[kind]} ${number(value)}`, dash, ends));
  }
  drawFigure(element, { x: stepAxis(run.steps), y: { title: labelOf(run, "loss"), zero: true }, series, legend: true });
}

/** "loss" is what the optimiser saw; the other columns say themselves what they are. */
const lossName = (run, name) => (name === "loss" ? "training loss" : labelOf(run, name) === name ? name.replace(/_/g, " ") : labelOf(run, name));

function drawScores(run, panel, element) {
  const metric = panel.keys.metric;
  const ends = [place(run.steps)(0), run.steps.at(-1)];
  const series = panel.rows.map((_, row) => ribbon(panel.steps, panel, row, hue(row), { dash: dashOf(row) }));
  for (const [kind, dash] of [["chance", "dot"], ["bayes_risk", "dash"]]) {
    const found = levelsOf(run, metric, kind);
    for (const [value, reads] of alike(found.filter((l) => panel.rows.includes(l.position)))) {
      const whose = reads.length < panel.rows.length ? ` (${reads.join(", ")})` : "";
      series.push(level(value, `${LEVEL_NAMES[kind]} ${number(value)}${whose}`, dash, ends));
    }
  }
  drawFigure(element, { x: stepAxis(run.steps), y: { title: labelOf(run, metric), ...range(run, panel) }, series, legend: true });
}

/** Output positions by the level that they share. */
function alike(levels) {
  const found = new Map();
  for (const l of levels) found.set(l.value, [...(found.get(l.value) || []), l.position]);
  return found;
}

/** Shares keep the whole scale from 0 to 1; anything else is scaled to its values. */
function range(run, panel) {
  const values = panel.value.flat().filter((v) => v !== null);
  const share = !run.lower.includes(panel.keys.metric) && values.every((v) => v >= 0 && v <= 1);
  return share ? { range: [-0.02, 1.04] } : { zero: values.every((v) => v >= 0) };
}

function drawProfile(run, panel, element) {
  const metric = panel.keys.metric;
  const x = panel.rows.map((_, i) => i);
  const last = panel.steps.length - 1;
  const named = (name, y, style) => ({ x, y, name, tell: (i) => `${name}\n${panel.rows[i]}: ${number(y[i])}`, ...style });
  const column = (of, i) => panel[of] && panel[of].map((v) => v[i]);
  const series = [
    { x, y: column("value", last), name: "selected checkpoint", colour: ink("accent"), width: 2.5, mark: "circle", size: 6, spread: "bars", low: column("low", last), high: column("high", last) },
    named(`step ${whole(panel.steps[0])}`, column("value", 0), { colour: hue(0), width: 1.5, dash: "dashdot" }),
  ];
  for (const [kind, dash] of [["bayes_risk", "dash"], ["chance", "dot"]]) {
    const y = panel.rows.map((read) => levelAt(run, metric, kind, read));
    if (y.some((v) => v !== null)) series.push(named(LEVEL_NAMES[kind], y, { colour: ink("muted"), width: 1.5, dash }));
  }
  const highest = Math.max(...series.slice(1).flatMap((s) => s.y), ...panel.value.flat().filter((v) => v !== null));
  drawFigure(element, {
    x: { title: "output position (in prompt order)", names: panel.rows }, y: { title: labelOf(run, metric), range: [0, 1.06 * highest] }, series, legend: true,
  });
}

function moveProfile(run, panel, element) {
  const i = nearest(panel.steps, page.step);
  const column = (of) => panel[of] && panel[of].map((v) => v[i]);
  const name = `step ${whole(panel.steps[i])} (selected)`;
  const tell = (r) => `${panel.rows[r]} at step ${whole(panel.steps[i])}\n${number(panel.value[r][i])} ${interval(panel, r, i)}`;
  element.figure.set(0, { y: column("value"), low: column("low"), high: column("high"), name, tell });
}

/** The selected checkpoint in numbers: a few output positions with their intervals and reference levels. */
function tellScores(run, panel, element) {
  const i = nearest(panel.steps, page.step);
  const metric = panel.keys.metric;
  const count = panel.rows.length;
  const rows = count <= MANY_OUTPUTS ? panel.rows.map((_, r) => r)
    : [...new Set([0, 1, 2, 3].map((k) => Math.round((k * (count - 1)) / 3)))];
  const kinds = ["bayes_risk", "chance"].filter((kind) => levelsOf(run, metric, kind).length);
  const table = make("table");
  const head = make("tr");
  for (const text of ["output", metric, "95% CI", ...kinds.map((kind) => LEVEL_NAMES[kind])]) head.append(make("th", text, { scope: "col" }));
  table.append(head);
  for (const r of rows) {
    const line = make("tr");
    line.append(make("th", panel.rows[r], { scope: "row" }), make("td", number(panel.value[r][i]), { class: "big" }),
      make("td", interval(panel, r, i) || "–"));
    for (const kind of kinds) line.append(make("td", number(levelAt(run, metric, kind, panel.rows[r]))));
    table.append(line);
  }
  element.replaceChildren(make("h2", `At step ${whole(panel.steps[i])}`), table);
}
