/* The heads of one pane: a heat map of their scores as a table, a button a head, and how much their attention changed. */

function headTable(pane, shown, theme, ask, number) {
  const heads = [];
  for (let layer = 0; layer < pane.layers; layer++) {
    for (let head = 0; head < pane.heads; head++) heads.push(`L${layer}H${head}`);
  }
  const moved = new Map(pane.downstream.map((each) => [each.head, each.value]));
  const columns = pane.scores.map((each) => each.relation);
  if (moved.size) columns.push("attention changed");
  const rows = heads.map((head) => [
    make("th", { scope: "row" }, headButton(head, shown, ask, number)),
    ...pane.scores.map((each) => scoreCell(each, head, theme, ask)),
    ...(moved.size ? [cell(moved.get(head) ?? null, theme, "", 1)] : []),
  ]);
  const chance = ["uniform attention", ...pane.scores.map((each) => make("td", { class: "muted" }, written(each.chance, 2)))];
  if (moved.size) chance.push(make("td", null, ""));
  const words = pane.scores.length
    ? `Scores of heads (${pane.scores[0].unit}); a click changes a head`
    : "Heads; this task names no relations to score them on";
  const found = table(words, ["head", ...columns], pane.scores.length ? [...rows, chance] : rows);
  found.classList.add("heat");
  return make("div", { class: "scroll" }, rove(found));
}

function headButton(head, shown, ask, number) {
  return make("button", {
    type: "button", class: "head", "data-rove": true, "data-key": `head ${number} ${head}`,
    "aria-pressed": String(shown.selected.includes(head)), onclick: () => ask({ toggle: head }),
  }, head);
}

function scoreCell(relation, head, theme, ask) {
  const [value, low, high] = relation.cells[head] ?? [null, null, null];
  const words = `${head}, ${relation.relation}: ${withInterval(value, low, high)}`;
  const found = cell(value, theme, words, 1);
  found.addEventListener("click", () => ask({ toggle: head }));
  found.classList.add("click");
  return found;
}

/** A coloured cell; `full` is the value of the strongest colour. */
function cell(value, theme, words, full) {
  const found = make("td", { title: words || null }, written(value, 2));
  if (value !== null) {
    const colour = shade(value / full, theme);
    found.style.backgroundColor = css(colour);
    found.style.color = inkOn(colour);
  }
  return found;
}
