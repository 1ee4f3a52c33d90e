// Figures over training: step axes, the cursor at the chosen checkpoint, a curve with its interval, reference levels.

/** Where a step stands on a step axis. Step 0 has no logarithm: it stands half a step below the first positive one. */
function place(steps) {
  const first = Math.min(...steps.filter((s) => s > 0), Infinity);
  return (step) => (page.axis === "log" && step <= 0 ? (first === Infinity ? 1 : first / 2) : step);
}

function stepAxis(steps) {
  const at = place(steps);
  const last = Math.max(...steps) || 1;
  if (page.axis === "linear") {
    const room = 0.02 * last;
    return { title: "training step", range: [-room, last + room] };
  }
  const low = at(0);
  const ticks = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter((d) => d > low * 1.5 && d <= last);
  return { title: "training step (log)", scale: "log", range: [low / 1.12, last * 1.12], ticks: [[low, "0"], ...ticks.map((d) => [d, whole(d)])] };
}

/** The axis of a heat map: one column a checkpoint, evenly spaced like the slider. */
function columnAxis(steps) {
  const ticks = (low, high) => {
    const inside = steps.map((s, i) => [i, whole(s)]).filter(([i]) => i >= low && i <= high);
    const every = Math.max(1, Math.ceil(inside.length / 8));
    return inside.filter((_, i) => i % every === 0);
  };
  return { title: "checkpoint (training step)", range: [-0.5, steps.length - 0.5], ticks };
}

/** Put the cursor of a figure at an x value; heat maps pass `half` a column. */
const point = (element, x, half = 0) => element.figure.point(x, half);

function interval(panel, row, column) {
  return panel.low ? between(panel.low[row][column], panel.high[row][column]).trim() : "";
}

/** One row of a panel as a curve with its interval as a band. */
function ribbon(steps, panel, row, colour, style = {}) {
  const name = panel.rows[row];
  return {
    x: steps.map(place(steps)), y: panel.value[row], name, colour, dash: style.dash, legend: style.legend,
    low: panel.low && panel.low[row], high: panel.low && panel.high[row],
    tell: (i) => `${name}\nstep ${whole(steps[i])}\n${number(panel.value[row][i])} ${interval(panel, row, i)}`,
  };
}

/** A reference level from one end of the step axis to the other. */
function level(value, name, dash, ends, style = {}) {
  return { x: ends, y: [value, value], name, colour: ink("muted"), width: 1.5, dash, tell: () => `${name}\n${number(value)}`, ...style };
}

/** A single curve over steps that is read by its name. */
function curve(name, steps, y, style) {
  return { x: steps.map(place(steps)), y, name, tell: (i) => `${name}\nstep ${whole(steps[i])}\n${number(y[i])}`, ...style };
}
