// One small chart of the last hour, drawn as SVG: stacked areas, lines, a dashed limit. Pointer and
// arrow keys read single moments. Colours come from the style sheet.

import { clock, el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HOUR = 3600;
const SHORTEST = 300; // seconds: a broker that has just started is not drawn as one thick line
const HOLE = 20; // seconds without a row: nothing is known in between
const FOOT = 16;
const HEAD = 6;

const svg = (tag, attributes = {}) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

/** A round number at or above `value`. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.999) * power;
}

export class Chart {
  /** `layers(row)` lists {name, value, kind: "area" | "line" | "limit", tone}; values of null are
   * holes; areas lie upon each other. `least`: the lowest top of the scale; `format`: of a value. */
  constructor(host, { label, layers, format, least }) {
    this.host = host;
    this.label = label;
    this.layers = layers;
    this.format = format;
    this.least = least;
    this.rows = [];
    this.svg = svg("svg", { role: "img" });
    this.tip = el("div", { class: "tip", hidden: true });
    host.tabIndex = 0;
    host.append(this.svg, this.tip);
    host.addEventListener("pointermove", (event) => this.point(event.clientX));
    host.addEventListener("pointerleave", () => this.read(null));
    host.addEventListener("blur", () => this.read(null));
    host.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw(this.rows)).observe(host);
  }

  draw(rows) {
    this.rows = rows;
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (!width || !rows.length) return;
    const last = rows[rows.length - 1].t;
    const from = last - Math.min(HOUR, Math.max(SHORTEST, last - rows[0].t));
    const shown = rows.filter((row) => row.t >= from);
    const told = shown.map((row) => stacked(this.layers(row)));
    const top = ceiling(Math.max(this.least, ...told.flat().map((each) => each.top ?? 0)));
    this.x = (t) => ((t - from) / (last - from)) * width;
    this.y = (value) => HEAD + (height - FOOT - HEAD) * (1 - value / top);
    this.shown = shown;
    this.told = told;
    const drawn = [];
    const words = [];
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(this.y(top * share)) + 0.5;
      drawn.push(svg("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y }));
      if (share) words.push(text("scale", 2, y + 10, this.format(top * share)));
    }
    const ago = Math.round((last - from) / 60);
    words.push(text("foot", 2, height - 4, `${ago} min ago`), text("foot end", width - 2, height - 4, "now"));
    const names = told.length ? told[told.length - 1].map((each) => each.name) : [];
    names.forEach((name, index) => drawn.push(...this.layer(name, index)));
    this.cursor = svg("line", { class: "cursor", y1: HEAD, y2: height - FOOT, visibility: "hidden" });
    drawn.push(...words, this.cursor);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("aria-label", this.summary());
    this.svg.replaceChildren(...drawn);
    if (this.at !== undefined && this.at !== null) this.read(this.at);
  }

  layer(name, index) {
    const points = [];
    let before = null;
    this.shown.forEach((row, at) => {
      const each = this.told[at].find((one) => one.name === name);
      const known = each && each.top !== null;
      if (!known || (before !== null && row.t - before > HOLE)) points.push(null);
      if (known) points.push([this.x(row.t), this.y(each.top), this.y(each.bottom)]);
      before = row.t;
    });
    const latest = this.told[this.told.length - 1][index];
    const tone = `${latest.kind} ${latest.tone}`;
    const made = [];
    for (const run of runs(points)) {
      const step = latest.kind === "limit";
      if (latest.kind === "area") {
        const back = [...run].reverse().map(([x, , bottom]) => `L${fix(x)} ${fix(bottom)}`);
        made.push(svg("path", { class: `fill ${latest.tone}`, d: `${line(run, false)}${back.join("")}Z` }));
      }
      made.push(svg("path", { class: `line ${tone}`, d: line(run, step) }));
    }
    return made;
  }

  summary() {
    const latest = this.told[this.told.length - 1] ?? [];
    const parts = latest.map(({ name, value }) => `${name} ${value === null ? "unknown" : this.format(value)}`);
    return `${this.label} over the last hour; now ${parts.join(", ")}`;
  }

  point(clientX) {
    if (!this.shown?.length) return;
    const x = clientX - this.host.getBoundingClientRect().left;
    let best = 0;
    this.shown.forEach((row, at) => {
      if (Math.abs(this.x(row.t) - x) < Math.abs(this.x(this.shown[best].t) - x)) best = at;
    });
    this.read(this.shown[best].t);
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -1e6, End: 1e6 };
    if (event.key === "Escape") return this.read(null);
    if (!(event.key in steps) || !this.shown?.length) return undefined;
    event.preventDefault();
    const here = this.at ? this.shown.findIndex((row) => row.t >= this.at) : this.shown.length;
    const to = Math.min(this.shown.length - 1, Math.max(0, here + steps[event.key]));
    return this.read(this.shown[to].t);
  }

  /** Show the moment `t`, or none. */
  read(t) {
    const at = t === null ? -1 : this.shown.findIndex((row) => row.t >= t);
    this.at = at < 0 ? null : t;
    this.tip.hidden = at < 0;
    this.cursor?.setAttribute("visibility", at < 0 ? "hidden" : "visible");
    if (at < 0) return;
    const x = this.x(this.shown[at].t);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    const lines = this.told[at].map(({ name, value, tone }) =>
      el("div", {}, el("i", { class: tone }), `${name} `, el("b", {}, value === null ? "–" : this.format(value))),
    );
    this.tip.replaceChildren(el("time", {}, clock(this.shown[at].t * 1000)), ...lines);
    const right = x > this.host.clientWidth / 2;
    this.tip.style.left = right ? "auto" : `${x + 8}px`;
    this.tip.style.right = right ? `${this.host.clientWidth - x + 8}px` : "auto";
  }
}

/** Where each layer begins and ends: areas upon each other, the rest from 0. */
function stacked(layers) {
  let floor = 0;
  return layers.map((each) => {
    if (each.value === null || each.value === undefined) return { ...each, value: null, top: null };
    if (each.kind !== "area") return { ...each, top: each.value, bottom: 0 };
    const bottom = floor;
    floor += each.value;
    return { ...each, bottom, top: floor };
  });
}

function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point) found[found.length - 1].push(point);
    else if (found[found.length - 1].length) found.push([]);
  }
  return found.filter((run) => run.length);
}

const fix = (value) => value.toFixed(1);

function line(run, step) {
  const [first, ...rest] = run;
  let path = `M${fix(first[0])} ${fix(first[1])}`;
  let y = first[1];
  for (const [x, to] of rest) {
    if (step && to !== y) path += `L${fix(x)} ${fix(y)}`;
    path += `L${fix(x)} ${fix(to)}`;
    y = to;
  }
  return rest.length ? path : `${path}h1`;
}

function text(kind, x, y, content) {
  const made = svg("text", { class: kind, x, y });
  made.textContent = content;
  return made;
}
