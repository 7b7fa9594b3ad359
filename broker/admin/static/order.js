// A change of capacity as a form. Whatever is typed is asked of the API as a dry run first: what
// stands beside the button is the answer of the code that would do it, under the version it was
// decided on.

import { api, confirmed, mayChange } from "./ask.js";
import { $, day, el, keep, number, say, span, times } from "./dom.js";
import { forecast, inShort } from "./forecast.js";

const PAUSE = 250; // ms without typing
const AGAIN = 10000; // ms after which what would happen is asked again, longer where that takes long
const SHARE = 20; // at most this part of the time is spent on it
const ACKNOWLEDGED_WITHIN = 5000; // ms

const form = $("order");
let expected = null;
let asking = null;
let timer = 0;
let seen = 0;
let due = Infinity;

const kind = () => form.elements.kind.value;

/** New limits, populations, levels: the choices follow, what was typed stays. */
export function followCapacity({ capacity }) {
  if (capacity === null) return;
  choices($("level-wanted"), capacity.levels);
  choices($("pool-wanted"), ["", ...Object.keys(capacity.connections.pools)], "the whole site");
  followPopulations(capacity);
  const first = seen === 0;
  if (capacity.version !== seen) {
    seen = capacity.version;
    if (first && capacity.levels.length > 1) form.elements.level.value = capacity.levels.find((name) => name !== capacity.level);
    soon();
  } else if (!document.hidden && performance.now() > due) ask();
}

/** Who is admitted below a raise is admitted anyway. The others are as they are now, until touched:
 * a new raise replaces the one in force, and whom that one let in. */
function followPopulations({ seats, raises, configured_open_to: configured }) {
  const level = raises.level?.open_to ?? [];
  const below = new Set(level.length ? level : configured);
  keep($("open-to").querySelector(".row"), Object.entries(seats.populations), ([name]) => name,
    ([name]) => el("label", {}, el("input", { type: "checkbox", name: "open_to", value: name, input: touched }), el("span", {}, name)),
    (node, [name, each]) => {
      const box = node.firstElementChild;
      box.disabled = below.has(name);
      if (box.disabled || !box.dataset.touched) box.checked = box.disabled || each.admitted;
      node.title = box.disabled ? "admitted anyway" : "";
    });
}

function touched({ target }) {
  target.dataset.touched = "yes";
}

function choices(select, values, empty) {
  keep(select, values, (value) => value, (value) => el("option", { value }, value || empty), () => {});
}

export function begin() {
  keep($("quick"), [2, 3, 6], (scale) => scale, (scale) =>
    el("button", { type: "button", click: () => { form.elements.scale.value = scale; soon(); } }, times(scale)), () => {});
  form.addEventListener("input", soon);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  $("apply").disabled = true;
  arrange();
}

