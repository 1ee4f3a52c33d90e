// CircuitsVis' attention heads of one layer at the chosen checkpoint, from one byte a weight.
// CircuitsVis offers only "render once"; making a new root for each checkpoint would leave the old charts behind. So
// it renders a component of ours once, and that component hands it new weights. React knows a class by this mark.

function Stage(props) {
  this.props = props;
  this.state = props.first;
}
Stage.prototype.isReactComponent = {};
Stage.prototype.componentDidMount = function componentDidMount() {
  this.props.ready((next) => this.updater.enqueueSetState(this, next, null, "setState"));
};
Stage.prototype.render = function render() {
  return element(this.props.component, this.state, this.state.tokens.length);
};

const element = (type, props, key) =>
  ({ $$typeof: Symbol.for("react.element"), type, key: String(key), ref: null, props, _owner: null });

function attentionViews(run) {
  if (!run.attention.length) return;
  const state = { prompt: 0, layer: run.attention[0].shape[1] - 1, wanted: null, mounted: null, set: null, pressing: 0, bytes: new Map() };
  const place = part(run, "attention");
  const controls = article(run).querySelector('[data-controls="attention"]');
  const again = () => redraw([place]);
  choice(controls, "Prompt", run.attention.map((a) => a.name), (i) => { state.prompt = i; describeAttention(run, state); again(); });
  const layers = Array.from({ length: run.attention[0].shape[1] }, (_, l) => `layer ${l}`);
  choice(controls, "Layer", layers, (i) => { state.layer = i; again(); });
  const select = [...controls.querySelectorAll("select")].find((s) => s.options[0].textContent === "layer 0");
  if (select) select.value = state.layer;
  describeAttention(run, state);
  run.showHead = async (layer, head) => {
    if (layer >= run.attention[state.prompt].shape[1]) return;
    state.layer = layer;
    if (select) select.value = layer;
    article(run).querySelector(`#h-attention-${run.index}`).scrollIntoView({ block: "start" });
    await showAttention(run, state, place);
    ignoreRestingPointer(place);
    press(state, place, `L${layer}H${head}`, ++state.pressing);
  };
  run.showPattern = (layer, head) => showPattern(run, state, layer, head);
  run.paintPattern = (layer, head) => paintPattern(run, state, layer, head);
  run.printHeads = () => printHeads(run, state, place);
  later.push(() => unpacked(run, state));  // printing cannot wait for it
  addView(place, () => {}, (el) => {
    if (paintMaps(run, state, el)) whenRested(state, () => showAttention(run, state, el));
    else whenIdle(state, () => showAttention(run, state, el));
  });
}

const REST = 150;  // milliseconds without a move after which the slider counts as released

/** CircuitsVis takes long for a layer: a moving slider updates painted maps, and CircuitsVis once it stops. */
function whenRested(state, work) {
  cancelIdleCallback(state.idle);
  clearTimeout(state.rest);
  state.rest = setTimeout(() => whenIdle(state, work), REST);
}

/** Paint the checkpoint's weights over the maps that CircuitsVis drew. False if it shows another layer or prompt. */
function paintMaps(run, state, place) {
  if (state.ready?.index !== state.prompt || place.dataset.shown !== `${state.prompt}/${state.layer}`) return false;
  const a = run.attention[state.prompt];
  const layer = Math.min(state.layer, a.shape[1] - 1);
  const attention = unpack(a, state.ready.bytes, nearest(a.steps, page.step), layer);
  const maps = attention.map((pattern) => mapOf(a, pattern));
  const canvases = place.querySelectorAll(".stage canvas");
  maps.forEach((map, h) => paintOver(canvases[h], map));
  const large = place.querySelector(".stage h2")?.textContent.split("H")[1];
  if (maps[large]) paintOver(canvases[maps.length], maps[large]);
  describeLinks(a, attention, layer, place.querySelector('[data-part="links"]'));
  return true;
}

/** The same for the one map in a head's card. */
function paintPattern(run, state, layer, head) {
  const place = article(run).querySelector('[data-part="head-pattern"]');
  if (state.ready?.index !== state.prompt || place.hidden || place.dataset.head !== `L${layer}H${head}`) return;
  const a = run.attention[state.prompt];
  const at = nearest(a.steps, page.step);
  place.querySelector("h3").textContent = patternTitle(a, layer, head, at);
  paintOver(place.querySelector("canvas"), mapOf(a, unpack(a, state.ready.bytes, at, layer)[head]));
}

