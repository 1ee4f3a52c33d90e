// How this page uses plotly: one look for all figures, a cursor over the chosen checkpoint, and labels that stay text.

const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false, scrollZoom: false };
const DASHES = ["solid", "dash", "dashdot", "longdash", "dot", "longdashdot"];

/** Plotly reads a little HTML in every label; this keeps a label from being read. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(extra) {
  const axis = {
    gridcolor: ink("rule"), linecolor: ink("muted"), zeroline: false, ticks: "outside", ticklen: 4,
    tickcolor: ink("muted"), automargin: true, fixedrange: true, title: { font: { size: 12.5 }, standoff: 8 },
  };
  const merged = (own) => ({ ...axis, ...own, title: { ...axis.title, ...(own && own.title) } });
  return {
    font: { family: ink("sans"), size: 12, color: ink("ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 14, t: 40, b: 46 }, height: 320, hovermode: "closest", dragmode: false,
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { size: 12 } },
    hoverlabel: { bgcolor: ink("card"), bordercolor: ink("muted"), font: { family: ink("sans"), color: ink("ink") } },
    ...extra,
    title: { text: extra.title || "", x: 0, xref: "paper", font: { size: 13.5 }, y: 0.985, yanchor: "top" },
    xaxis: merged(extra.xaxis), yaxis: merged(extra.yaxis),
  };
}

function plot(element, traces, extra) {
  need("plotly");
  const paper = document.documentElement.classList.contains("paper");
  if (element.onPaper !== paper) {  // a plot that is there keeps the width it has
    Plotly.purge(element);
    element.cursor = null;
  }
  element.onPaper = paper;
  element.classList.add("drawn");
  Plotly.react(element, traces, layout(extra), CONFIG);
  if (!element.cursor) addCursor(element);
}

/** The cursor lies over the plot and is shifted: as a shape of plotly's it would redraw the figure at every move. */
function addCursor(element) {
  element.cursor = make("div", "", { class: "cursor", "aria-hidden": "true", hidden: "" });
  element.querySelector(".svg-container").append(element.cursor);
  element.on("plotly_afterplot", () => { if (element.pointed) shiftCursor(element); });
}

/** Put the cursor at an x value; heat maps pass `half` a column and get a frame around the whole of it. */
function point(element, x, half = 0) {
  element.pointed = { x, half };
  shiftCursor(element);
}

function shiftCursor(element) {
  const { pointed: { x, half }, cursor } = element;
  const { xaxis, yaxis } = element._fullLayout;
  const [left, right] = [xaxis.d2p(x - half), xaxis.d2p(x + half)];
  cursor.hidden = false;
  cursor.classList.toggle("frame", half > 0);
  cursor.style.width = `${right - left + 2}px`;  // the middle of its line of 2 px is what points
  cursor.style.height = `${yaxis._length + 2}px`;
  cursor.style.transform = `translate(${xaxis._offset + left}px, ${yaxis._offset}px)`;
}

/** Where a step stands on a step axis. Step 0 has no logarithm: it stands half a step below the first positive one. */
function place(steps) {
  const first = Math.min(...steps.filter((s) => s > 0), Infinity);
  return (step) => (page.axis === "log" && step <= 0 ? (first === Infinity ? 1 : first / 2) : step);
}

function stepAxis(steps) {
  const at = place(steps);
  const last = Math.max(...steps);
  if (page.axis === "linear") {
    const room = 0.02 * (last || 1);
    return { title: { text: "training step" }, range: [-room, last + room], tickformat: "~s" };
  }
  const low = Math.log10(at(0));
  const decades = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].filter((d) => d > at(0) * 1.5 && d <= last);
  return {
    title: { text: "training step (log)" }, type: "log", range: [low - 0.05, Math.log10(last || 1) + 0.05],
    tickvals: [at(0), ...decades], ticktext: ["0", ...decades.map(whole)],
  };
}

/** The axis of a heat map: one column a checkpoint, evenly spaced like the slider. */
function columnAxis(steps) {
  const every = Math.max(1, Math.ceil(steps.length / 8));
  const ticks = steps.map((_, i) => i).filter((i) => i % every === 0);
  return {
    title: { text: "checkpoint (training step)" }, showgrid: false,
    tickvals: ticks, ticktext: ticks.map((i) => whole(steps[i])), range: [-0.5, steps.length - 0.5],
  };
}

/** Closed outlines between two curves, null between them: a band never bridges a point without an interval. */
function outline(x, low, high) {
  const band = { x: [], y: [] };
  for (let start = 0, end; start < x.length; start = end + 1) {
    for (end = start; end < x.length && low[end] !== null && high[end] !== null; end += 1);
    if (end === start) continue;
    const part = x.slice(start, end);
    band.x.push(...part, ...part.toReversed(), null);
    band.y.push(...high.slice(start, end), ...low.slice(start, end).reverse(), null);
  }
  return band;
}

/** A line with its interval as a band: two traces that share a legend entry. */
function ribbon(steps, panel, row, colour, style = {}) {
  const at = place(steps);
  const x = steps.map(at);
  const name = plain(panel.rows[row]);
  const traces = [];
  if (panel.low) {
    const band = outline(x, panel.low[row], panel.high[row]);
    traces.push({
      x: band.x, y: band.y, fill: "toself", fillcolor: colour, opacity: 0.2, mode: "lines", line: { width: 0 }, hoverinfo: "skip",
      showlegend: false, legendgroup: name,
    });
  }
  traces.push({
    x, y: panel.value[row], name, legendgroup: name, mode: "lines", line: { color: colour, width: 2, dash: style.dash },
    customdata: steps.map((s, i) => [whole(s), plain(interval(panel, row, i))]),
    hovertemplate: `${name}<br>step %{customdata[0]}<br>%{y:.3g} %{customdata[1]}<extra></extra>`,
    showlegend: style.legend !== false,
  });
  return traces;
}

function level(value, text, colour, dash, range) {
  return {
    x: range, y: [value, value], name: plain(text), mode: "lines", line: { color: colour, width: 1.3, dash },
    hovertemplate: `${plain(text)} %{y:.3g}<extra></extra>`,
  };
}
