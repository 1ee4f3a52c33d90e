// Runs side by side: thin lines are single runs, thick ones the mean over the seeds of an arm with its interval.

function compareViews(groups) {
  groups.forEach((group, index) => {
    const place = document.querySelector(`[data-group="${index}"]`);
    const at = (name) => place.querySelector(`[data-view="compare-${name}"]`);
    const steps = [...new Set(group.runs.flatMap((r) => page.runs[r].steps))].sort((a, b) => a - b);
    const all = { ...group, steps };
    const controls = place.querySelector('[data-controls="compare"]');
    const move = (el) => point(el, placeOf(all)(nearestStep(all)));
    addView(at("loss"), (el) => drawLosses(all, el), move);
    comparePanels(all, "scores", controls, at("scores"), move);
    comparePanels(all, "heads", controls, at("heads"), move);
    if (group.runs.some((r) => page.runs[r].emergence)) addView(at("emergence"), (el) => drawOnsets(all, el), move);
    else at("emergence").remove();
    place.querySelector("[data-caption]").textContent = "Top left: training loss of every run. The others: each thin line is one run; the thick line is the mean over " +
      "the runs of an arm (alike in everything but their seeds), its band the 95% interval of Student's t over runs, where an arm has two or more (over two runs it is wide, and of shares only what lies between 0 and 1 is drawn). " +
      "Of heads the strongest one's score on the relation is shown, whichever head it is. Bottom right: the step at which each read and each relation " +
      "(its earliest head) appeared, one mark a run. Colour and dash tell the arms apart.";
  });
}

const placeOf = (group) => place(group.steps);
const nearestStep = (group) => group.steps[nearest(group.steps, page.step)];
const armOf = (group, run) => group.arms.findIndex((arm) => arm.runs.includes(run));

function drawLosses(group, element) {
  const colours = inks("series");
  const at = placeOf(group);
  const traces = group.runs.filter((r) => page.runs[r].metrics).map((r) => {
    const run = page.runs[r];
    const arm = armOf(group, r);
    const name = plain(run.title);
    return {
      x: run.metrics.steps.map(at), y: run.metrics.series.loss || Object.values(run.metrics.series)[0], name, mode: "lines", connectgaps: true,
      line: { color: colours[(group.arms.length > 1 ? arm : r) % colours.length], width: 1.6, dash: DASHES[arm % DASHES.length] },
      hovertemplate: `${name}<br>step %{x:,}<br>%{y:.4g}<extra></extra>`,
    };
  });
  plot(element, traces, { showlegend: true, xaxis: stepAxis(group.steps), yaxis: { title: { text: plain(labelOf(page.runs[group.runs[0]], "loss")) }, rangemode: "tozero" } });
}

/** One metric and row of the averaged panels, chosen by name; every arm's mean over its runs. */
function comparePanels(group, kind, controls, element, move) {
  const options = (group.arms[0][kind] || []).flatMap((p) => p.rows.map((row) => [p.keys.metric, row]));
  if (!options.length) { element.remove(); return; }
  const first = Math.max(0, options.findLastIndex(([metric]) => metric === "accuracy"));
  let chosen = options[first];
  const label = kind === "scores" ? "Score" : "Relation";
  choice(controls, label, options.map(([metric, row]) => (kind === "scores" ? `${metric} · ${row}` : metric)), (i) => { chosen = options[i]; redraw([element]); });
  const select = [...controls.querySelectorAll("select")].at(-1);
  if (options.length > 1) select.value = first;
  addView(element, (el) => drawArms(group, kind, chosen, el), move);
}

