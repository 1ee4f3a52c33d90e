// Comparison of runs: thin lines are single runs, thick ones the mean over the seeds of a condition with its interval.

const FEW_OUTPUTS = 4;  // up to so many output positions have a plot each
const MANY_CIRCUITS = 8;

function compareViews(groups) {
  groups.forEach((group, index) => {
    const place = document.querySelector(`[data-group="${index}"]`);
    const at = (name) => place.querySelector(`[data-view="compare-${name}"]`);
    const steps = [...new Set(group.runs.flatMap((r) => page.runs[r].steps))].sort((a, b) => a - b);
    const all = { ...group, steps };
    const controls = place.querySelector('[data-controls="compare"]');
    const move = (el) => point(el, placeOf(all)(nearestStep(all)));
    addView(at("loss"), (el) => drawLosses(all, el), move);
    if (!outputPlots(all, at("scores"), move)) comparePanels(all, "scores", controls, at("scores"), move);
    comparePanels(all, "heads", controls, at("heads"), move);
    if (group.runs.some((r) => page.runs[r].emergence)) addView(at("emergence"), (el) => drawOnsets(all, el), move);
    else at("emergence").remove();
    compareCircuits(all, place);
    place.querySelector("[data-caption]").textContent = "Each thin line is one run; a thick line is the mean over the runs of a condition (the same settings " +
      "but for the seeds), its band the range of two or three runs, and of four or more the 95% CI over runs (Student's t). " +
      "Training losses cover the output positions that a condition is trained on: between conditions, compare accuracies. For heads, the score of the strongest head on the relation is shown, whichever head it is. Last: the step at which each accuracy and each relation " +
      "(its earliest head) emerged, one mark per run with its 95% CI over prompts; a triangle at the end of the run is right-censored (not emerged by then). " +
      "Conditions differ by colour, dash and marker.";
  });
}

/** A plot for every output position that has an accuracy, where these are few. False where there are none or too many. */
function outputPlots(group, element, move) {
  const outputs = optionsOf(group, "scores").filter(([metric]) => metric === "accuracy");
  if (!outputs.length || outputs.length > FEW_OUTPUTS) return false;
  const places = outputs.map(([, read], i) => (i ? make("div", "", { class: "plot", "data-view": `compare-scores-${i}` }) : element));
  element.after(...places.slice(1));
  places.forEach((place, i) => addView(place, (el) => drawConditions(group, "scores", outputs[i], el), move));
  return true;
}

/** Metrics and rows that any condition has, those of the condition with most of them first. */
function optionsOf(group, kind) {
  const found = new Map();
  for (const condition of [...group.conditions].sort((a, b) => size(b) - size(a))) {
    for (const p of condition[kind] || []) for (const row of p.rows) found.set(`${p.keys.metric}/${row}`, [p.keys.metric, row]);
  }
  return [...found.values()];

  function size(condition) { return (condition[kind] || []).reduce((sum, p) => sum + p.rows.length, 0); }
}

/** The circuits of the runs, two a row; of many runs the first of every condition. */
function compareCircuits(group, place) {
  const shown = group.runs.length > MANY_CIRCUITS ? group.conditions.map((condition) => condition.runs[0]) : group.conditions.flatMap((condition) => condition.runs);
  const circuits = place.querySelector('[data-part="circuits"]');
  const told = place.querySelector('[data-part="circuit-told"]');
  if (!shown.some((r) => page.runs[r].circuit)) { circuits.closest("figure").remove(); return; }
  for (const r of shown) {
    const run = page.runs[r];
    const box = make("div");
    box.append(make("h3", group.conditions.length > 1 ? `${run.title} (${group.conditions[conditionOf(group, r)].name})` : run.title));
    circuits.append(box);
    if (!run.circuit) { box.append(make("p", `Not shown: ${group.no_circuit[r] || "no circuit was searched for this run."}`, { class: "absent" })); continue; }
    const element = make("div", "", { class: "circuit", "data-view": `compare-circuit-${r}` });
    box.append(element);
    const state = { chosen: null, edges: [] };
    const tell = (node) => { told.textContent = `${run.title}, ${describeNode(run, node)}`; };
    addView(element, (el) => drawCircuit(run, state, el, () => goToCircuit(r), tell, HALF), (el) => moveCircuit(run, state, el));
  }
}

const HALF = 680;  // drawn on half of the page

function goToCircuit(index) {
  showRun(index);
  byId("run-select").value = index;
  byId(`h-circuit-${index}`).scrollIntoView({ block: "start" });
}

const placeOf = (group) => place(group.steps);
const nearestStep = (group) => group.steps[nearest(group.steps, page.step)];
const conditionOf = (group, run) => group.conditions.findIndex((condition) => condition.runs.includes(run));

function drawLosses(group, element) {
  const series = group.runs.filter((r) => page.runs[r].metrics).map((r) => {
    const run = page.runs[r];
    const condition = conditionOf(group, r);
    const style = { colour: hue(group.conditions.length > 1 ? condition : r), width: 1.6, dash: dashOf(condition), bridged: true };
    return onGroup(group, run.title, run.metrics.steps, run.metrics.series.loss || Object.values(run.metrics.series)[0], style);
  });
  drawFigure(element, {
    title: "training loss", legend: true, x: stepAxis(group.steps), y: { title: labelOf(page.runs[group.runs[0]], "loss"), zero: true }, series,
  });
}

/** A run's curve on the steps of the whole group, which decide where step 0 stands on a log axis. */
const onGroup = (group, name, steps, y, style) => ({ ...curve(name, steps, y, style), x: steps.map(placeOf(group)) });

