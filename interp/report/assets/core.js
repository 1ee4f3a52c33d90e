// What every view shares: the chosen run and checkpoint, the colours of the theme, and when to draw.
// A view is an element with `draw` (from nothing) and `move` (to another checkpoint). It is drawn when first seen, a
// plot also while the page rests, and moved only while seen; one that was missed catches up when it comes into sight.

const page = { run: 0, step: Infinity, axis: "linear", runs: [] };
const views = new Map();

const byId = (id) => document.getElementById(id);
const article = (run) => byId(`run-${run.index}`);
const part = (run, view) => article(run).querySelector(`[data-view="${view}"]`);

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function caption(run, name, text) {
  article(run).querySelector(`[data-caption="${name}"]`).textContent = text;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

const grouped = new Intl.NumberFormat("en-US");  // once: a heat map writes thousands of steps
const whole = (value) => grouped.format(Math.round(value));

function interval(panel, row, column) {
  if (!panel.low || panel.low[row][column] === null) return "";
  return `[${number(panel.low[row][column])}, ${number(panel.high[row][column])}]`;
}

/** Index of the step in a sorted list that lies nearest to the chosen one. */
function nearest(steps, step) {
  let best = 0;
  steps.forEach((s, i) => { if (Math.abs(s - step) <= Math.abs(steps[best] - step)) best = i; });
  return step === Infinity ? steps.length - 1 : best;
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const inks = (name) => ink(name).split(/\s*;\s*|\s+/).filter(Boolean);

function ramp(reversed = false) {
  const colours = reversed ? inks("ramp").reverse() : inks("ramp");
  return colours.map((colour, i) => [i / (colours.length - 1), colour]);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) views.get(entry.target).visible = entry.isIntersecting;
  const near = entries.filter((entry) => entry.isIntersecting);
  const [waiting, ready] = byId("library-plotly") ? apart(near, (entry) => isPlot(entry.target)) : [[], near];
  for (const entry of ready) refresh(views.get(entry.target));
  // words, numbers and the track are shown before plotly is read, and plots in sight before those on the way
  requestAnimationFrame(() => setTimeout(() => {
    for (const entry of waiting) if (entry.boundingClientRect.top < innerHeight) refresh(views.get(entry.target));
    performance.mark("in sight");
    whileResting();
  }));
}, { rootMargin: "240px" });

const isPlot = (element) => element.classList.contains("plot");
const apart = (items, holds) => [items.filter(holds), items.filter((item) => !holds(item))];
const later = [];  // work that can wait until the first screen stands
let resting = 0;

/** While nobody asks for anything, the plots further down are drawn one by one, so that scrolling finds them there. */
function whileResting() {
  cancelIdleCallback(resting);
  resting = requestIdleCallback(() => {
    const work = later.shift();
    const view = [...views.values()].find((v) => isPlot(v.element) && !v.drawn && v.element.offsetParent);
    if (work) work();
    else if (view) refresh(view);
    else return;
    whileResting();
  });
}

function addView(element, draw, move = () => {}) {
  if (!element) return;
  views.set(element, { element, draw, move, drawn: false, at: null, visible: false });
  seen.observe(element);
}

function refresh(view) {
  if (!view.drawn) {
    view.drawn = true;
    view.draw(view.element);
    view.at = null;
  }
  if (view.at !== page.step) {
    view.at = page.step;
    view.move(view.element);
    view.element.dataset.at = page.step;
  }
}

/** Draw again from nothing, at once if in sight: after a change of theme, axis or of a view's own choice. */
function redraw(elements = [...views.keys()]) {
  for (const element of elements) {
    const view = views.get(element);
    if (!view) continue;
    view.drawn = false;
    if (view.visible) refresh(view);
  }
}

/** A printed page holds what was never scrolled to as well, on white, drawn at the width of the paper. */
function wirePrint() {
  const root = document.documentElement;
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    root.classList.add("paper");
    for (const view of views.values()) {
      if (view.element.closest("[hidden]")) continue;
      view.drawn = false;
      refresh(view);
    }
    for (const run of page.runs) if (!article(run).hidden && run.printHeads) run.printHeads();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    redraw();
  });
}

let pending = 0;

function moveTo(step) {
  page.step = step;
  document.documentElement.dataset.at = step;
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(() => {
    for (const view of views.values()) if (view.visible) refresh(view);
  });
}

/** Run a library that lies in the page as plain text: words and numbers stand before a browser reads its megabytes. */
function need(name) {
  const text = byId(`library-${name}`);
  if (!text) return;  // it ran before
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;  // plotly throws and catches as it starts; to say where, the browser would read it all again
  text.replaceWith(make("script", text.textContent));
  Error.stackTraceLimit = limit;
}

/** A labelled select that remembers its choice; left out when there is nothing to choose. */
function choice(place, label, options, change) {
  if (options.length < 2) return;
  const select = make("select");
  options.forEach((option, i) => select.append(make("option", option, { value: i })));
  select.addEventListener("change", () => change(Number(select.value)));
  const box = make("label", `${label} `, { class: "pick" });
  box.append(select);
  place.append(box);
}

async function inflate(base64) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
