/* Elements made of text and never of markup, colours, and what keyboards need: shared by all parts of the view. */

/** An element with properties (class, attributes, on... handlers) and children; strings become text. */
function make(tag, properties, ...children) {
  const found = document.createElement(tag);
  return fill(found, properties, children);
}

/** The same for a drawing. */
function drawing(tag, properties, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(found, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") found[name] = value;
    else found.setAttribute(name, value === true ? "" : String(value));
  }
  found.append(...children.flat().filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return found;
}

/** A number as the view writes it; a dash where there is none. */
function written(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  return Number(text) ? text.replace("-", "−") : text.replace("-", ""); // no zero below zero
}

/** A number with its interval. */
function withInterval(value, low, high, digits = 3) {
  if (value === null || value === undefined) return "–";
  const limits = low === null || low === undefined ? "" : ` [${written(low, digits)}, ${written(high, digits)}]`;
  return written(value, digits) + limits;
}

const PALETTES = {
  light: { paper: [255, 255, 255], most: [8, 69, 148], more: [33, 102, 172], less: [166, 73, 0] },
  dark: { paper: [24, 28, 33], most: [142, 202, 255], more: [125, 190, 245], less: [255, 176, 110] },
};

/** The colour of a share: paper at 0, the palette's end at 1 or beyond; below 0 the other end. */
function shade(share, theme, diverging = false) {
  const palette = PALETTES[theme];
  const end = share < 0 ? palette.less : diverging ? palette.more : palette.most;
  const t = Math.min(1, Math.abs(share));
  return palette.paper.map((from, i) => Math.round(from + (end[i] - from) * t));
}

/** Black or white, whichever has more contrast on a colour. */
function inkOn(colour) {
  const [r, g, b] = colour.map((c) => {
    const s = c / 255;
    return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

function css(colour) {
  return `rgb(${colour.join(",")})`;
}

/** Whether what the view stands on is dark: the first ground that is painted, through shadow roots, else the system. */
function themeAround(element) {
  for (let at = element; at; at = at.parentElement ?? at.getRootNode().host ?? null) {
    const ground = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (ground.length === 3 || ground[3] > 0.5) {
      return 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] < 128 ? "dark" : "light";
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Of many buttons one is reached by Tab, the others by the arrows. */
function rove(container) {
  const all = () => [...container.querySelectorAll("[data-rove]")];
  const stand = (chosen) => all().forEach((each) => each.setAttribute("tabindex", each === chosen ? "0" : "-1"));
  stand(all().find((each) => each.getAttribute("aria-pressed") === "true") ?? all()[0]);
  container.addEventListener("focusin", (event) => event.target.dataset.rove !== undefined && stand(event.target));
  container.addEventListener("keydown", (event) => {
    const way = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const here = all().indexOf(event.target);
    if (!way || here < 0) return;
    event.preventDefault();
    all()[(here + way + all().length) % all().length].focus();
  });
  return container;
}

/** Draw again what `into` holds, and put the keyboard back where it was. */
function redraw(into, children) {
  const root = into.getRootNode();
  const key = into.contains(root.activeElement) ? root.activeElement.dataset.key : undefined;
  into.replaceChildren(...children);
  if (key !== undefined) {
    [...into.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key)?.focus({ preventScroll: true });
  }
}

/** A table of strings and elements, its first column as row heads. */
function table(caption, heads, rows) {
  const head = make("tr", null, heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((row) => make("tr", null, row.map((cell, i) => {
    if (cell instanceof HTMLTableCellElement) return cell;
    return i ? make("td", null, cell) : make("th", { scope: "row" }, cell);
  })));
  return make("table", null, make("caption", null, caption), make("thead", null, head), make("tbody", null, body));
}