function drawArms(group, kind, [metric, row], element) {
  const colours = inks("series");
  const at = placeOf(group);
  const traces = group.runs.flatMap((r) => singleRun(page.runs[r], kind, metric, row).map((line) => ({
    x: line.x.map(at), y: line.y, mode: "lines", showlegend: false, opacity: 0.45,
    line: { color: colours[armOf(group, r) % colours.length], width: 1 }, hovertemplate: `${plain(page.runs[r].title)}<br>step %{x:,}<br>%{y:.3g}<extra></extra>`,
  })));
  group.arms.forEach((arm, i) => {
    const panel = (arm[kind] || []).find((p) => p.keys.metric === metric && p.rows.includes(row));
    if (!panel) return;
    const named = { ...panel, rows: panel.rows.map(() => arm.name) };
    traces.push(...ribbon(panel.steps, named, panel.rows.indexOf(row), colours[i % colours.length], { dash: DASHES[i % DASHES.length] }));
  });
  const title = kind === "scores" ? `${metric}, ${row}` : `${metric}, strongest head`;
  plot(element, traces, { title: plain(title), margin: { l: 56, r: 14, t: 62, b: 46 }, showlegend: group.arms.length > 1, xaxis: stepAxis(group.steps), yaxis: compareRange(traces) });
}

/** Shares keep the scale from 0 to 1: the interval of two runs alone would be several times as high. */
function compareRange(traces) {
  const values = traces.filter((t) => t.fill !== "toself").flatMap((t) => t.y).filter((v) => v !== null);
  return values.every((v) => v >= 0 && v <= 1) ? { range: [-0.02, 1.04] } : { rangemode: "tozero" };
}

function singleRun(run, kind, metric, row) {
  const panel = (run[kind] || []).find((p) => p.keys.metric === metric && (p.keys.control || "none") === "none");
  if (!panel) return [];
  const at = kind === "scores" ? panel.rows.indexOf(row) : -1;
  const y = panel.steps.map((_, i) => (at >= 0 ? panel.value[at][i] : Math.max(...panel.value.map((v) => v[i] ?? -Infinity))));
  return [{ x: panel.steps, y }];
}

/** One row a subject: reads by their name, relations by their earliest head; a mark for every run. */
function drawOnsets(group, element) {
  const colours = inks("series");
  const at = placeOf(group);
  const subject = (e) => (/^L\d+H\d+$/.test(e.subject) ? e.metric : e.subject);
  const found = group.runs.flatMap((r) => {
    const first = new Map();
    for (const e of page.runs[r].emergence || []) {
      if (e.step !== null && !(first.get(subject(e))?.step <= e.step)) first.set(subject(e), { ...e, run: r });
    }
    return [...first.values()];
  });
  const middle = (name) => { const s = found.filter((e) => subject(e) === name).map((e) => e.step).sort((a, b) => a - b); return s[Math.floor((s.length - 1) / 2)]; };
  const names = [...new Set(found.map(subject))].sort((a, b) => middle(a) - middle(b));
  const symbols = ["circle-open", "diamond-open", "square-open", "x-open", "triangle-up-open", "cross-open"];
  const traces = group.arms.map((arm, i) => {
    const own = found.filter((e) => arm.runs.includes(e.run));
    return {
      x: own.map((e) => at(e.step)), y: own.map((e) => -names.indexOf(subject(e)) - 0.5 * (i / group.arms.length)), mode: "markers", name: plain(arm.name),
      marker: { size: 9, symbol: symbols[i % symbols.length], color: colours[i % colours.length], line: { width: 2 } },
      customdata: own.map((e) => [plain(page.runs[e.run].title), plain(`${e.subject} · ${e.metric}`), whole(e.step)]),
      hovertemplate: "%{customdata[0]}<br>%{customdata[1]}<br>step %{customdata[2]}<extra></extra>",
    };
  });
  plot(element, traces, {
    title: "appeared at", height: Math.max(320, 110 + 26 * names.length), margin: { l: 56, r: 14, t: 62, b: 46 }, showlegend: group.arms.length > 1, xaxis: stepAxis(group.steps),
    yaxis: { tickvals: names.map((_, i) => -i), ticktext: names.map(plain), ticks: "", range: [0.6 - names.length, 0.6] },
  });
}
