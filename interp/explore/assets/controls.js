/* What is chosen: steps, prompts, the replacement, what is selected. Built once, so that no text that is being typed and
   no slider that is being moved is lost when the kernel answers. */

function controls(ask) {
  const parts = { sliders: [slider(ask, "step", 0), slider(ask, "pinned", 1)] };
  parts.pin = make("button", { type: "button", onclick: () => parts.pinning() });
  parts.pair = make("select", { "aria-label": "kind of pair", onchange: (e) => ask({ pair: e.target.value }) });
  parts.prompt = make("input", {
    type: "number", min: 0, "aria-label": "number of the prompt", onchange: (e) => ask({ prompt: Number(e.target.value) }),
  });
  parts.replacement = make("select", {
    "aria-label": "what a click does", onchange: (e) => ask({ replacement: e.target.value }),
  });
  parts.selected = make("span", { class: "selected" });
  parts.form = make("span", { class: "muted" });
  parts.text = make("textarea", { rows: 2, spellcheck: "false", "aria-label": "a prompt of your own" });
  parts.text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask({ own: parts.text.value });
    event.stopPropagation(); // the notebook's own keys are not meant
  });
  const use = make("button", { type: "button", onclick: () => ask({ own: parts.text.value }) }, "use this prompt");
  parts.back = make("button", { type: "button" }, "back to the drawn prompt");
  parts.typing = make("details", { class: "typing" },
    make("summary", null, "a prompt of your own"), parts.text, make("div", { class: "line" }, use, parts.back, parts.form));
  parts.pairLabel = make("label", null, "pair ", parts.pair);
  parts.root = make("div", { class: "controls" },
    make("div", { class: "line" }, parts.sliders.map((each) => each.root), parts.pin),
    make("div", { class: "line" }, parts.pairLabel, make("label", null, "prompt ", parts.prompt),
      make("label", null, "a click: ", parts.replacement), parts.selected),
    parts.typing);
  return parts;
}

/** A slider over the checkpoints of one pane. */
function slider(ask, name, pane) {
  const found = { steps: [] };
  found.out = make("output", null, "");
  found.input = make("input", {
    type: "range", min: 0, step: 1, "aria-label": pane ? "checkpoint of the second pane" : "checkpoint",
    oninput: () => found.say(), onchange: () => ask({ [name]: found.steps[Number(found.input.value)] }),
  });
  found.say = () => {
    const step = found.steps[Number(found.input.value)];
    found.out.textContent = step === undefined ? "" : step.toLocaleString("en");
    found.input.setAttribute("aria-valuetext", `step ${found.out.textContent}`);
  };
  found.show = (steps, step) => {
    found.steps = steps;
    found.root.hidden = step === null;
    found.input.max = steps.length - 1;
    found.input.value = Math.max(0, steps.indexOf(step));
    found.say();
  };
  found.root = make("label", { class: "slider" }, pane ? "second pane: step " : "step ", found.input, found.out);
  return found;
}

/** Set all controls to what is shown. */
function setControls(parts, shown, ask, typed) {
  parts.sliders[0].show(shown.steps[0], shown.step);
  parts.sliders[1].show(shown.steps[1], shown.pinned);
  parts.pin.textContent = shown.pinned === null ? "pin this step beside" : "close the second pane";
  parts.pin.hidden = shown.two;
  parts.pinning = () => ask({ pinned: shown.pinned === null ? shown.step : null });
  choices(parts.pair, shown.pairs.map((name) => ({ name, words: name })), shown.pair);
  parts.pairLabel.hidden = !shown.pairs.length;
  choices(parts.replacement, shown.replacements, shown.replacement);
  parts.prompt.max = shown.prompts - 1;
  parts.prompt.value = shown.prompt;
  parts.back.onclick = () => ask({ prompt: shown.prompt });
  parts.back.disabled = shown.own === null;
  parts.typing.hidden = !shown.form;
  parts.form.textContent = shown.form;
  if (!typed) parts.text.value = shown.text;
  const chips = shown.selected.map((label) => make("button", {
    type: "button", class: "chip", "data-key": `chip ${label}`, "aria-label": `${label}: as it was again`,
    onclick: () => ask({ toggle: label }),
  }, label, " ×"));
  const clear = make("button", { type: "button", "data-key": "clear", onclick: () => ask({ selected: [] }) }, "clear");
  redraw(parts.selected, shown.selected.length
    ? ["changed: ", ...chips, clear]
    : ["nothing is changed: click a head, or an edge of the circuit"]);
}

function choices(select, options, chosen) {
  select.replaceChildren(...options.map(({ name, words }) => {
    const option = make("option", { value: name }, words);
    option.selected = name === chosen;
    return option;
  }));
}
