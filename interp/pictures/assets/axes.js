// Axes: from values to pixels and back, with ticks. An axis is `linear`, `log` (base 10) or of `names` (one place each).

const ROOM = 0.04;  // of the values' span, left free at both ends

/** spec: { title, scale, range, zero, names, ticks }; ticks a list of [value, text] or a function (low, high) of it. */
class Axis {
  constructor(spec, values, from, to, zoomed) {
    this.title = spec.title || "";
    this.log = spec.scale === "log";
    this.names = spec.names;
    this.whole = spec.range || this.spread(values, spec.zero);
    [this.low, this.high] = zoomed || this.whole;
    [this.from, this.to] = [from, to];
    this.ticks = this.marks(spec).filter(([v]) => v >= this.low - 1e-12 && v <= this.high + 1e-12);
  }

  /** Pixels of a value, NaN where there is none. */
  at(value) {
    if (value === null || value === undefined) return NaN;
    const share = (this.turned(value) - this.turned(this.low)) / (this.turned(this.high) - this.turned(this.low));
    return this.from + share * (this.to - this.from);
  }

  value(pixels) {
    const share = (pixels - this.from) / (this.to - this.from);
    const turned = this.turned(this.low) + share * (this.turned(this.high) - this.turned(this.low));
    return this.log ? 10 ** turned : turned;
  }

  turned(value) { return this.log ? Math.log10(value) : value; }

  spread(values, zero) {
    if (this.names) return [-0.5, this.names.length - 0.5];
    let [low, high] = [zero ? 0 : Infinity, zero ? 0 : -Infinity];
    for (const value of values) {
      if (value === null || value === undefined || Number.isNaN(value) || (this.log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return this.log ? [1, 10] : [0, 1];
    if (this.log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** ROOM, high * (high / low) ** ROOM];
    const room = ROOM * (high - low || Math.abs(high) || 1);
    return [zero && low === 0 ? 0 : low - room, high + room];
  }

  marks(spec) {
    if (this.names) return this.names.map((name, i) => [i, name]);
    if (typeof spec.ticks === "function") return spec.ticks(this.low, this.high);
    const inside = spec.ticks && spec.ticks.filter(([v]) => v >= this.low && v <= this.high);
    if (inside && (inside.length > 1 || this.low === this.whole[0])) return inside;
    return this.log ? decades(this.low, this.high) : rounded(this.low, this.high);
  }
}

/** About six round numbers between two. */
function rounded(low, high) {
  const rough = (high - low) / 6 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) {
    const value = i * step;
    found.push([value, Math.abs(value) >= 1000 ? whole(value) : value.toFixed(digits)]);
  }
  return found;
}

function decades(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const steps = last - first > 6 ? [1] : last - first > 2 ? [1, 3] : [1, 2, 5];
  const found = [];
  for (let e = first; e <= last; e += 1) for (const m of steps) found.push([m * 10 ** e, number(m * 10 ** e)]);
  const inside = found.filter(([v]) => v >= low && v <= high);
  return inside.length > 1 ? inside : rounded(low, high);
}
