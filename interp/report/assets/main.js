// Start: read the data, build the views of every run, wire the controls.

function showRun(index) {
  const ended = page.step >= page.runs[page.run].steps.at(-1);
  page.run = index;
  for (const run of page.runs) article(run).hidden = run.index !== index;
  const run = page.runs[index];
  drawTrack(run);
  go(ended ? run.steps.length - 1 : nearest(run.steps, page.step));  // the end of one run is compared with another's
}

function wireTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    redraw();
  });
  system.addEventListener("change", () => redraw());
}

async function start() {
  const runs = [...document.querySelectorAll("article[data-run]")];
  page.runs = await Promise.all(runs.map(async (_, index) => ({ index, ...(await unpackJson(`data-${index}`)) })));
  byId("bar").hidden = false;
  for (const run of page.runs) {
    learningViews(run);
    circuitViews(run);
    faithfulnessView(run);
    patchingViews(run);
    headViews(run);
    probeViews(run);
    emergenceViews(run);
    algorithmViews(run);
    attentionViews(run);
  }
  if (byId("data-compare")) compareViews(await unpackJson("data-compare"));
  wireSlider();
  wireTheme();
  wirePrint();
  const axis = byId("axis");
  axis.addEventListener("change", () => { page.axis = axis.value; redraw(); });
  const select = byId("run-select");
  if (select) select.addEventListener("change", () => showRun(Number(select.value)));
  new ResizeObserver(() => drawTrack(page.runs[page.run])).observe(byId("track"));
  showRun(0);
}

start();
