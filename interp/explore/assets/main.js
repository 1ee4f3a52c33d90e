/* The view itself: sends what was chosen to the kernel, draws what comes back, and reports a kernel that does not answer. */

const [QUIET, SILENT] = [400, 5000]; // ms until it is shown that the kernel computes, that it does not answer
const WAITING = "the kernel is computing ...";
const NO_ANSWER = "no answer from the kernel for 5 seconds: it is busy with another cell, or it has stopped. "
  + "What is shown is its last answer; after a restart, run the cell again.";
const GONE = "no answer from the kernel: the connection to it is lost. What is shown is its last answer; run the cell again.";

function render({ model, el }) {
  const status = make("p", { class: "status", role: "status" });
  const complaint = make("p", { class: "complaint", role: "alert", hidden: true });
  const panes = make("div", { class: "panes" });
  let sent = Math.max(model.get("answered"), model.get("request").id ?? 0);
  let timers = [];
  let typed = false;
  let gone = false;

  const say = (text, alarm) => {
    status.textContent = text;
    status.classList.toggle("alarm", Boolean(alarm));
  };
  const quiet = () => timers.splice(0).forEach(clearTimeout);
  const lost = () => {
    gone = true;
    quiet();
    say(GONE, true);
  };
  const late = () => (model.get("heard") >= sent ? say(WAITING) : say(NO_ANSWER, true));

  const ask = (changes) => {
    sent += 1;
    quiet();
    if (gone) return lost();
    timers = [setTimeout(() => model.get("answered") < sent && say(WAITING), QUIET), setTimeout(late, SILENT)];
    try {
      model.set("request", { ...changes, id: sent });
      model.save_changes();
    } catch {
      lost();
    }
    return undefined;
  };

  const parts = controls(ask);
  parts.text.addEventListener("input", () => { typed = true; });
  const root = make("div", { class: "algoscope", tabindex: -1 }, parts.root, complaint, status, panes);
  el.append(root);

  const draw = () => {
    const shown = model.get("shown");
    const theme = themeAround(el);
    root.dataset.theme = theme;
    setControls(parts, shown, ask, typed);
    panes.style.setProperty("--panes", String(shown.panes.length));
    redraw(panes, shown.panes.map((pane, number) => onePane(pane, shown, theme, ask, number)));
  };
  const answered = () => {
    if (model.get("answered") < sent) return;
    sent = model.get("answered");
    quiet();
    say("");
    if (!model.get("complaint") && model.get("request").own !== undefined) typed = false;
  };
  const complain = () => {
    const text = model.get("complaint");
    complaint.textContent = text;
    complaint.hidden = !text;
    if (text) setControls(parts, model.get("shown"), ask, true);
  };

  const watched = [["change:shown", draw], ["change:answered", answered], ["change:complaint", complain]];
  watched.forEach(([name, handler]) => model.on(name, handler));
  const stop = watchHost(el, lost, draw);
  draw();
  complain();
  return () => {
    quiet();
    stop();
    watched.forEach(([name, handler]) => model.off(name, handler));
  };
}

function onePane(pane, shown, theme, ask, number) {
  const title = make("h3", null, pane.title);
  if (pane.note) return make("section", { class: "pane", "aria-label": pane.title }, title, make("p", null, pane.note));
  return make("section", { class: "pane", "aria-label": pane.title }, title, tokens(pane),
    headTable(pane, shown, theme, ask, number), effectTable(pane), answerTable(pane),
    attentionMaps(pane, shown, theme, ask, number), circuitView(pane, shown, theme, ask, number));
}

/** What happens around the view: notebooks mark widgets whose kernel is gone, and change their theme. */
function watchHost(el, lost, draw) {
  const marks = ".jupyter-widgets-disconnected, .jp-mod-disconnected";
  const connection = new MutationObserver(() => {
    if (el.closest(marks) || el.querySelector(marks)) lost();
  });
  for (let at = el; at; at = at.parentElement) connection.observe(at, { attributes: true, attributeFilter: ["class"] });
  let theme = themeAround(el);
  const themes = new MutationObserver(() => {
    if (themeAround(el) !== theme) {
      theme = themeAround(el);
      draw();
    }
  });
  const page = [document.documentElement, document.body];
  page.forEach((each) => themes.observe(each, { attributes: true }));
  return () => {
    connection.disconnect();
    themes.disconnect();
  };
}

export default { render };
