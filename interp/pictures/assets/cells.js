// Heat maps: one pixel of a canvas a cell, stretched to the plot, with a colour bar. Blank cells hold no value.
// cells: { value[row][column], low, high, stops, text[row][column], gap, breaks, bar: { title, ticks }, tell(row, column) };
// row 0 is at the bottom. `stops` are colours from low to high, as #rrggbb.

const BAR = { width: 10, gap: 12 };

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const luminance = ([r, g, b]) => [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);

/** From a value to a colour, between the stops. */
function shades(stops, low, high) {
  const known = stops.map(rgb);
  return (value) => {
    const share = Math.max(0, Math.min(1, (value - low) / (high - low || 1))) * (known.length - 1);
    const i = Math.min(known.length - 2, Math.floor(share));
    return known[i].map((v, k) => v + (share - i) * (known[i + 1][k] - v));
  };
}

function paintCells(canvas, cells) {
  const [height, width] = [cells.value.length, cells.value[0]?.length || 0];
  if (!height || !width) return;
  Object.assign(canvas, { width, height });
  const colour = shades(cells.stops, cells.low, cells.high);
  const pixels = new Uint8ClampedArray(4 * width * height);
  cells.value.forEach((row, r) => row.forEach((value, c) => {
    if (value === null || value === undefined || Number.isNaN(value)) return;
    pixels.set([...colour(value), 255], 4 * ((height - 1 - r) * width + c));
  }));
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** Lines between cells or groups of rows, in the colour of the paper, and what is written in the cells. */
function drawCellMarks(plot, cells, x, y) {
  const line = (attributes, width) => draw(plot, "line", { stroke: ink("paper"), "stroke-width": width, ...attributes });
  const [columns, rows] = [cells.value[0]?.length || 0, cells.value.length];
  const [left, right] = [x.at(-0.5), x.at(columns - 0.5)];
  const [bottom, top] = [y.at(-0.5), y.at(rows - 0.5)];
  draw(plot, "rect", { x: left, y: top, width: right - left, height: bottom - top, fill: "none", stroke: ink("line"), "stroke-width": 1 });
  for (const at of cells.breaks || []) line({ x1: left, x2: right, y1: y.at(at), y2: y.at(at) }, 3);
  for (let c = 0; cells.gap && c <= columns; c += 1) line({ x1: x.at(c - 0.5), x2: x.at(c - 0.5), y1: bottom, y2: top }, 1);
  for (let r = 0; cells.gap && r <= rows; r += 1) line({ x1: left, x2: right, y1: y.at(r - 0.5), y2: y.at(r - 0.5) }, 1);
  if (!cells.text) return;
  const colour = shades(cells.stops, cells.low, cells.high);
  cells.text.forEach((row, r) => row.forEach((text, c) => {
    if (!text) return;
    const value = cells.value[r][c];
    const fill = value === null || value === undefined ? ink("ink") : luminance(colour(value)) > 0.19 ? "#101418" : "#ffffff";
    draw(plot, "text", { class: "cell-text", x: x.at(c), y: y.at(r) + 4, "text-anchor": "middle", fill, "font-size": 12 }, text);
  }));
}

/** Room that the colour bar takes to the right of the plot. */
function barRoom(cells) {
  const widest = Math.max(...barTicks(cells).map(([, text]) => textWidth(text, 11)));
  return BAR.gap + BAR.width + 8 + widest + (cells.bar.title ? 20 : 0);
}

const barTicks = (cells) => (cells.bar.ticks || rounded(cells.low, cells.high)).filter(([v]) => v >= cells.low - 1e-9 && v <= cells.high + 1e-9);

function drawBar(svg, cells, left, top, height, id) {
  const shade = draw(draw(svg, "defs", {}), "linearGradient", { id, x1: 0, x2: 0, y1: 1, y2: 0 });
  cells.stops.forEach((colour, i) => draw(shade, "stop", { offset: i / (cells.stops.length - 1), "stop-color": colour }));
  draw(svg, "rect", { x: left + BAR.gap, y: top, width: BAR.width, height, fill: `url(#${id})` });
  const edge = left + BAR.gap + BAR.width;
  let widest = 0;
  for (const [value, text] of barTicks(cells)) {
    const y = top + height * (1 - (value - cells.low) / (cells.high - cells.low || 1));
    draw(svg, "line", { x1: edge, x2: edge + 4, y1: y, y2: y, stroke: ink("muted") });
    draw(svg, "text", { x: edge + 7, y: y + 4, "font-size": 11, fill: ink("ink") }, text);
    widest = Math.max(widest, textWidth(text, 11));
  }
  const at = edge + 7 + widest + 13;
  draw(svg, "text", { transform: `translate(${at},${top + height / 2}) rotate(-90)`, "text-anchor": "middle", fill: ink("ink"), "font-size": 12 }, cells.bar.title || "");
}
