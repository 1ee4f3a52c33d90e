// The readout of a figure: the point or cell nearest to the pointer, or the one that arrow keys have gone to, in words.
// On a focused figure left and right go along, up and down to the next series or row, Home and End to the ends, Escape out.

const REACH = 40;  // pixels from a point within which the pointer reads it

class Readout {
  constructor(figure) {
    this.figure = figure;
    this.box = make("div", "", { class: "readout", role: "status", hidden: "" });
    this.ring = make("div", "", { class: "ring", "aria-hidden": "true", hidden: "" });
    figure.area.append(this.ring, this.box);
    this.at = null;
    figure.area.addEventListener("pointermove", (event) => this.follow(event));
    figure.area.addEventListener("pointerdown", (event) => this.follow(event));
    figure.area.addEventListener("pointerleave", () => this.hide());
    figure.area.addEventListener("blur", () => this.hide());
    figure.area.addEventListener("keydown", (event) => this.press(event));
  }

  follow(event) {
    if (this.figure.dragging) return;
    const edge = this.figure.area.getBoundingClientRect();
    const { left, top } = this.figure.box;
    this.show(this.nearest(event.clientX - edge.left - left, event.clientY - edge.top - top));
  }

  nearest(x, y) {
    const { figure } = this;
    const near = figure.drawn.reduce((best, drawn, s) => {
      if (!drawn || figure.spec.series[s].silent) return best;
      for (let i = 0; i < drawn.px.length; i += 1) {
        const far = (drawn.px[i] - x) ** 2 + (drawn.py[i] - y) ** 2;
        if (far < best.far) Object.assign(best, { far, s, i });
      }
      return best;
    }, { far: REACH ** 2 });
    if (near.s !== undefined) return { s: near.s, i: near.i };
    return figure.spec.cells ? this.cell(Math.round(figure.y.value(y)), Math.round(figure.x.value(x))) : null;
  }

  cell(r, c) {
    const { value } = this.figure.spec.cells;
    return r >= 0 && r < value.length && c >= 0 && c < value[0].length ? { r, c } : null;
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape" && !this.box.hidden) { this.hide(); event.stopPropagation(); return; }
    const across = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (across === undefined && up === undefined) return;
    event.preventDefault();
    this.show(this.figure.spec.cells ? this.nextCell(across || 0, up || 0) : this.nextPoint(across || 0, -(up || 0)));
  }

  nextCell(across, up) {
    const { value } = this.figure.spec.cells;
    const held = (v, most) => Math.max(0, Math.min(most - 1, v));
    if (this.at?.r === undefined) return { r: value.length - 1, c: held(Math.round(this.figure.pointed?.x ?? 0), value[0].length) };
    return { r: held(this.at.r + up, value.length), c: held(this.at.c + across, value[0].length) };
  }

  nextPoint(across, down) {
    const { drawn, spec } = this.figure;
    const there = drawn.map((d, s) => (d && !spec.series[s].silent ? s : -1)).filter((s) => s >= 0);
    if (!there.length) return null;
    if (this.at?.s === undefined || !drawn[this.at.s]) return { s: there[0], i: this.closest(there[0], this.figure.pointed ? this.figure.x.at(this.figure.pointed.x) : 0) };
    const s = there[(there.indexOf(this.at.s) + down + there.length) % there.length];
    if (down) return { s, i: this.closest(s, drawn[this.at.s].px[this.at.i]) };
    const known = drawn[s].px.map((_, i) => i).filter((i) => !Number.isNaN(drawn[s].px[i]) && !Number.isNaN(drawn[s].py[i]));
    return { s, i: known[Math.max(0, Math.min(known.length - 1, known.indexOf(this.at.i) + across))] };
  }

  closest(s, x) {
    const { px, py } = this.figure.drawn[s];
    const far = px.map((v, i) => (Number.isNaN(v) || Number.isNaN(py[i]) ? Infinity : Math.abs(v - x)));
    return far.indexOf(Math.min(...far));
  }

  /** What stands there now: the words follow when the figure moves to another checkpoint. */
  again() {
    if (this.at) this.show(this.at.s !== undefined && !this.figure.drawn[this.at.s] ? null : this.at);
  }

  words({ s, i, r, c }) {
    const { series, cells, x } = this.figure.spec;
    if (r !== undefined) return cells.tell ? cells.tell(r, c) : number(cells.value[r][c]);
    const own = series[s];
    if (own.tell) return own.tell(i);
    const limits = own.low ? between(own.low[i], own.high[i]) : "";
    const at = x.names ? x.names[own.x[i]] : number(own.x[i]);
    return `${own.name || ""}\n${at}: ${number(own.y[i])}${limits}`;
  }

  show(at) {
    this.at = at;
    if (!at) { this.hide(); return; }
    const { figure, box } = this;
    const [x, y] = at.r === undefined ? [figure.drawn[at.s].px[at.i], figure.drawn[at.s].py[at.i]] : [figure.x.at(at.c), figure.y.at(at.r)];
    const words = this.words(at);
    if (box.textContent !== words) box.textContent = words;
    box.hidden = false;
    this.ring.hidden = !(x >= 0 && x <= figure.box.width && y >= -1 && y <= figure.box.height + 1);
    this.ring.style.transform = `translate(${figure.box.left + x}px, ${figure.box.top + y}px)`;
    const left = Math.max(0, Math.min(figure.width - box.offsetWidth, figure.box.left + x + 12));
    const above = figure.box.top + y - box.offsetHeight - 10;
    box.style.transform = `translate(${left}px, ${above > 0 ? above : figure.box.top + y + 14}px)`;
  }

  hide() {
    this.at = null;
    this.box.hidden = true;
    this.ring.hidden = true;
  }
}
