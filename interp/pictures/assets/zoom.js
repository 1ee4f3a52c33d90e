// Zoom: drag over the plot (only sideways: along x alone), or press + and - on a focused figure; 0, a double click or
// the button shows everything again.

const LEAST = 8;  // pixels that a drag must cover
const CLOSER = 0.5;

function wireZoom(figure) {
  const frame = make("div", "", { class: "zoom-frame", hidden: "" });
  figure.over.append(frame);
  figure.reset = make("button", "Show all", { type: "button", hidden: "" });
  figure.reset.addEventListener("click", () => { zoomTo(figure, {}); figure.area.focus(); });
  figure.area.addEventListener("dblclick", () => zoomTo(figure, {}));
  figure.area.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button) return;
    const start = inPlot(figure, event);
    const { width, height } = figure.box;
    if (start.x < 0 || start.x > width || start.y < 0 || start.y > height) return;
    figure.dragging = { start, at: start };
    figure.area.setPointerCapture(event.pointerId);
  });
  figure.area.addEventListener("pointermove", (event) => {
    if (!figure.dragging) return;
    figure.dragging.at = inPlot(figure, event);
    showFrame(figure, frame);
  });
  figure.area.addEventListener("pointerup", () => {
    if (!figure.dragging) return;
    const asked = dragged(figure);
    figure.dragging = null;
    frame.hidden = true;
    if (asked) zoomTo(figure, asked);
  });
  figure.area.addEventListener("pointercancel", () => { figure.dragging = null; frame.hidden = true; });
  figure.area.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "0") zoomTo(figure, {});
    else if (event.key === "+" || event.key === "=") zoomBy(figure, CLOSER);
    else if (event.key === "-") zoomBy(figure, 1 / CLOSER);
    else return;
    event.preventDefault();
  });
}

function inPlot(figure, event) {
  const edge = figure.area.getBoundingClientRect();
  return { x: event.clientX - edge.left - figure.box.left, y: event.clientY - edge.top - figure.box.top };
}

/** The two ends of a drag within the plot, in pixels: x always, y where it went up or down far enough. */
function span(figure) {
  const { start, at } = figure.dragging;
  const held = (value, most) => Math.max(0, Math.min(most, value));
  const ends = (key, most) => [held(start[key], most), held(at[key], most)].sort((a, b) => a - b);
  const [x, y] = [ends("x", figure.box.width), ends("y", figure.box.height)];
  return { x: x[1] - x[0] >= LEAST ? x : null, y: y[1] - y[0] >= 3 * LEAST ? y : null };
}

function showFrame(figure, frame) {
  const { x, y } = span(figure);
  frame.hidden = !x && !y;
  if (frame.hidden) return;
  figure.readout.hide();
  const [across, up] = [x || [0, figure.box.width], y || [0, figure.box.height]];
  Object.assign(frame.style, { left: `${across[0]}px`, width: `${across[1] - across[0]}px`, top: `${up[0]}px`, height: `${up[1] - up[0]}px` });
}

function dragged(figure) {
  const { x, y } = span(figure);
  if (!x && !y) return null;
  return {
    x: x ? x.map((p) => figure.x.value(p)) : figure.zoom.x,
    y: y ? [figure.y.value(y[1]), figure.y.value(y[0])] : figure.zoom.y,
  };
}

/** Closer or further along x, about what is read or else the cursor. */
function zoomBy(figure, factor) {
  const { readout, x } = figure;
  const at = readout.at && (readout.at.r === undefined ? figure.drawn[readout.at.s].px[readout.at.i] : x.at(readout.at.c));
  const middle = at ?? (figure.pointed ? x.at(figure.pointed.x) : figure.box.width / 2);
  const [low, high] = [x.value(middle - factor * middle), x.value(middle + factor * (figure.box.width - middle))];
  const [least, most] = x.whole;
  zoomTo(figure, low <= least && high >= most ? {} : { ...figure.zoom, x: [Math.max(low, least), Math.min(high, most)] });
}

function zoomTo(figure, zoom) {
  figure.zoom = zoom;
  figure.reset.hidden = !zoom.x && !zoom.y;
  figure.render();
}
