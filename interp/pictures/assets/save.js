// Saved files: a figure as SVG or PNG with its title and legend, in the colours of the theme. Nothing leaves the page.

const SCALE = 2;  // pixels of a PNG to one of the screen

function wireSaving(figure) {
  const tools = make("div", "", { class: "figure-tools" });
  const menu = make("details");
  menu.append(make("summary", "Save"));
  for (const kind of ["SVG", "PNG"]) {
    const button = make("button", kind, { type: "button" });
    button.addEventListener("click", () => { saveFigure(figure, kind); menu.open = false; });
    menu.append(button);
  }
  tools.append(figure.reset, menu);
  figure.foot.append(tools);
}

async function saveFigure(figure, kind) {
  const svg = standalone(figure);
  const name = fileName(`${document.title} ${figure.spec.title || figure.spec.y.title || figure.spec.cells?.bar?.title || "figure"}`);
  if (kind === "SVG") { download(new Blob([svg.text], { type: "image/svg+xml" }), `${name}.svg`); return; }
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svg.text], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = make("canvas", "", { width: SCALE * svg.width, height: SCALE * svg.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  canvas.toBlob((blob) => download(blob, `${name}.png`));
}

const fileName = (text) => text.replace(/[^\w -]+/g, "_").slice(0, 100).trim();

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", "", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** The drawing with what lies around it on the page: title above, legend below, the heat map's pixels inside. */
function standalone(figure) {
  const { width, height, spec, box } = figure;
  const top = spec.title ? 24 : 0;
  const whole = draw(null, "svg", { xmlns: SVG, width, "font-family": ink("sans"), "font-size": 12 });
  draw(whole, "rect", { width: "100%", height: "100%", fill: ink("paper") });
  if (spec.title) draw(whole, "text", { x: box.left, y: 17, "font-weight": 600, fill: ink("ink") }, spec.title);
  const body = figure.svg.cloneNode(true);
  for (const [name, value] of Object.entries({ x: 0, y: top })) body.setAttribute(name, value);
  if (spec.cells) {
    const { left, top: up, width: across, height: down } = figure.canvas.style;
    const image = draw(null, "image", { x: left, y: up, width: across, height: down, href: figure.canvas.toDataURL(), preserveAspectRatio: "none", style: "image-rendering: pixelated" });
    body.querySelector(".figure-plot").prepend(image);
  }
  whole.append(body);
  const below = savedLegend(figure, whole, top + height);
  whole.setAttribute("height", below);
  whole.setAttribute("viewBox", `0 0 ${width} ${below}`);
  return { text: inColour(whole), width, height: below };
}

function savedLegend(figure, whole, from) {
  let [x, y] = [figure.box.left, from + 14];
  const entries = figure.spec.legend ? legendEntries(figure).filter(([name]) => !figure.off.has(name)) : [];
  for (const [name, s] of entries) {
    const room = 34 + textWidth(name) + 16;
    if (x + room > figure.width && x > figure.box.left) { x = figure.box.left; y += 18; }
    const swatch = drawSwatch(whole, s);
    swatch.setAttribute("x", x);
    swatch.setAttribute("y", y - 10);
    draw(whole, "text", { x: x + 32, y, fill: ink("ink") }, name);
    x += room;
  }
  return entries.length ? y + 10 : from;
}

/** As text, custom properties replaced by the colours that they have now. */
const inColour = (svg) => new XMLSerializer().serializeToString(svg).replace(/var\(--([\w-]+)\)/g, (_, name) => paint(name).replace(/"/g, "'"));