const patternTitle = (a, layer, head, at) => `L${layer}H${head}: its attention on this prompt at step ${whole(a.steps[at])}`;

function whenIdle(state, work) {
  clearTimeout(state.rest);
  cancelIdleCallback(state.idle);
  state.idle = requestIdleCallback(work, { timeout: 600 });
}

/** Choose a head as a reader would, as soon as CircuitsVis has drawn its small map; a later choice takes over. */
function press(state, place, name, turn) {
  if (turn !== state.pressing || !name.startsWith(`L${state.layer}H`)) return;
  const label = [...place.querySelectorAll(".stage h4")].find((heading) => heading.textContent === name);
  if (label) label.click();
  else setTimeout(() => press(state, place, name, turn), 30);
}

/** CircuitsVis shows the map under the pointer before the chosen one; a page that scrolled under it chose nothing. */
function ignoreRestingPointer(place) {
  place.classList.add("untouchable");
  const wake = (event) => {
    if (!event.movementX && !event.movementY) return;
    place.classList.remove("untouchable");
    document.removeEventListener("pointermove", wake);
  };
  document.addEventListener("pointermove", wake);
}

function describeAttention(run, state) {
  const a = run.attention[state.prompt];
  const scale = a.signed ? `Weights may be negative here (red) and are drawn on ±${number(127 * a.scale)}. ` : "";
  caption(run, "attention", `${a.note ? `${a.note} ` : ""}Rows are destination tokens (queries), columns source tokens (keys); hover a small map to ` +
    `enlarge it, click it or press Enter on it to pin it. ${scale}Weights are stored in one byte each, within ` +
    `${number(a.error)} of the model's value (at most 1/255 of the range). Drawn by CircuitsVis.`);
}

async function showAttention(run, state, place) {
  const index = state.prompt;
  const a = run.attention[index];
  const bytes = await unpacked(run, state);
  if (index !== state.prompt) return;
  const at = nearest(a.steps, page.step);
  const layer = Math.min(state.layer, a.shape[1] - 1);
  const attention = unpack(a, bytes, at, layer);
  const names = attention.map((_, h) => `L${layer}H${h}`);
  if (!(await show(`stage-${run.index}`, "AttentionHeads", state, { ...look(a), attention, heads: a.shape[2], attentionHeadNames: names }))) return;
  place.dataset.step = a.steps[at];
  place.dataset.layer = layer;
  place.dataset.shown = `${index}/${state.layer}`;
  describeLinks(a, attention, layer, place.querySelector('[data-part="links"]'));
}

const look = (a) => ({
  tokens: a.tokens, maxValue: a.signed ? 127 * a.scale : 1, minValue: a.signed ? -127 * a.scale : -1,
  positiveColor: css(POSITIVE), negativeColor: css(NEGATIVE), maskUpperTri: a.causal,
});

/** The pattern of one head in its card beside the circuit, at the chosen checkpoint. */
async function showPattern(run, state, layer, head) {
  const a = run.attention[state.prompt];
  const place = article(run).querySelector('[data-part="head-pattern"]');
  const turn = (state.turn = (state.turn || 0) + 1);
  place.hidden = layer >= a.shape[1];
  if (place.hidden) return;
  const bytes = await unpacked(run, state);
  if (turn !== state.turn) return;
  const at = nearest(a.steps, page.step);
  place.querySelector("h3").textContent = patternTitle(a, layer, head, at);
  state.card ??= { wanted: null, mounted: null, set: null };
  if (!(await show(`pattern-${run.index}`, "AttentionPattern", state.card, { ...look(a), attention: unpack(a, bytes, at, layer)[head] }))) return;
  place.dataset.step = a.steps[at];
  place.dataset.head = `L${layer}H${head}`;
}

/** The bytes of the chosen prompt, inflated at the first call. */
function unpacked(run, state) {
  const index = state.prompt;
  if (!state.bytes.has(index)) {
    const packed = byId(`bytes-${run.index}-${index}`).textContent;
    const bytes = inflate(packed).then((raw) => summed(raw, run.attention[index].shape));
    bytes.then((ready) => { state.ready = { index, bytes: ready }; article(run).dataset.unpacked = "true"; });
    state.bytes.set(index, bytes);
  }
  return state.bytes.get(index);
}

