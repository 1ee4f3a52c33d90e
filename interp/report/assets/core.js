// What every view shares: the chosen run and checkpoint, when to draw, what lies compressed in the page.
// A view is an element with `draw` (from nothing) and `move` (to another checkpoint). It is drawn when first seen, a
// figure also while the page rests, and moved only while seen; one that was missed catches up when it comes into sight.

const page = { run: 0, step: Infinity, axis: "linear", runs: [] };
const views = new Map();

const byId = (id) => document.getElementById(id);
const article = (run) => byId(`run-${run.index}`);
const part = (run, view) => article(run).querySelector(`[data-view="${view}"]`);

function caption(run, name, text) {
  article(run).querySelector(`[data-caption="${name}"]`).textContent = text;
}

/** Index of the step in a sorted list that lies nearest to the chosen one. */
function nearest(steps, step) {
  let best = 0;
  steps.forEach((s, i) => { if (Math.abs(s - step) <= Math.abs(steps[best] - step)) best = i; });
  return step === Infinity ? steps.length - 1 : best;
}

/** Colours of a heat map from low to high, a strong one for a good score. */
const ramp = (reversed = false) => (reversed ? paints("ramp").reverse() : paints("ramp"));

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) views.get(entry.target).visible = entry.isIntersecting;
  const near = entries.filter((entry) => entry.isIntersecting).map((entry) => views.get(entry.target));
  const [figures, words] = apart(near, (view) => isPlot(view.element) && !view.drawn);
  for (const view of words) refresh(view);
  // words, numbers and the track are shown before figures are drawn
  requestAnimationFrame(() => setTimeout(() => {
    for (const view of figures) refresh(view);
    performance.mark("in sight");
    whileResting();
  }));
}, { rootMargin: "240px" });

const isPlot = (element) => element.classList.contains("plot");
const later = [];  // work that can wait until the first screen stands
let resting = 0;

/** While nobody asks for anything, the figures further down are drawn one by one, so that scrolling finds them there. */
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
    delete element.dataset.at;  // what stands there is of before, until the view is in sight again
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

/** Run a library that lies in the page compressed: nothing is read of it before it is asked for. */
async function need(name) {
  const packed = byId(`library-${name}`);
  if (!packed) return;  // it ran before
  const text = await unpackText(packed.textContent);
  if (packed.isConnected) packed.replaceWith(make("script", text));
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

const unpackText = async (base64) => new TextDecoder().decode(await inflate(base64));
const unpackJson = async (id) => JSON.parse(await unpackText(byId(id).textContent));
