// The first figure: loss over steps and scores of single output positions, both with the closed-form Bayes risk and chance;
// and a table of the selected checkpoint.

const MANY_OUTPUTS = 6;

const labelOf = (run, metric) => run.labels[metric] || metric;
const levelsOf = (run, metric, kind) => run.levels.filter((l) => l.metric === metric && l.level === kind);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const LEVEL_NAMES = { bayes_risk: "Bayes risk", chance: "chance" };

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
  const colours = inks("series");
  const at = place(run.steps);
  const x = run.metrics.steps.map(at);
  const ends = [at(0), Math.max(...run.steps, ...run.metrics.steps)];
  const traces = Object.entries(run.metrics.series).map(([name, y], i) => ({
    x, y, name: plain(labelOf(run, name) === name ? name : name.replace(/_/g, " ")), mode: "lines", connectgaps: true,
    line: { color: colours[i % colours.length], width: 2, dash: DASHES[i % DASHES.length] },
    hovertemplate: "step %{x:,}<br>%{y:.4g}<extra></extra>",
  }));
  for (const [kind, dash] of [["bayes_risk", "dash"], ["chance", "dot"]]) {
    const value = levelAt(run, "loss", kind, "all");
    if (value !== null) traces.push(level(value, `${LEVEL_NAMES[kind]} ${number(value)}`, ink("muted"), dash, ends));
  }
  plot(element, traces, {
    xaxis: stepAxis(run.steps), yaxis: { title: { text: plain(labelOf(run, "loss")) }, rangemode: "tozero" }, showlegend: true,
  });
}

function drawScores(run, panel, element) {
  const metric = panel.keys.metric;
  const colours = inks("series");
  const ends = [place(run.steps)(0), run.steps.at(-1)];
  const traces = panel.rows.flatMap((_, row) =>
    ribbon(panel.steps, panel, row, colours[row % colours.length], { dash: DASHES[row % DASHES.length] }));
  for (const [kind, dash] of [["chance", "dot"], ["bayes_risk", "dash"]]) {
    const found = levelsOf(run, metric, kind);
    const values = [...new Set(found.map((l) => l.value))];
    if (values.length === 1) traces.push(level(values[0], `${LEVEL_NAMES[kind]} ${number(values[0])}`, ink("muted"), dash, ends));
    else for (const l of found) {
      const row = panel.rows.indexOf(l.position);
      if (row >= 0) traces.push({ ...level(l.value, `${LEVEL_NAMES[kind]}, ${l.position}`, colours[row % colours.length], dash, ends), showlegend: false });
    }
  }
  plot(element, traces, {
    xaxis: stepAxis(run.steps), yaxis: { title: { text: plain(labelOf(run, metric)) }, ...range(run, panel) }, showlegend: true,
  });
}

/** Shares keep the whole scale from 0 to 1; anything else is scaled to its values. */
function range(run, panel) {
  const values = panel.value.flat().filter((v) => v !== null);
  const share = !run.lower.includes(panel.keys.metric) && values.every((v) => v >= 0 && v <= 1);
  return share ? { range: [-0.02, 1.04] } : { rangemode: "tozero" };
}

function drawProfile(run, panel, element) {
  const metric = panel.keys.metric;
  const outputs = panel.rows.map(plain);
  const last = panel.steps.length - 1;
  const line = (name, y, style) => ({ x: outputs, y, name, mode: "lines", line: style, hovertemplate: `${name}<br>%{x}: %{y:.3g}<extra></extra>` });
  const traces = [
    { ...line("selected checkpoint", panel.value.map((v) => v[last]), { color: ink("accent"), width: 2.5 }), mode: "lines+markers",
      marker: { size: 6 }, error_y: { type: "data", symmetric: false, thickness: 1, width: 0, array: [], arrayminus: [] } },
    line(`step ${whole(panel.steps[0])}`, panel.value.map((v) => v[0]), { color: inks("series")[0], width: 1.5, dash: "dashdot" }),
  ];
  for (const [kind, dash] of [["bayes_risk", "dash"], ["chance", "dot"]]) {
    const y = panel.rows.map((read) => levelAt(run, metric, kind, read));
    if (y.some((v) => v !== null)) traces.push(line(LEVEL_NAMES[kind], y, { color: ink("muted"), width: 1.5, dash }));
  }
  const every = Math.ceil(outputs.length / 10);
  const highest = Math.max(...traces.slice(1).flatMap((t) => t.y), ...panel.value.flat().filter((v) => v !== null));
  plot(element, traces, {
    xaxis: { title: { text: "output position (in prompt order)" }, type: "category", tickvals: outputs.filter((_, i) => i % every === 0), showgrid: false },
    yaxis: { title: { text: plain(labelOf(run, metric)) }, range: [0, 1.06 * highest] }, showlegend: true,
  });
}

function moveProfile(run, panel, element) {
  const i = nearest(panel.steps, page.step);
  const y = panel.value.map((v) => v[i]);
  const update = { y: [y], name: [`step ${whole(panel.steps[i])} (selected)`] };
  if (panel.low) {
    update["error_y.array"] = [y.map((v, r) => panel.high[r][i] - v)];
    update["error_y.arrayminus"] = [y.map((v, r) => v - panel.low[r][i])];
  }
  Plotly.restyle(element, update, [0]);
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
