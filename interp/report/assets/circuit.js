// The circuit: positions across, layers up, heads at their nodes, edges as wide as their causal effect.
// Everything is drawn with attributes of its own, so that the exported SVG looks the same outside the page.

const CELL = { height: 74, top: 26, bottom: 74, left: 62, right: 16 };
const WIDE = 1124;

function circuitViews(run) {
  const c = run.circuit;
  if (!c) return;
  const state = { chosen: null, told: null, edges: [] };
  const places = ["circuit", "circuit-lines"].map((name) => part(run, name));
  const told = article(run).querySelector('[data-part="circuit-told"]');
  const pick = (node) => {
    state.chosen = state.chosen === node.name ? null : node.name;
    places[1].hidden = state.chosen === null;
    redraw(places);
  };
  const controls = article(run).querySelector('[data-controls="circuit"]');
  const save = make("button", "Save as SVG", { type: "button" });
  save.addEventListener("click", () => saveCircuit(places[0].querySelector("svg"), `${run.title} circuit`));
  controls.append(save);
  const tell = (node) => { told.textContent = describeNode(run, node); };
  addView(places[0], (el) => drawCircuit(run, state, el, pick, tell, Math.max(el.clientWidth, Math.min(WIDE, roomFor(c)))), (el) => moveCircuit(run, state, el));
  addView(places[1], (el) => drawTouching(run, state, el), (el) => moveTouching(run, state, el));
  const places_of = c.columns
    ? "The embedding stands at the bottom, layers go up, a circle is a head in the column of its number, named where it attends along a relation of the task. A line's "
    : "Tokens stand at the bottom in prompt order, layers go up, a circle is a head at the position where it writes. A line's ";
  caption(run, "circuit", places_of +
    `width is the causal effect (${c.unit}) of one node on the next at the selected checkpoint, or the nearest at which it was measured: blue where it supports the answer, orange and ` +
    "dashed where it opposes it, thin grey where its 95% CI includes zero. Hover or focus a node for its numbers; " +
    "click it for its effects and its attention over training, a summary of its weights, and its pattern.");
}

/** Width at which no token's label touches the next: heads take room of their own. */
function roomFor({ tokens, nodes }) {
  const label = 6 * Math.min(8, Math.max(...tokens.map((token) => token.length))) + 5;
  return CELL.left + CELL.right + label * (tokens.length + 1.6 * nodes.filter((node) => node.kind === "head").length);
}

/** Positions that carry nodes get more room than bare tokens; a node's place depends on its neighbours in a cell. */
function circuitPlaces(c, width) {
  const busy = new Map();
  for (const node of c.nodes) {
    if (node.kind === "token" || node.kind === "output") continue;
    const key = `${node.layer}/${node.position}`;
    busy.set(key, [...(busy.get(key) || []), node.name]);
  }
  const most = (p) => Math.max(0, ...[...busy].filter(([k]) => k.endsWith(`/${p}`)).map(([, v]) => v.length));
  const weights = c.tokens.map((_, p) => 1 + 1.6 * most(p));
  const room = (width - CELL.left - CELL.right) / weights.reduce((a, b) => a + b, 0);
  const edges = weights.reduce((all, w) => [...all, all.at(-1) + w * room], [CELL.left]);
  const layers = 1 + Math.max(0, ...c.nodes.map((n) => n.layer));
  const below = c.chain.length ? CELL.bottom : CELL.bottom - 28;
  const step = c.columns ? 38 : CELL.height;
  const height = CELL.top + below + step * (layers + 1);
  const x = (p, share = 0.5) => edges[p] + share * (edges[p + 1] - edges[p]);
  const y = (row) => height - below - step * row;
  const at = new Map(c.nodes.map((node) => {
    const cell = busy.get(`${node.layer}/${node.position}`) || [];
    const share = (cell.indexOf(node.name) + 0.5) / Math.max(1, cell.length);
    const row = node.kind === "token" ? 0 : node.kind === "output" ? layers + 0.75 : node.layer + 1;
    return [node.name, { x: x(node.position, node.kind === "head" || node.kind === "mlp" ? share : 0.5), y: y(row) }];
  }));
  return { at, x, y, layers, height };
}

