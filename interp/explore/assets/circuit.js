/* The circuit of a step: senders and receivers in columns by layer, edges as lines; both can be clicked and focused. */

const [WIDE, HIGH, EDGE_HIT] = [92, 46, 12];

function circuitView(pane, shown, theme, ask, number) {
  const heading = make("h4", null, "Circuit");
  if (!pane.circuit.length) return make("section", null, heading, make("p", { class: "muted" }, pane.circuit_words));
  const places = placesOf(pane);
  const width = Math.max(...[...places.values()].map((p) => p[0])) + WIDE / 2;
  const height = Math.max(...[...places.values()].map((p) => p[1])) + HIGH / 2;
  const most = Math.max(...pane.circuit.map((edge) => Math.abs(edge.value ?? 0)), 1e-9);
  const lines = pane.circuit.map((edge) => edgeLine(edge, places, most, shown, ask, number));
  const nodes = [...places].map(([name, place]) => nodeMark(name, place, shown, ask, number));
  const picture = drawing("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `circuit of ${pane.circuit.length} edges`,
  }, lines, nodes);
  const words = make("p", { class: "muted" },
    `${pane.circuit.length} edges; width: effect of an edge alone. A click changes an edge, a head or an MLP.`);
  return make("section", null, heading, words, rove(make("div", { class: "scroll" }, picture)));
}

/** The node that a receiver belongs to: a head for its query, key and value, an MLP whether it reads or writes. */
function owner(name) {
  const [stem, part] = name.split(".");
  return part && part.startsWith("mlp") ? `${stem}.mlp_out` : stem;
}

/** Where every node stands: a column for the embedding, heads and MLPs of each layer, and the output. */
function placesOf(pane) {
  const columns = new Map();
  const names = new Set(pane.circuit.flatMap((edge) => [owner(edge.sender), owner(edge.receiver)]));
  const column = (name) => {
    if (name === "embed") return -1;
    if (name === "output") return 1e6;
    return 2 * Number(name.match(/^L(\d+)/)?.[1] ?? 0) + (name.includes("mlp") ? 1 : 0);
  };
  const order = [...new Set([...names].map(column))].sort((a, b) => a - b);
  const found = new Map();
  for (const name of [...names].sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const x = order.indexOf(column(name));
    const y = columns.get(x) ?? 0;
    columns.set(x, y + 1);
    found.set(name, [WIDE / 2 + x * WIDE, HIGH / 2 + y * HIGH]);
  }
  const deepest = Math.max(...columns.values());
  for (const [name, [x, y]] of found) {
    const here = columns.get(Math.round((x - WIDE / 2) / WIDE));
    found.set(name, [x, y + ((deepest - here) * HIGH) / 2]);
  }
  return found;
}

function edgeLine(edge, places, most, shown, ask, number) {
  const [[x1, y1], [x2, y2]] = [places.get(owner(edge.sender)), places.get(owner(edge.receiver))];
  const slot = { q: -4, k: 0, v: 4 }[edge.receiver.split(".")[1]] ?? 0;
  const ends = { x1, y1, x2, y2: y2 + slot };
  const pressed = shown.selected.includes(edge.label);
  const change = () => ask({ toggle: edge.label });
  return drawing("g", {
    class: pressed ? "edge on" : "edge", role: "button", "data-rove": true, "data-key": `edge ${number} ${edge.label}`,
    "aria-pressed": String(pressed), "aria-label": `edge ${edge.label}, effect ${written(edge.value)}`,
    onclick: change, onkeydown: (event) => pressKey(event, change),
  }, drawing("title", null, `${edge.label}: ${withInterval(edge.value, edge.ci_low, edge.ci_high)}`),
  drawing("line", { ...ends, class: "hit", "stroke-width": EDGE_HIT }),
  drawing("line", { ...ends, class: "line-of-edge", "stroke-width": 1 + (4 * Math.abs(edge.value ?? 0)) / most }));
}

function nodeMark(name, [x, y], shown, ask, number) {
  const fixed = name === "embed" || name === "output";
  const change = () => ask({ toggle: name });
  const pressed = shown.selected.includes(name);
  const text = name.replace(".mlp_out", " MLP");
  const parts = [drawing("rect", { x: x - 32, y: y - 12, width: 64, height: 24, rx: 6 }),
    drawing("text", { x, y: y + 4, "text-anchor": "middle" }, text)];
  if (fixed) return drawing("g", { class: "node fixed" }, parts);
  return drawing("g", {
    class: pressed ? "node on" : "node", role: "button", "data-rove": true, "data-key": `node ${number} ${name}`,
    "aria-pressed": String(pressed), "aria-label": text, onclick: change, onkeydown: (event) => pressKey(event, change),
  }, parts);
}

function pressKey(event, change) {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  change();
}
