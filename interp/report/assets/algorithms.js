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
  addView(match, () => {}, (el) => drawMatch(now(), now().maps[state.map], el));
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
  const good = map.metric !== "relative L2";
  const slopes = at.slopes.filter((s) => s.algorithm === map.algorithm);
  const x = map.k.map(String);
  const mark = (k) => (k === null ? null : String(k));
  const banded = at.sites.map((_, i) => i).filter((i) => map.low[i] !== null);
  const traces = [{
    type: "heatmap", z: map.value, x, y: at.sites.map((_, i) => i), colorscale: ramp(!good), colorbar: bar(map.metric),
    customdata: map.value.map((row, r) => row.map((v, c) => [siteName(at.sites[r]), map.k[c], number(v)])),
    hovertemplate: "%{customdata[0]}, step %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
  }];
  for (const i of banded) traces.push({ x: [mark(map.low[i]), mark(map.high[i])], y: [i, i], mode: "lines", line: { color: ink("accent"), width: 3 }, hoverinfo: "skip", showlegend: false });
  traces.push({
    x: map.best.map(mark), y: at.sites.map((_, i) => i), mode: "markers", marker: { size: 9, color: ink("accent"), line: { color: ink("card"), width: 1.5 } },
    hoverinfo: "skip", showlegend: false,
  });
  const told = slopes.map((s) => `${s.metric}: ${number(s.value)} [${number(s.low)}, ${number(s.high)}] a layer`).join("<br>");
  plot(element, traces, {
    title: (told || `step ${whole(at.step)}`), height: Math.max(300, 146 + 30 * at.sites.length), margin: { l: 64, r: 8, t: 66, b: 46 },
    xaxis: { type: "category", showgrid: false, title: { text: plain(`steps of ${map.algorithm}`) } },
    yaxis: { showgrid: false, tickvals: at.sites.map((_, i) => i), ticktext: at.sites.map(siteName), ticks: "" },
  });
  element.dataset.step = at.step;
}

function drawFilter(run, site, element) {
  const colours = inks("series");
  const curves = run.filters.filter((f) => f.site === site);
  const measured = curves.find((f) => f.algorithm === "measured");
  const traces = curves.filter((f) => f !== measured).map((f, i) => ({
    x: f.x, y: f.value, mode: "lines", name: plain(`${f.algorithm} (misfit ${(100 * f.misfit).toFixed(1)}%)`),
    line: { color: colours[i % colours.length], width: 1.8, dash: DASHES[i % DASHES.length] },
    hovertemplate: `${plain(f.member)}<br>%{x:.3g}: %{y:.3g}<extra></extra>`,
  }));
  if (measured) traces.push({
    x: measured.x, y: measured.value, mode: "markers", name: "measured", marker: { size: 8, color: ink("ink") },
    error_y: {
      type: "data", symmetric: false, thickness: 1.5, width: 3, color: ink("ink"),
      array: measured.value.map((v, i) => (measured.high[i] === null ? 0 : measured.high[i] - v)),
      arrayminus: measured.value.map((v, i) => (measured.low[i] === null ? 0 : v - measured.low[i])),
    },
    hovertemplate: "measured<br>%{x:.3g}: %{y:.3g}<extra></extra>",
  });
  plot(element, traces, {
    height: 360, showlegend: true, margin: { l: 56, r: 14, t: 76, b: 46 },
    xaxis: { type: "log", title: { text: "eigenvalue of S (log)" } }, yaxis: { title: { text: "filter (1: least squares)" } },
  });
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
