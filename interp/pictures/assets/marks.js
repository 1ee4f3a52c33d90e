// What a series looks like: its line, the band or the bars of its interval, its marks.
// A series: { name, x, y, colour, dash, width, opacity, line, bridged, mark, size, hollow, low, high, spread, along,
// legend, tell }. `mark`, `size`, `hollow` and `colours` may be lists, one entry a point; `spread` is "band" or "bars";
// `along: "x"` turns the interval to the x axis; `tell(i)` is the readout of a point.

const many = (value, i) => (Array.isArray(value) ? value[i] : value);

function linePath(x, y, bridged) {
  let [path, pen] = ["", false];
  for (let i = 0; i < x.length; i += 1) {
    if (Number.isNaN(x[i]) || Number.isNaN(y[i])) { pen = pen && bridged; continue; }
    path += `${pen ? "L" : "M"}${x[i].toFixed(1)},${y[i].toFixed(1)}`;
    pen = true;
  }
  return path;
}

/** Closed outlines between two curves: a band never bridges a point without an interval. */
function bandPath(x, low, high) {
  let path = "";
  const known = (i) => i < x.length && !Number.isNaN(low[i]) && !Number.isNaN(high[i]);
  for (let start = 0, end; start < x.length; start = end + 1) {
    for (end = start; known(end); end += 1);
    if (end === start) continue;
    const places = Array.from({ length: end - start }, (_, i) => start + i);
    const upper = places.map((i) => `${x[i].toFixed(1)},${high[i].toFixed(1)}`);
    const lower = places.toReversed().map((i) => `${x[i].toFixed(1)},${low[i].toFixed(1)}`);
    path += `M${[...upper, ...lower].join("L")}Z`;
  }
  return path;
}

/** A bar for every point with both limits, and a short stroke across at each end. */
function barPath(at, low, high, along, cap = 3) {
  let path = "";
  for (let i = 0; i < at.length; i += 1) {
    if (Number.isNaN(low[i]) || Number.isNaN(high[i]) || Number.isNaN(at[i]) || low[i] === high[i]) continue;
    const [a, l, h] = [at[i], low[i], high[i]].map((v) => v.toFixed(1));
    const [less, more] = [at[i] - cap, at[i] + cap].map((v) => v.toFixed(1));
    path += along === "x" ? `M${l},${a}H${h}M${l},${less}V${more}M${h},${less}V${more}` : `M${a},${l}V${h}M${less},${l}H${more}M${less},${h}H${more}`;
  }
  return path;
}

/** The outline of a mark around a point; `r` is half its size. */
function symbol(kind, x, y, r) {
  const points = {
    diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]], square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    triangle: [[-0.8, -1.1], [1.2, 0], [-0.8, 1.1]], hexagon: [[1.1, 0], [0.55, -0.95], [-0.55, -0.95], [-1.1, 0], [-0.55, 0.95], [0.55, 0.95]],
    cross: [[-0.35, -1.1], [0.35, -1.1], [0.35, -0.35], [1.1, -0.35], [1.1, 0.35], [0.35, 0.35], [0.35, 1.1], [-0.35, 1.1], [-0.35, 0.35], [-1.1, 0.35], [-1.1, -0.35], [-0.35, -0.35]],
    x: [[-1, -0.5], [-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5], [-0.5, 0]],
  }[kind];
  if (points) return `M${points.map(([a, b]) => `${(x + a * r).toFixed(1)},${(y + b * r).toFixed(1)}`).join("L")}Z`;
  return `M${(x - r).toFixed(1)},${y.toFixed(1)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`;
}

/** Draw a series into a group; returns the pixels of its points, for the readout. */
function drawSeries(group, s, x, y) {
  const [px, py] = [s.x.map((v) => x.at(v)), s.y.map((v) => y.at(v))];
  const colour = s.colour || ink("ink");
  if (s.opacity) group.setAttribute("opacity", s.opacity);
  if (s.low) {
    const axis = s.along === "x" ? x : y;
    const [low, high] = [s.low, s.high].map((limits) => limits.map((v) => axis.at(v)));
    if (s.spread === "bars") draw(group, "path", { class: "bars", d: barPath(s.along === "x" ? py : px, low, high, s.along), stroke: s.bar || colour, "stroke-width": 1.5, fill: "none" });
    else draw(group, "path", { class: "band", d: bandPath(px, low, high), fill: colour, "fill-opacity": 0.18 });
  }
  if (s.line !== false) {
    const stroke = STROKES[s.dash] ? { "stroke-dasharray": STROKES[s.dash] } : {};
    draw(group, "path", { class: "line", d: linePath(px, py, s.bridged), fill: "none", stroke: colour, "stroke-width": s.width || 2, "stroke-linejoin": "round", ...stroke });
  }
  if (s.mark) px.forEach((at, i) => {
    if (Number.isNaN(at) || Number.isNaN(py[i])) return;
    const own = many(s.colours, i) || colour;
    const fill = many(s.hollow, i) ? ink("card") : own;
    draw(group, "path", { class: "mark", d: symbol(many(s.mark, i), at, py[i], (many(s.size, i) || 8) / 2), fill, stroke: own, "stroke-width": 1.8 });
  });
  return { px, py };
}

/** The same stroke and mark, small, for the legend. */
function drawSwatch(parent, s) {
  const svg = draw(parent, "svg", { width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true" });
  const line = { ...s, x: [1, 13, 25], y: [6, 6, 6], low: null, high: null, opacity: null, mark: null };
  const same = { at: (v) => v };
  drawSeries(draw(svg, "g", {}), line, same, same);
  if (s.mark) drawSeries(draw(svg, "g", {}), { ...line, line: false, x: [13], y: [6], mark: many(s.mark, 0), hollow: many(s.hollow, 0), size: 8 }, same, same);
  return svg;
}