/** `tell` says a node's numbers; it is called again when the checkpoint moves, for the node that was read last. */
function drawCircuit(run, state, element, pick, tell, width = WIDE) {
  const c = run.circuit;
  const p = circuitPlaces(c, width);
  const svg = document.createElementNS(SVG, "svg");
  for (const [k, v] of Object.entries({ viewBox: `0 0 ${width} ${p.height}`, role: "group", "aria-label": "Circuit", "font-family": ink("sans"), "font-size": 12 })) svg.setAttribute(k, v);
  for (let layer = 0; layer < p.layers; layer += 1) {
    draw(svg, "line", { x1: CELL.left, x2: width - CELL.right, y1: p.y(layer + 1), y2: p.y(layer + 1), stroke: ink("rule") });
    draw(svg, "text", { x: 4, y: p.y(layer + 1) + 4, fill: ink("muted") }, `layer ${layer}`);
  }
  if (!c.columns) draw(svg, "text", { x: 4, y: p.y(0) + 24, fill: ink("muted") }, "token");
  c.tokens.forEach((token, i) => draw(svg, "text", {
    x: p.x(i), y: p.y(0) + 24, fill: ink("ink"), "text-anchor": "middle", "font-size": c.tokens.length > 24 ? 10 : 12,
  }, !c.columns && token.length > 8 ? `${token.slice(0, 7)}…` : token));
  drawChain(svg, c, p);
  state.edges = c.endpoints.map(([from, to]) => drawEdge(svg, p.at.get(from), p.at.get(to), c.columns));
  state.tell = () => { if (state.told) tell(state.told); };
  for (const node of c.nodes) drawNode(svg, node, p.at.get(node.name), state.chosen === node.name, () => pick(node), () => { state.told = node; tell(node); });
  const focused = element.contains(document.activeElement) && document.activeElement.dataset.node;
  element.replaceChildren(svg);
  if (focused) svg.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
}

/** The places that the answer is reached over, named under their tokens and joined in order. */
function drawChain(svg, c, p) {
  const y = p.y(0) + 42;
  c.chain.forEach(([name, position], i) => {
    draw(svg, "text", { x: p.x(position), y, fill: ink("accent"), "text-anchor": "middle", "font-weight": 700 }, name);
    if (!i) return;
    const [from, to] = [p.x(c.chain[i - 1][1]), p.x(position)];
    const lift = 8 + 10 * (c.chain.length - 1 - i);
    draw(svg, "path", { class: "hop", d: `M${from},${y + 5} C${from},${y + 5 + lift} ${to},${y + 5 + lift} ${to},${y + 5}`, fill: "none", stroke: ink("accent"), "stroke-width": 1.5, "stroke-dasharray": "2 3" });
  });
}

/** With `bow` an edge within a column swings out, the longer the farther: in a column of MLPs all would lie on one line. */
function drawEdge(svg, from, to, bow) {
  const lift = 0.5 * (to.y - from.y);
  const out = bow && from.x === to.x ? Math.min(150, 14 + 0.16 * Math.abs(to.y - from.y)) : 0;
  const path = draw(svg, "path", { d: `M${from.x},${from.y} C${from.x - out},${from.y + lift} ${to.x - out},${to.y - lift} ${to.x},${to.y}`, fill: "none", "stroke-linecap": "round" });
  draw(path, "title", {});
  return path;
}

