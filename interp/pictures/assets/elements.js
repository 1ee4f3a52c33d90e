// Elements, colours and numbers of a figure. Labels are set as text, so none is ever read as markup.
// Colours are custom properties of the page (--ink, --series-1, ...): a change of theme needs no new drawing.

const SVG = "http://www.w3.org/2000/svg";
const HUES = 6;
const DASHES = ["solid", "dash", "dashdot", "longdash", "dot", "longdashdot"];
const STROKES = { dash: "7 5", dashdot: "8 4 2 4", longdash: "13 5", dot: "2 4", longdashdot: "13 4 2 4" };

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function draw(parent, tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

const ink = (name) => `var(--${name})`;
const hue = (index) => `var(--series-${1 + (index % HUES)})`;
const dashOf = (index) => DASHES[index % DASHES.length];

/** A colour of the theme as it is now, for what no style sheet reaches: canvases and saved files. */
const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const paints = (name) => paint(name).split(/\s+/).filter(Boolean);

function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

const grouped = new Intl.NumberFormat("en-US");  // once: a heat map writes thousands of steps
const whole = (value) => grouped.format(Math.round(value));

const between = (low, high) => (low === null || low === undefined || high === null || high === undefined ? "" : ` [${number(low)}, ${number(high)}]`);
const apart = (items, holds) => [items.filter(holds), items.filter((item) => !holds(item))];

let ruler = null;

/** Width of a text in pixels, without asking the browser to lay the page out. */
function textWidth(text, size = 12) {
  ruler ??= make("canvas").getContext("2d");
  const font = `${size}px ${paint("sans") || "sans-serif"}`;
  if (ruler.asked !== size) Object.assign(ruler, { font, asked: size });
  return ruler.measureText(text).width;
}