function arrange() {
  for (const part of form.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(kind());
  form.elements.ends.hidden = form.elements.lasts.value !== "at";
  if (form.elements.pool.value) $("open-to").hidden = true;
  say($("apply"), { raise: "Raise", level: "Put in force", lower: "Lower" }[kind()]);
}

function soon() {
  arrange();
  expected = null;
  due = Infinity;
  $("apply").disabled = true;
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
}

function order() {
  const fields = form.elements;
  const body = { reason: fields.reason.value.trim() };
  if (kind() === "level") body.level = fields.level.value;
  else {
    body.scale = Number(fields.scale.value);
    if (fields.pool.value) body.pool = fields.pool.value;
  }
  if (kind() === "lower") return body;
  const [factor, every] = fields.ramp.value.split("/").map(Number);
  body.ramp = fields.ramp.value === "now" ? null : { factor, every };
  body.guard = fields.guard.value;
  if (kind() === "level") return body;
  if (!fields.pool.value) {
    const open = [...form.querySelectorAll("[name=open_to]:checked:not(:disabled)")].map((box) => box.value);
    if (open.length) body.open_to = open;
  }
  if (fields.lasts.value === "at") {
    body.ends = new Date(fields.ends.value).toISOString();
  } else if (fields.lasts.value) body.lasts = Number(fields.lasts.value);
  return body;
}

async function ask() {
  asking?.abort();
  asking = new AbortController();
  const { lasts, ends } = form.elements;
  if (kind() === "raise" && lasts.value === "at" && !ends.value) {
    expected = null;
    $("apply").disabled = true;
    $("what-if").replaceChildren(el("p", { class: "refused" }, "Say when it ends."));
    return;
  }
  const body = order();
  const began = performance.now();
  due = Infinity;
  try {
    const told = await api("POST", `capacity/${kind()}`, {
      body: { ...body, reason: body.reason || "what if", dry_run: true }, signal: asking.signal,
    });
    expected = told;
    due = performance.now() + Math.max(AGAIN, SHARE * (performance.now() - began));
    $("apply").disabled = !mayChange;
    draw(told);
  } catch (refusal) {
    if (refusal.name === "AbortError") return;
    expected = null;
    due = performance.now() + AGAIN;
    $("apply").disabled = true;
    $("what-if").replaceChildren(el("p", { class: "refused" }, refusal.message));
  }
}

function draw({ before, after, at_target: target, occupied, forecast: ahead }) {
  const total = (of) => Object.values(of).reduce((sum, one) => sum + one, 0);
  const lines = [
    ["Seats", before.seats, after.seats, target.seats],
    ["Connections", before.connections, after.connections, target.connections],
    ...Object.keys(target.pools).map((name) => [`– ${name}`, before.pools[name], after.pools[name], target.pools[name]]),
  ];
  const taken = total(occupied);
  const told = [];
  const admitted = target.admitted.filter((name) => !before.admitted.includes(name));
  const shut = before.admitted.filter((name) => !target.admitted.includes(name));
  if (admitted.length) told.push(`Newly admitted: ${admitted.join(", ")}.`);
  if (shut.length) told.push(`No longer admitted: ${shut.join(", ")}; who has a seat keeps it until idle.`);
  if (target.seats < taken) told.push(`${number(taken - target.seats)} more have a seat than there will be: nobody new until it has drained.`);
  const way = Object.values(after.raises).find((raise) => raise.ramp.state === "climbing");
  if (way) {
    const { steps, every_seconds: every, finish_seconds: left } = way.ramp;
    told.push(`${steps.length} steps of ${span(every)}: ${brief(steps)}; at the top ${day(Date.now() + left * 1000)} at the earliest.`);
  }
  for (const cap of after.caps) told.push(`${cap.what} stops at its ceiling, ${times(cap.ceiling)} of ${times(cap.asked)} asked.`);
  const first = lines.some(([, , now, top]) => now !== top);
  const head = ["", "now", first ? "first step" : null, first ? "at the top" : "then"].filter((each) => each !== null);
  const open = new Set([...$("what-if").querySelectorAll("details[open]")].map((each) => each.dataset.key));
  $("what-if").replaceChildren(
    el("table", {},
      el("thead", {}, el("tr", {}, ...head.map((name) => el(name ? "th" : "td", name ? { scope: "col" } : {}, name)))),
      el("tbody", {}, ...lines.map(([name, was, then, top]) =>
        el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, number(was)), first ? el("td", {}, number(then)) : null,
          el("td", { class: top === was ? "" : "changed" }, number(top)))))),
    ...told.map((line) => el("p", {}, line)),
    forecast(ahead, open));
}

const brief = (steps) => (steps.length > 6 ? [...steps.slice(0, 3).map(times), "…", times(steps.at(-1))] : steps.map(times)).join(", ");

async function apply() {
  if (expected === null || !mayChange) return;
  const body = order();
  const decided = expected;
  const what = kind();
  const whole = body.pool ? `pool ${body.pool}` : "the site";
  const title = { raise: `Raise ${whole} to ${times(body.scale)}?`, level: `Put level ${body.level} in force?`, lower: `Lower ${whole} to ${times(body.scale)}?` }[what];
  const told = [
    `Seats: ${number(decided.before.seats)} now, ${number(decided.at_target.seats)} then. Connections: ${number(decided.before.connections)} now, ${number(decided.at_target.connections)} then.`,
    `Admitted: ${decided.at_target.admitted.join(", ") || "nobody"}.`,
    `Foreseen: ${inShort(decided.forecast).join(" ")}`,
    `“${body.reason}”`,
  ];
  if (body.ends || body.lasts) told.push(`Ends ${day(body.ends ? Date.parse(body.ends) : Date.now() + body.lasts * 1000)}.`);
  if (what !== "lower" && body.ramp === null) told.push("In one step, which nothing guards.");
  if ((await confirmed({ title, told, action: $("apply").textContent })) === null) return;
  const began = performance.now();
  try {
    const done = await api("POST", `capacity/${what}`, { body, version: decided.version });
    form.elements.reason.value = "";
    for (const box of form.querySelectorAll("[name=open_to]")) delete box.dataset.touched;
    await acknowledged(done.version, began);
  } catch (refusal) {
    tell(refusal.status === 412 ? `${refusal.message}. Look again at what would happen, then decide.` : refusal.message, "bad");
    soon();
  }
}

/** In force is what every worker has acknowledged; who has not is named. */
async function acknowledged(version, began) {
  for (;;) {
    const { workers } = await api("GET", "workers");
    const late = workers.filter((each) => (each.acknowledged ?? 0) < version);
    const took = performance.now() - began;
    if (!late.length) return tell(`In force on every worker after ${(took / 1000).toFixed(2)} s (version ${version}).`, "good");
    if (took > ACKNOWLEDGED_WITHIN) return tell(`Version ${version}; not yet acknowledged by ${late.map((each) => each.id).join(", ")}.`, "bad");
    await new Promise((resolve) => { setTimeout(resolve, 30); });
  }
}

function tell(text, state) {
  const said = $("said");
  said.className = state;
  say(said, text);
}