function drawNode(svg, node, at, chosen, press, tell) {
  const group = draw(svg, "g", { tabindex: 0, role: "button", "aria-label": node.name, "aria-pressed": chosen, "data-node": node.name });
  draw(group, "title", {}, node.name);
  const line = { stroke: ink(chosen ? "accent" : "ink"), "stroke-width": chosen ? 3 : 1.3, fill: ink("card") };
  draw(group, "circle", { cx: at.x, cy: at.y, r: 15, fill: "transparent" });  // room to press a small one
  if (node.kind === "token") draw(group, "circle", { cx: at.x, cy: at.y, r: 4, ...line });
  else if (node.kind === "head") draw(group, "circle", { cx: at.x, cy: at.y, r: 15, ...line });
  else draw(group, "rect", { x: at.x - 22, y: at.y - 12, width: 44, height: 24, rx: 4, ...line });
  const text = { head: `H${node.head}`, mlp: "MLP", output: "output", token: "" }[node.kind];
  if (text) draw(group, "text", { x: at.x, y: at.y + 4, "text-anchor": "middle", fill: ink("ink") }, text);
  if (node.role) draw(group, "text", { x: at.x, y: at.y - 18, "text-anchor": "middle", fill: ink("accent"), "font-size": 11 }, node.role);
  const act = () => { tell(); press(); };
  group.addEventListener("click", act);
  group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } });
  group.addEventListener("pointerenter", tell);
  group.addEventListener("focus", tell);
}

function moveCircuit(run, state, element) {
  const c = run.circuit;
  const i = nearest(c.steps, page.step);
  const top = Math.max(...c.value.flat().map((v) => Math.abs(v ?? 0)), 1e-12);
  state.edges.forEach((path, e) => {
    const value = c.value[e][i] ?? 0;
    const unsure = c.low && c.low[e][i] !== null && c.low[e][i] <= 0 && c.high[e][i] >= 0;
    path.setAttribute("stroke", unsure ? ink("line") : hue(value < 0 ? 1 : 0));
    path.setAttribute("stroke-width", unsure ? 1 : Math.max(0.6, (12 * Math.abs(value)) / top).toFixed(2));
    path.setAttribute("stroke-dasharray", !unsure && value < 0 ? "7 5" : "none");
    path.setAttribute("stroke-opacity", unsure ? 0.7 : 0.75);
    path.firstChild.textContent = `${c.rows[e]}: ${number(value)} ${interval(c, e, i)}`;
  });
  element.dataset.step = c.steps[i];
  state.tell();
}

const touching = (c, name) => c.endpoints.map((pair, e) => (pair.includes(name) ? e : -1)).filter((e) => e >= 0);

function describeNode(run, node) {
  const c = run.circuit;
  const i = nearest(c.steps, page.step);
  const found = touching(c, node.name).sort((a, b) => Math.abs(c.value[b][i] ?? 0) - Math.abs(c.value[a][i] ?? 0)).slice(0, 4);
  const said = found.map((e) => `${c.rows[e]}: ${number(c.value[e][i])} ${interval(c, e, i)}`);
  return `${node.name} at step ${whole(c.steps[i])}. ${said.join("; ")}`;
}

/** Effects of the chosen node's edges over training, and the way to its attention. */
function drawTouching(run, state, element) {
  const c = run.circuit;
  const node = c.nodes.find((n) => n.name === state.chosen);
  const controls = article(run).querySelector('[data-controls="circuit"]');
  controls.querySelector(".to-attention")?.remove();
  headCard(run, node, article(run).querySelector('[data-part="head-card"]'));
  if (!node) return;
  if (node.kind === "head" && run.showHead) {
    const button = make("button", `Show the attention of ${node.name}`, { type: "button", class: "to-attention" });
    button.addEventListener("click", () => run.showHead(node.layer, node.head));
    controls.append(button);
  }
  const peak = (e) => Math.max(...c.value[e].map((v) => Math.abs(v ?? 0)));
  const shown = touching(c, node.name).sort((a, b) => peak(b) - peak(a)).slice(0, 6);
  const series = shown.map((e, i) => ribbon(c.steps, c, e, hue(i), { dash: dashOf(i) }));
  drawFigure(element, { height: 240, legend: true, x: stepAxis(run.steps), y: { title: c.unit }, series });
}

function moveTouching(run, state, element) {
  if (!state.chosen) return;
  movePoint(run, element);
  moveCard(run, run.circuit.nodes.find((n) => n.name === state.chosen), article(run).querySelector('[data-part="head-card"]'));
}

function saveCircuit(svg, name) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("style", `background:${ink("paper")}`);
  download(new Blob([inColour(copy)], { type: "image/svg+xml" }), `${fileName(name)}.svg`);
}