/** Paper does not wait for CircuitsVis, and a plate drawn for the screen is too wide for it: plain maps, drawn at once. */
function printHeads(run, state, place) {
  const paper = place.querySelector('[data-part="paper"]');
  paper.replaceChildren();
  if (state.ready?.index !== state.prompt) return;
  const a = run.attention[state.prompt];
  const layer = Math.min(state.layer, a.shape[1] - 1);
  const attention = unpack(a, state.ready.bytes, nearest(a.steps, page.step), layer);
  attention.forEach((pattern, h) => {
    const box = make("div", `L${layer}H${h}`);
    box.append(mapOf(a, pattern));
    paper.append(box);
  });
  describeLinks(a, attention, layer, place.querySelector('[data-part="links"]'));
}

/** CircuitsVis is called once a place, and handed whatever is wanted by then. False where something newer is wanted. */
async function show(id, name, state, props) {
  state.wanted = props;
  state.mounted ??= mount(id, name, state);
  await state.mounted;
  if (state.wanted === props && state.set) state.set(props);
  return state.wanted === props;
}

/** What is asked for while React still mounts is handed over when it has. */
async function mount(id, name, state) {
  nameMaps(byId(id));
  await need("circuitsvis");
  const first = state.wanted;
  const ready = (set) => {
    state.set = set;
    if (state.wanted !== first) set(state.wanted);
  };
  CircuitsVis.render(id, Stage, { component: CircuitsVis[name], first, ready });
}

/** CircuitsVis' maps have no names and its small ones take a mouse alone: names for all, and Enter pins a small one. */
function nameMaps(stage) {
  const named = () => {
    for (const label of stage.querySelectorAll("h4")) {
      const box = label.parentElement;
      if (box.dataset.named === label.textContent) continue;
      box.dataset.named = label.textContent;
      label.setAttribute("aria-level", 3);
      for (const [key, value] of Object.entries({ tabindex: 0, role: "button", "aria-label": `${label.textContent}: show its attention enlarged` })) box.setAttribute(key, value);
      box.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); label.click(); } };
    }
    const large = stage.querySelector("h2") || stage.parentElement.querySelector("h3");
    for (const canvas of stage.querySelectorAll("canvas")) canvas.setAttribute("aria-label", `Attention map of ${canvas.closest("[data-named]")?.dataset.named || large?.textContent}`);
  };
  new MutationObserver(named).observe(stage, { childList: true, subtree: true, characterData: true });
}

/** Checkpoints are kept as differences to the one before, modulo 256. */
function summed(bytes, [, layers, heads, dest, src]) {
  for (let i = layers * heads * dest * src, j = 0; i < bytes.length; i += 1, j += 1) bytes[i] += bytes[j];
  return bytes;
}

function unpack(a, bytes, step, layer) {
  const [, layers, heads, dest, src] = a.shape;
  let at = (step * layers + layer) * heads * dest * src;
  const weights = Array.from({ length: 256 }, (_, byte) => Number(((byte - a.zero) * a.scale).toFixed(4)));
  const row = () => Array.from({ length: src }, () => weights[bytes[at++]]);
  return Array.from({ length: heads }, () => Array.from({ length: dest }, row));
}

/** For every relation of the prompt: the attention mass of each head of the layer on it, averaged over its rows. */
function describeLinks(a, attention, layer, place) {
  place.replaceChildren();
  if (!a.links.length) return;
  const table = make("table");
  const head = make("tr");
  head.append(make("th", "relation"), ...attention.map((_, h) => make("th", `L${layer}H${h}`, { scope: "col" })));
  table.append(head);
  for (const relation of new Set(a.links.map((l) => l[0]))) {
    const links = a.links.filter((l) => l[0] === relation);
    const rows = new Set(links.map((l) => l[1])).size;
    const line = make("tr");
    const name = make("th", relationName(relation), { scope: "row" });
    if (links.length === 1) name.append(make("div", `${a.tokens[links[0][1]]} → ${a.tokens[links[0][2]]}`, { class: "quiet" }));
    line.append(name);
    for (const pattern of attention) {
      const weight = links.reduce((sum, [, d, s]) => sum + pattern[d][s], 0) / rows;
      line.append(make("td", weight.toFixed(2), weight > 0.5 ? { class: "big" } : {}));
    }
    table.append(line);
  }
  place.append(make("h3", "Attention mass in this prompt, at this checkpoint"), table);
}
