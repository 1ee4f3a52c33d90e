// A figure in an element: title, plot with axes, legend, readout, zoom, saved files. One call draws it, or draws it again.
//
//   drawFigure(element, { title, describe, height, widest, x, y, series, cells, legend })
//
// `describe` is what a screen reader is told of it, `widest` the most pixels of its plot, x and y are axes (axes.js), series lines and points (marks.js), cells
// a heat map (cells.js). The figure is then `element.figure`: `point(x, half)` puts a cursor at a value of the x axis,
// `set(index, changes)` redraws one series, `setCells(changes)` the heat map.

let figures = 0;
const widths = new ResizeObserver((entries) => { for (const { target } of entries) target.figure?.resized(); });

function drawFigure(place, spec) {
  place.figure ??= new Figure(place);
  place.figure.draw(spec);
  return place.figure;
}

class Figure {
  constructor(place) {
    Object.assign(this, { place, id: figures, off: new Set(), zoom: {}, pointed: null, drawn: [] });
    figures += 1;
    this.head = make("p", "", { class: "figure-title" });
    this.area = make("div", "", { class: "figure-area", tabindex: "0", role: "application" });
    this.window = make("div", "", { class: "figure-window", "aria-hidden": "true" });
    this.canvas = make("canvas");
    this.cursor = make("div", "", { class: "cursor", hidden: "" });
    this.window.append(this.canvas);
    this.svg = draw(null, "svg", { "aria-hidden": "true" });
    this.over = make("div", "", { class: "figure-over", "aria-hidden": "true" });
    this.over.append(this.cursor);
    this.area.append(this.window, this.svg, this.over);
    this.keys = make("div", "", { class: "figure-legend" });
    this.foot = make("div", "", { class: "figure-foot" });
    this.foot.append(this.keys);
    place.replaceChildren(this.head, this.area, this.foot);
    place.classList.add("figure");
    const said = place.closest("figure")?.querySelector(".finding[id]");
    if (said) this.area.setAttribute("aria-describedby", said.id);
    this.readout = new Readout(this);
    wireZoom(this);
    wireSaving(this);
    widths.observe(place);
  }

  draw(spec) {
    this.spec = { series: [], legend: spec.series?.length > 1, ...spec };
    this.zoom = {};
    this.reset.hidden = true;
    this.readout.hide();
    this.tellTitle(spec.title || "");
    this.area.setAttribute("aria-label", `${spec.describe || this.summary()} Arrow keys read values, + and - zoom, 0 shows all.`);
    this.render();
    drawLegend(this);
    this.place.classList.add("drawn");
  }

  summary() {
    const { x, y, cells, series, title } = this.spec;
    const names = [...new Set(series.filter((s) => s.name && s.legend !== false).map((s) => s.name))];
    const what = cells ? `Heat map of ${cells.bar?.title || "values"}` : `Figure of ${title || y.title || "values"}`;
    return `${what} by ${x.title || "column"}${names.length ? `: ${names.join(", ")}` : ""}.`;
  }

  tellTitle(text) {
    this.spec.title = text;
    this.head.textContent = text;
    this.head.hidden = !text;
  }

  resized() {
    if (this.spec && this.place.clientWidth && this.place.clientWidth !== this.width) this.render();
  }

