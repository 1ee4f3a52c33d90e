// The slider and its track: the learning curve, evenly spaced by checkpoint, with the steps of emergence marked.

const INSET = 9;  // half the slider's thumb, so that the thumb stands on the curve

/** Where a training step lies on the slider, in checkpoints (fractions between two of them). */
function along(steps, step) {
  const next = steps.findIndex((s) => s >= step);
  if (next <= 0) return next === 0 ? 0 : steps.length - 1;
  return next - 1 + (step - steps[next - 1]) / (steps[next] - steps[next - 1]);
}

function drawTrack(run) {
  const svg = byId("track");
  const width = svg.clientWidth || 900;
  const height = svg.clientHeight || 44;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (step) => INSET + ((width - 2 * INSET) * along(run.steps, step)) / Math.max(1, run.steps.length - 1);
  for (const step of run.steps) add("line", { x1: x(step), x2: x(step), y1: height - 5, y2: height - 1, class: "tick" });
  if (run.metrics) drawCurve(run, x, height);
  for (const event of (run.emergence || []).filter((e) => e.step !== null)) {
    add("path", { d: `M${x(event.step) - 4},1h8l-4,7z`, class: isOutput(event) ? "event read" : "event" });
  }
  nameOutputs();

  function add(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    svg.append(element);
    return element;
  }

  /** Output positions have a line and their name, unless it would overlap the name before; heads are marks alone. */
  function nameOutputs() {
    let free = 0;
    const outputs = (run.emergence || []).filter((e) => e.step !== null && isOutput(e)).sort((a, b) => a.step - b.step);
    for (const event of outputs) {
      add("line", { x1: x(event.step), x2: x(event.step), y1: 1, y2: height - 6, class: "event-line" });
      const room = 6.2 * event.subject.length + 8;
      const left = Math.min(x(event.step) + 4, width - room);
      if (left < free) continue;
      add("text", { x: left, y: height - 9, class: "event-name" }).textContent = event.subject;
      free = left + room;
    }
  }

  function drawCurve() {
    const losses = run.metrics.series.loss || Object.values(run.metrics.series)[0];
    const points = run.metrics.steps.map((s, i) => [s, losses[i]]).filter(([, v]) => v > 0);
    if (points.length < 2) return;
    const heights = points.map(([, v]) => Math.log(v));
    const low = Math.min(...heights);
    const span = Math.max(...heights) - low || 1;
    const y = (i) => 4 + (height - 13) * (1 - (heights[i] - low) / span);
    add("polyline", { points: points.map(([s], i) => `${x(s).toFixed(1)},${y(i).toFixed(1)}`).join(" "), class: "curve" });
  }
}

const isOutput = (event) => !/^L\d+H\d+$/.test(event.subject);
const MOST_DESCRIBED = 3;

/** What emerged since the previous checkpoint, output positions first: the marks on the track as text for screen readers. */
function appeared(run, i) {
  const after = i ? run.steps[i - 1] : -1;
  const found = (run.emergence || []).filter((e) => e.step !== null && after < e.step && e.step <= run.steps[i]);
  const told = [...found.filter(isOutput), ...found.filter((e) => !isOutput(e))].map((e) => (isOutput(e) ? e.subject : `${e.subject} ${relationName(e.metric)}`));
  if (!told.length) return "";
  const more = told.length > MOST_DESCRIBED ? ` and ${told.length - MOST_DESCRIBED} more` : "";
  return ` · emerged: ${told.slice(0, MOST_DESCRIBED).join(", ")}${more}`;
}

function announce(run) {
  const i = nearest(run.steps, page.step);
  const loss = run.metrics && run.metrics.series.loss;
  const near = loss ? number(loss[nearest(run.metrics.steps, run.steps[i])]) : "–";
  byId("now").textContent =
    `checkpoint ${i + 1} of ${run.steps.length} · step ${whole(run.steps[i])}` + (loss ? ` · training loss ${near}` : "") + appeared(run, i);
  const slider = byId("slider");
  slider.max = run.steps.length - 1;
  slider.value = i;
  slider.setAttribute("aria-valuetext", byId("now").textContent);
}

function go(index) {
  const run = page.runs[page.run];
  moveTo(run.steps[Math.max(0, Math.min(run.steps.length - 1, index))]);
  announce(run);
}

function wireSlider() {
  const slider = byId("slider");
  slider.addEventListener("input", () => go(Number(slider.value)));
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest("input, select, textarea, [contenteditable]");
    if (busy || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const here = Number(slider.value);
    const target = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: Number(slider.max) }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    go(target);
  });
  wirePlay(slider);
}

function wirePlay(slider) {
  const button = byId("play");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "▶ Play";
    button.setAttribute("aria-pressed", "false");
  };
  slider.addEventListener("pointerdown", stop);
  button.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (slider.value === slider.max) go(0);
    button.textContent = "❚❚ Pause";
    button.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      if (slider.value === slider.max) stop();
      else go(Number(slider.value) + 1);
    }, 250);
  });
}
