// Which candidate algorithm each layer's readout resembles: match maps with best step and bootstrap range, and the
// measured spectral filter.

function algorithmViews(run) {
  if (!run.algorithms) return;
  const state = { map: 0, site: -1 };
  const steps = run.algorithms.map((a) => a.step);
  const now = () => run.algorithms[nearest(steps, page.step)];
  const controls = article(run).querySelector('[data-controls="algorithms"]');
  const [match, filter, verdicts] = ["match", "filter", "verdicts"].map((name) => part(run, name));
  choice(controls, "Match", now().maps.map((m) => `${m.metric} with ${m.algorithm}`), (i) => { state.map = i; redraw([match]); });
  const sites = [...new Set((run.filters || []).map((f) => f.site))];
  state.site = sites.length - 1;
  choice(controls, "Filter at", sites.map(siteName), (i) => { state.site = i; redraw([filter]); });
  const select = [...controls.querySelectorAll("select")].at(-1);
  if (sites.length > 1) select.value = state.site;
  addView(match, (el) => drawMatch(now(), now().maps[state.map], el), (el) => { if (Number(el.dataset.step) !== now().step) drawMatch(now(), now().maps[state.map], el); });
  if (sites.length) addView(filter, (el) => drawFilter(run, sites[state.site], el));
  else filter.replaceChildren(make("p", "No site's readout is better than its controls, so no filter is shown.", { class: "absent" }));
  addView(verdicts, () => {}, (el) => tellVerdicts(now(), el));
  caption(run, "algorithms", "Left: similarity between the readout of each layer and each number of steps of a candidate algorithm on held-out prompts; the " +
    "dot is the best-matching step, the bar its range over bootstrap resamples of prompts. A match is the nearest of the steps " +
    "compared, not a proof. Right: the spectral filter on the eigenvalues of S = X'X that the readout applies to the least-squares solution, measured with " +
    "95% intervals, and every family's best member (its misfit: the share of the output that it does not explain beyond query noise). Families whose curves coincide cannot be distinguished. " +
    `Measured at steps ${steps.map(whole).join(", ")}; filters at the last.`);
}

function drawMatch(at, map, element) {
  if (!map) return;
  const values = map.value.flat().filter((v) => v !== null);
  const slopes = at.slopes.filter((s) => s.algorithm === map.algorithm);
  const place = (k) => (k === null ? null : map.k.indexOf(k));
  const told = slopes.map((s) => `${s.metric}: ${number(s.value)}${between(s.low, s.high)} a layer`).join("\n");
  drawFigure(element, {
    title: told || `step ${whole(at.step)}`, height: Math.max(280, 90 + 30 * at.sites.length), legend: false,
    x: { names: map.k.map(String), title: `steps of ${map.algorithm}` }, y: { names: at.sites.map(siteName) },
    cells: {
      value: map.value, low: Math.min(...values), high: Math.max(...values), stops: ramp(map.metric === "relative L2"), bar: { title: map.metric },
      tell: (r, c) => `${siteName(at.sites[r])}, step ${map.k[c]}\n${number(map.value[r][c])}`,
    },
    series: [{
      x: map.best.map(place), y: at.sites.map((_, i) => i), name: "best-matching step", line: false, mark: "circle", size: 9, hollow: true, colour: ink("accent"),
      low: map.low.map(place), high: map.high.map(place), along: "x", spread: "bars",
      tell: (i) => `${siteName(at.sites[i])}: best-matching step ${map.best[i]}${between(map.low[i], map.high[i])}`,
    }],
  });
  element.dataset.step = at.step;
}

function drawFilter(run, site, element) {
  const curves = run.filters.filter((f) => f.site === site);
  const measured = curves.find((f) => f.algorithm === "measured");
  const series = curves.filter((f) => f !== measured).map((f, i) => ({
    x: f.x, y: f.value, name: `${f.algorithm} (misfit ${(100 * f.misfit).toFixed(1)}%)`, colour: hue(i), width: 1.8, dash: dashOf(i),
    tell: (j) => `${f.member}\n${number(f.x[j])}: ${number(f.value[j])}`,
  }));
  if (measured) series.push({ x: measured.x, y: measured.value, name: "measured", line: false, mark: "circle", size: 8, low: measured.low, high: measured.high, spread: "bars" });
  drawFigure(element, { height: 320, legend: true, x: { scale: "log", title: "eigenvalue of S (log)" }, y: { title: "filter (1: least squares)" }, series });
}

function tellVerdicts(at, place) {
  const table = make("table");
  const head = make("tr");
  for (const text of ["readout of", "filter verdict", "families", "misfit [95% CI]", "free filter [95% CI]", "best member", "reason"]) head.append(make("th", text, { scope: "col" }));
  table.append(head);
  for (const v of at.verdicts) {
    const line = make("tr");
    line.append(make("th", siteName(v.site), { scope: "row" }), make("td", v.verdict, { class: "big" }), make("td", v.families || "–"),
      make("td", ranged(v.value, v.low, v.high)), make("td", ranged(v.free, v.free_low, v.free_high)), make("td", v.member || "–"), make("td", v.note || "–"));
    table.append(line);
  }
  place.replaceChildren(table);
}

function ranged(value, low, high) {
  if (value === null) return "–";
  return low === null ? number(value) : `${number(value)} [${number(low)}, ${number(high)}]`;
}
