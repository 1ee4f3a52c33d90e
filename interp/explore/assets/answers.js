/* What a change does: to the scores over the prompts, and to the answer on the prompt on show. */

function effectTable(pane) {
  if (!pane.effects.length) return null;
  const rows = pane.effects.map((row) => [
    row.metric === "normalised effect" ? "effect (corrupt 0, clean 1)" : `${row.metric}: ${row.output}`,
    written(row.intact), written(row.changed),
    row.note ? row.note : withInterval(row.value, row.ci_low, row.ci_high),
  ]);
  const words = `Over ${pane.effects[0].n} prompts: what the change does, with its 95% interval`;
  return make("div", { class: "scroll" }, table(words, ["", "intact", "changed", "difference"], rows));
}

function answerTable(pane) {
  const rows = pane.answers;
  if (!rows.length) return null;
  const [changed, best] = [rows.some((row) => row.changed !== null), rows.some((row) => row.best !== null)];
  const symbols = rows.some((row) => row.symbol);
  const heads = ["output", ...(symbols ? ["answer"] : []), symbols ? "probability" : "prediction"];
  if (changed) heads.push("changed");
  if (best) heads.push("best predictor");
  let last = "";
  const body = rows.map((row) => {
    const name = row.output === last ? "" : row.output;
    last = row.output;
    const found = [name];
    if (symbols) found.push(make("td", null, row.symbol, row.right ? make("b", null, " ✓ right") : null));
    found.push(bar(row.intact, symbols));
    if (changed) found.push(bar(row.changed, symbols));
    if (best) found.push(bar(row.best, symbols));
    return found;
  });
  return make("div", { class: "scroll" }, table("The answer on this prompt", heads, body));
}

/** A number, with a bar below it where it is a probability. */
function bar(value, probability) {
  const found = make("td", { class: "number" }, written(value));
  if (probability && value !== null) {
    const share = make("span", { class: "bar", "aria-hidden": "true" });
    share.style.width = `${Math.round(60 * value)}px`;
    found.append(share);
  }
  return found;
}

function tokens(pane) {
  return make("ol", { class: "tokens", "aria-label": "tokens of the prompt" },
    pane.labels.map((label) => make("li", null, label)));
}
