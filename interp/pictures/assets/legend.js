// The legend: a button a series, which takes it out of the figure and puts it back; a double click leaves it alone there.

/** Series of one name share an entry. */
function legendEntries(figure) {
  const named = new Map();
  figure.spec.series.forEach((s) => { if (s.name && s.legend !== false && !named.has(s.name)) named.set(s.name, s); });
  return [...named];
}

function drawLegend(figure) {
  const entries = figure.spec.legend ? legendEntries(figure) : [];
  figure.keys.replaceChildren();
  figure.keys.hidden = !entries.length;
  for (const [name, s] of entries) {
    const button = make("button", "", { type: "button", class: "key", "aria-pressed": String(!figure.off.has(name)), title: "Hide or show; double click: this one alone" });
    drawSwatch(button, s);
    button.append(make("span", name));
    button.addEventListener("click", () => toggle(figure, button.lastChild.textContent));
    button.addEventListener("dblclick", () => alone(figure, button.lastChild.textContent));
    figure.keys.append(button);
  }
}

function renameLegend(figure, index, name) {
  const place = legendEntries(figure).findIndex(([own]) => own === name);
  const button = figure.keys.children[place];
  if (!button) return;
  const before = button.lastChild.textContent;
  if (figure.off.delete(before)) figure.off.add(name);
  button.lastChild.textContent = name;
}

function toggle(figure, name) {
  if (!figure.off.delete(name)) figure.off.add(name);
  shown(figure);
}

function alone(figure, name) {
  const others = legendEntries(figure).map(([other]) => other).filter((other) => other !== name);
  const already = others.every((other) => figure.off.has(other));
  figure.off = new Set(already ? [] : others);
  shown(figure);
}

function shown(figure) {
  for (const button of figure.keys.children) button.setAttribute("aria-pressed", String(!figure.off.has(button.lastChild.textContent)));
  figure.render();
}
