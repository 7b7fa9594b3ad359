// Building and keeping the page's nodes, and how numbers and times are written.
// Text is only ever set as text: nothing that came over the wire is read as HTML.

export const $ = (id) => document.getElementById(id);

/** An element: el("td", {class: "n"}, "12"). A property that is a function is a listener. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set the text only when it differs: a selection, or what is being read aloud, survives. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function mark(node, name, on) {
  node.classList.toggle(name, Boolean(on));
}

/** Keep `parent`'s children in step with `items`, one node for each key: focus and hover stay. */
export function keep(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = known.get(key);
    known.delete(key);
    if (!node) {
      node = make(item);
      node.dataset.key = key;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update(node, item);
  }
  for (const node of known.values()) node.remove();
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const scales = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const times = (value) => `${scales.format(value)}×`;

export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? whole.format(value) : short.format(value);
}

/** Seconds as milliseconds or seconds. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = seconds * 1000;
  if (ms >= 9950) return `${short.format(seconds)} s`;
  return ms < 9.95 ? `${short.format(ms)} ms` : `${whole.format(ms)} ms`;
}

/** Seconds as people say them. */
export function span(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${short.format(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const days = new Intl.DateTimeFormat([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const clocks = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const day = (value) => days.format(new Date(value));
export const clock = (value) => clocks.format(new Date(value));