/** One metric and row of the averaged panels, chosen by name; every condition's mean over its runs. */
function comparePanels(group, kind, controls, element, move) {
  const options = optionsOf(group, kind);
  if (!options.length) { element.remove(); return; }
  const first = Math.max(0, options.findLastIndex(([metric]) => metric === "accuracy"));
  let chosen = options[first];
  const label = kind === "scores" ? "Score" : "Relation";
  choice(controls, label, options.map(([metric, row]) => (kind === "scores" ? `${metric} · ${row}` : relationName(metric))), (i) => { chosen = options[i]; redraw([element]); });
  const select = [...controls.querySelectorAll("select")].at(-1);
  if (options.length > 1) select.value = first;
  addView(element, (el) => drawConditions(group, kind, chosen, el), move);
}

function drawConditions(group, kind, [metric, row], element) {
  const series = group.runs.flatMap((r) => singleRun(page.runs[r], kind, metric, row).map((line) =>
    onGroup(group, page.runs[r].title, line.x, line.y, { colour: hue(conditionOf(group, r)), width: 1, opacity: 0.45, legend: false })));
  group.conditions.forEach((condition, i) => {
    const panel = (condition[kind] || []).find((p) => p.keys.metric === metric && p.rows.includes(row));
    if (!panel) return;
    const named = { ...panel, rows: panel.rows.map(() => condition.name) };
    series.push({ ...ribbon(panel.steps, named, panel.rows.indexOf(row), hue(i), { dash: dashOf(i) }), x: panel.steps.map(placeOf(group)) });
  });
  const guessed = new Set(kind === "scores" ? group.runs.map((r) => levelAt(page.runs[r], metric, "chance", row)) : []);
  for (const value of guessed) {
    if (value !== null) series.push(level(value, `chance ${number(value)}`, "dot", [placeOf(group)(0), group.steps.at(-1)]));
  }
  const title = kind === "scores" ? `${metric}, ${row}` : `${relationName(metric)}, strongest head`;
  drawFigure(element, { title, legend: group.conditions.length > 1, x: stepAxis(group.steps), y: compareRange(series), series });
}

/** Shares keep the scale from 0 to 1: the interval of two runs alone would be several times as high. */
function compareRange(series) {
  const values = series.flatMap((s) => s.y).filter((v) => v !== null);
  return values.every((v) => v >= 0 && v <= 1) ? { range: [-0.02, 1.04] } : { zero: values.every((v) => v >= 0) };
}

function singleRun(run, kind, metric, row) {
  const panel = (run[kind] || []).find((p) => p.keys.metric === metric && (p.keys.control || "none") === "none");
  if (!panel) return [];
  if (kind === "heads") return [{ x: panel.steps, y: panel.steps.map((_, i) => Math.max(...panel.value.map((v) => v[i] ?? -Infinity))) }];
  return panel.rows.includes(row) ? [{ x: panel.steps, y: panel.value[panel.rows.indexOf(row)] }] : [];
}

const MARKS = ["circle", "diamond", "square", "x", "hexagon", "cross"];

/** One row a subject: output positions by name, relations by their earliest head; a mark for every run, at its end if censored. */
function drawOnsets(group, element) {
  const at = placeOf(group);
  const found = group.runs.flatMap((r) => firstOnsets(r));
  const end = (name) => { const s = found.filter((e) => e.name === name).map((e) => e.step ?? Infinity).sort((a, b) => a - b); return s[Math.floor((s.length - 1) / 2)]; };
  const names = [...new Set(found.map((e) => e.name))].sort((a, b) => end(b) - end(a));  // the earliest on top
  const last = (e) => page.runs[e.run].steps.at(-1);
  const lane = (e) => (0.7 * group.conditions.flatMap((condition) => condition.runs).indexOf(e.run)) / group.runs.length;
  const told = (e) => `${page.runs[e.run].title}\n${e.subject} · ${relationName(e.metric)}\n` +
    (e.step === null ? `not emerged by step ${whole(last(e))}` : `step ${whole(e.step)}${e.low === null ? "" : ` [${whole(e.low)}, ${e.high === null ? "–" : whole(e.high)}]`}`);
  const marks = (own, colour, mark, name) => ({
    x: own.map((e) => at(e.step ?? last(e))), y: own.map((e) => 0.3 + names.indexOf(e.name) - lane(e)), line: false, mark, hollow: true, size: 9, colour, name, tell: (i) => told(own[i]),
  });
  const series = group.conditions.flatMap((condition, i) => {
    const [came, never] = apart(found.filter((e) => condition.runs.includes(e.run)), (e) => e.step !== null);
    const limits = (limit) => came.map((e) => (e[limit] === null ? null : at(e[limit])));
    return [
      { ...marks(came, hue(i), MARKS[i % MARKS.length], condition.name), low: limits("low"), high: limits("high"), along: "x", spread: "bars" },
      { ...marks(never, hue(i), "triangle", `${condition.name}: right-censored`), legend: never.length > 0 },
    ];
  });
  drawFigure(element, {
    title: "step of emergence", height: Math.max(300, 90 + 30 * names.length), legend: group.conditions.length > 1, x: stepAxis(group.steps),
    y: { names: names.map(relationName) }, series,
  });
}

/** The first onset of each subject in a run; one that did not emerge stays censored. */
function firstOnsets(r) {
  const first = new Map();
  for (const e of page.runs[r].emergence || []) {
    const name = isOutput(e) ? e.subject : e.metric;
    if (!first.has(name) || (e.step ?? Infinity) < (first.get(name).step ?? Infinity)) first.set(name, { ...e, name, run: r });
  }
  return [...first.values()];
}
