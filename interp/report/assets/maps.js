// Plain attention maps, one pixel a weight, in the colours that CircuitsVis would give: for paper, and for a slider on
// its way. CircuitsVis mixes a colour with white in CIE Lab (white point D50); as Lab is linear in the cube roots below and
// white has all of them at 1, mixing there is the same.

const [POSITIVE, NEGATIVE, MASKED] = [[11, 92, 158], [179, 52, 28], [200, 200, 200]];
const css = (colour) => `rgb(${colour.join(", ")})`;
const TO_XYZ = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]];
const FROM_XYZ = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454], [0.0719453, -0.2289914, 1.4052427]];
const D50 = [0.96422, 1, 0.82521];

const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, v, i) => sum + v * vector[i], 0));
const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const gamma = (v) => 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
const root = (v) => (v > 216 / 24389 ? Math.cbrt(v) : ((24389 / 27) * v + 16) / 116);
const cube = (v) => (v ** 3 > 216 / 24389 ? v ** 3 : (27 / 24389) * (116 * v - 16));

/** A colour's share, from 0 (white) to 1. */
function tint(colour, share) {
  const roots = times(TO_XYZ, colour.map(linear)).map((v, i) => root(v / D50[i]));
  return times(FROM_XYZ, roots.map((v, i) => D50[i] * cube(1 + share * (v - 1)))).map(gamma);
}

const tints = new Map();

/** The colour of a weight, cached: there are 256 weights at most. */
function colourOf(weight, top) {
  const share = Math.max(-1, Math.min(1, weight / top));
  if (!tints.has(share)) tints.set(share, tint(share < 0 ? NEGATIVE : POSITIVE, Math.abs(share)));
  return tints.get(share);
}

/** White at 0, blue above, red below, grey where no weight can be. */
function mapOf(a, pattern) {
  const [height, width] = [pattern.length, pattern[0].length];
  const top = a.signed ? 127 * a.scale : 1;
  const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
  pattern.forEach((row, y) => row.forEach((weight, x) => {
    pixels.set(a.causal && x > y ? MASKED : colourOf(weight, top), 4 * (y * width + x));
  }));
  const canvas = make("canvas", "", { width, height });
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

/** Lay a map over the cells that CircuitsVis drew, and leave its axes. Nothing happens where it has not drawn yet. */
function paintOver(canvas, map) {
  const chart = canvas && chartOf(canvas);
  if (!chart) return;
  const { left, top, width, height } = chart.chartArea;
  const brush = canvas.getContext("2d");
  brush.save();
  brush.setTransform(canvas.width / chart.width, 0, 0, canvas.height / chart.height, 0, 0);
  brush.imageSmoothingEnabled = false;
  brush.drawImage(map, left, top, width, height);
  brush.restore();
}

/** The chart.js chart of a canvas. Nobody hands it out; React keeps it as the second note of what made the canvas. */
function chartOf(canvas) {
  const made = canvas[Object.keys(canvas).find((key) => key.startsWith("__reactFiber$"))];
  return made?.return?.memoizedState?.next?.memoizedState?.current;
}
