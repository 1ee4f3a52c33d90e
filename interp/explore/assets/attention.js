/* Attention of single heads on the prompt on show, as heat maps with a cell under the mouse or the arrows read out. */

const SIDE = 260; // pixels of a map

function attentionMaps(pane, shown, theme, ask, number) {
  if (!pane.attention.length) return null;
  const maps = pane.attention.map((each) => oneHead(pane, each, theme));
  const pick = make("select", {
    "aria-label": "attention of the head", "data-key": `attention ${number}`,
    onchange: (event) => ask({ head: event.target.value || null }),
  });
  const all = [{ name: "", words: "by itself" }];
  for (let layer = 0; layer < pane.layers; layer++) {
    for (let head = 0; head < pane.heads; head++) all.push({ name: `L${layer}H${head}`, words: `L${layer}H${head}` });
  }
  choices(pick, all, pane.attention.find((each) => each.why === "chosen")?.head ?? "");
  return make("section", null,
    make("h4", null, "Attention on this prompt ", make("label", { class: "plain" }, "of head ", pick)), maps);
}

function oneHead(pane, each, theme) {
  const labels = pane.labels.slice(each.first);
  const cut = each.first ? ` (the last ${labels.length} of ${pane.labels.length} tokens)` : "";
  const shownMaps = [heatMap(each.before, labels, theme, `${each.head}, intact`)];
  if (each.after) shownMaps.push(heatMap(each.after, labels, theme, `${each.head}, changed`));
  return make("div", null, make("p", { class: "plain" }, `${each.head}: ${each.why}${cut}`),
    make("div", { class: "maps" }, shownMaps));
}

/** Rows attend (queries), columns are attended to. */
function heatMap(rows, labels, theme, name) {
  const size = rows.length;
  const side = Math.max(1, Math.floor(SIDE / size));
  const most = Math.max(1, ...rows.map((row) => Math.max(...row.map(Math.abs))));
  const canvas = make("canvas", {
    width: size * side, height: size * side, tabindex: 0, role: "img",
    "aria-label": `attention of ${name}: ${size} by ${size}; arrows move through it`,
  });
  const pen = canvas.getContext("2d");
  const read = make("output", { class: "readout" }, `${name}: point at a cell`);
  const paint = (mark) => {
    rows.forEach((row, y) => row.forEach((value, x) => {
      pen.fillStyle = css(shade(value / most, theme, value < 0));
      pen.fillRect(x * side, y * side, side, side);
    }));
    if (!mark) return;
    pen.strokeStyle = theme === "dark" ? "#ffb06e" : "#a64900";
    pen.lineWidth = 2;
    pen.strokeRect(mark[0] * side + 1, mark[1] * side + 1, Math.max(1, side - 2), Math.max(1, side - 2));
  };
  let at = [size - 1, size - 1];
  const go = (x, y) => {
    at = [Math.min(size - 1, Math.max(0, x)), Math.min(size - 1, Math.max(0, y))];
    paint(at);
    read.textContent = `${labels[at[1]]} attends to ${labels[at[0]]}: ${written(rows[at[1]][at[0]])}`;
  };
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    go(Math.floor(((event.clientX - box.left) / box.width) * size), Math.floor(((event.clientY - box.top) / box.height) * size));
  });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    go(at[0] + way[0], at[1] + way[1]);
  });
  paint();
  return make("figure", null, make("figcaption", null, name), canvas, read);
}