  /** Everything from the specification: margins, axes, series, cells, cursor. */
  render() {
    this.width = this.place.clientWidth || 600;
    const asked = this.spec.height || 320;
    const least = this.spec.y.names ? 70 + 16 * this.spec.y.names.length : 0;  // rows keep room for their names
    this.height = Math.round(Math.max(Math.min(least, asked), (Number(paint("figure-scale")) || 1) * asked));
    this.layout();
    const { svg, box } = this;
    svg.replaceChildren();
    for (const [name, value] of Object.entries({ width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}`, "font-family": ink("sans"), "font-size": 12 })) svg.setAttribute(name, value);
    this.area.style.height = `${this.height}px`;
    drawAxes(this);
    this.plot = draw(svg, "svg", { class: "figure-plot", x: box.left, y: box.top, width: box.width, height: box.height, overflow: "hidden" });
    for (const part of [this.window, this.over]) Object.assign(part.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
    this.renderCells();
    this.drawn = this.spec.series.map((s, i) => this.renderSeries(s, draw(this.plot, "g", { "data-series": i })));
    if (this.pointed) this.shift();
    this.readout.again();
  }

  layout() {
    const { spec } = this;
    const values = (own, end) => spec.series.flatMap((s) => [...s[own], ...((s.along || "y") === own && s.low ? [...s.low, ...s.high] : [])]).concat(end);
    const cells = spec.cells?.value;
    const across = { ...spec.x, range: spec.x.range || (cells && !spec.x.names ? [-0.5, (cells[0]?.length || 1) - 0.5] : undefined) };
    const up = { ...spec.y, range: spec.y.range || (cells && !spec.y.names ? [-0.5, cells.length - 0.5] : undefined) };
    const wide = (axis) => Math.max(0, ...axis.ticks.map(([, text]) => textWidth(text)));
    const tall = new Axis(up, values("y", []), 1, 0, this.zoom.y);
    const left = spec.y.hidden ? 8 : 10 + wide(tall) + 8 + (spec.y.title ? 20 : 0);
    const right = spec.cells?.bar ? barRoom(spec.cells) : 14;
    const width = Math.max(40, Math.min(this.width - left - right, spec.widest || Infinity));
    this.x = new Axis(across, values("x", []), 0, width, this.zoom.x);
    const most = wide(this.x);
    this.turned = Boolean(across.names) && most + 8 > width / Math.max(1, this.x.high - this.x.low);
    const below = 10 + (this.turned ? 10 + 0.71 * most : 14) + (spec.x.title ? 20 : 4);
    this.box = { left, top: 10, width, height: Math.max(20, this.height - 10 - below), below };
    this.y = new Axis(up, values("y", []), this.box.height, 0, this.zoom.y);
  }

  renderSeries(s, group) {
    group.replaceChildren();
    if (this.off.has(s.name)) return null;
    return drawSeries(group, s, this.x, this.y);
  }

  renderCells() {
    const { cells } = this.spec;
    this.window.hidden = !cells;
    if (!cells) return;
    this.writing?.remove();
    paintCells(this.canvas, cells);
    const [columns, rows] = [cells.value[0]?.length || 0, cells.value.length];
    const [left, top] = [this.x.at(-0.5), this.y.at(rows - 0.5)];
    Object.assign(this.canvas.style, { left: `${left}px`, top: `${top}px`, width: `${this.x.at(columns - 0.5) - left}px`, height: `${this.y.at(-0.5) - top}px` });
    this.writing = draw(null, "g", {});
    this.plot.prepend(this.writing);
    drawCellMarks(this.writing, cells, this.x, this.y);
  }

  /** Change one series, its name in the legend too. */
  set(index, changes) {
    const series = this.spec.series[index];
    const named = "name" in changes && changes.name !== series.name;
    Object.assign(series, changes);
    this.drawn[index] = this.renderSeries(series, this.plot.querySelector(`[data-series="${index}"]`));
    if (named) renameLegend(this, index, series.name);
    this.readout.again();
  }

  setCells(changes) {
    Object.assign(this.spec.cells, changes);
    this.renderCells();
    this.readout.again();
  }

  /** The cursor at an x value; heat maps pass `half` a column and get a frame around the whole of it. */
  point(x, half = 0) {
    this.pointed = { x, half };
    this.shift();
  }

  shift() {
    const { pointed: { x, half }, cursor, box } = this;
    const [left, right] = [this.x.at(x - half), this.x.at(x + half)];
    const [from, to] = [Math.max(0, left), Math.min(box.width, right)];
    cursor.hidden = !(to >= from);
    cursor.classList.toggle("frame", half > 0);
    cursor.style.width = `${to - from + 2}px`;  // the middle of its line of 2 px is what points
    cursor.style.transform = `translate(${from - 1}px, 0)`;
  }
}

function drawAxes(figure) {
  const { svg, box, x, y, spec } = figure;
  const text = (attributes, words) => draw(svg, "text", { fill: ink("ink"), ...attributes }, words);
  const bottom = box.top + box.height;
  for (const [value, words] of thinned(y.ticks, (v) => y.at(v), 15)) {
    const at = box.top + y.at(value);
    if (!spec.cells && !y.names && spec.y.grid !== false) draw(svg, "line", { class: "grid", x1: box.left, x2: box.left + box.width, y1: at, y2: at, stroke: ink("rule") });
    if (!spec.y.hidden) text({ class: "y-tick", x: box.left - 8, y: at + 4, "text-anchor": "end" }, words);
  }
  const room = figure.turned ? 13 : Math.max(0, ...x.ticks.map(([, words]) => textWidth(words))) + 10;
  for (const [value, words] of thinned(x.ticks, (v) => x.at(v), room)) {
    const at = box.left + x.at(value);
    if (!spec.cells && !x.names && spec.x.grid !== false) draw(svg, "line", { class: "grid", x1: at, x2: at, y1: box.top, y2: bottom, stroke: ink("rule") });
    draw(svg, "line", { x1: at, x2: at, y1: bottom, y2: bottom + 4, stroke: ink("muted") });
    if (figure.turned) text({ class: "x-tick", transform: `translate(${at + 3},${bottom + 14}) rotate(-45)`, "text-anchor": "end" }, words);
    else text({ class: "x-tick", x: at, y: bottom + 18, "text-anchor": "middle" }, words);
  }
  if (!spec.cells) draw(svg, "path", { d: `M${box.left},${box.top}V${bottom}H${box.left + box.width}`, fill: "none", stroke: ink("muted") });
  if (x.title) text({ class: "x-title", x: box.left + box.width / 2, y: figure.height - 5, "text-anchor": "middle" }, x.title);
  if (y.title && !spec.y.hidden) text({ class: "y-title", transform: `translate(13,${box.top + box.height / 2}) rotate(-90)`, "text-anchor": "middle" }, y.title);
  if (spec.cells?.bar) drawBar(svg, spec.cells, box.left + box.width, box.top, box.height, `shade-${figure.id}`);
}

/** Every tick, or every n-th so that none touches the next. */
function thinned(ticks, at, room) {
  if (ticks.length < 2) return ticks;
  const gaps = ticks.slice(1).map(([v], i) => Math.abs(at(v) - at(ticks[i][0])));
  const every = Math.max(1, Math.ceil(room / Math.min(...gaps)));
  return every > 1 && !evenly(gaps) ? spaced(ticks, at, room) : ticks.filter((_, i) => i % every === 0);
}

const evenly = (gaps) => Math.max(...gaps) < 1.2 * Math.min(...gaps);

function spaced(ticks, at, room) {
  const kept = [];
  for (const tick of ticks) if (!kept.length || Math.abs(at(tick[0]) - at(kept.at(-1)[0])) >= room) kept.push(tick);
  return kept;
}
