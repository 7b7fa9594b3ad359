// Sessions of one employee, and the audit trail.

import { api, confirmed, mayChange } from "./ask.js";
import { $, day, el, keep, span } from "./dom.js";

const PAGE = 20;
let employee = "";

export function begin() {
  $("find").addEventListener("submit", (event) => {
    event.preventDefault();
    employee = event.target.elements.employee.value.trim();
    find();
  });
  $("older").addEventListener("click", older);
}

async function find(told = "") {
  const found = $("found");
  try {
    const { sessions, ledger_ms: now } = await api("GET", `sessions?employee=${encodeURIComponent(employee)}`);
    found.replaceChildren(
      el("p", { class: "note" }, [told, sessions.length ? `${employee} is logged in with ${browsers(sessions.length)}.` : `${employee} is not logged in.`].filter(Boolean).join(" ")),
      sessions.length ? table(sessions, now) : "",
      sessions.length && mayChange ? el("p", { class: "row" }, el("button", { type: "button", class: "danger", click: revokeAll }, "End all of them")) : "",
    );
  } catch (refusal) {
    found.replaceChildren(el("p", { class: "refused", role: "alert" }, refusal.message));
  }
}

const browsers = (count) => (count === 1 ? "one browser" : `${count} browsers`);

function table(sessions, now) {
  const rows = sessions.map((each) =>
    el("tr", {},
      el("th", { scope: "row" }, each.display_name || each.employee, el("small", {}, each.population)),
      el("td", { class: "words" }, each.address, el("small", {}, agent(each.agent))),
      el("td", { class: "words" }, `used ${span(Math.max(0, now - each.last_seen_ms) / 1000)} ago`,
        el("small", {}, `ends in ${span(Math.max(0, each.ends_ms - now) / 1000)}`)),
      el("td", { class: "act" }, mayChange ? el("button", { type: "button", click: () => revoke(each) }, "End") : null)));
  return el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows)));
}

/** The part of a User-Agent that people know a browser by. */
function agent(text) {
  const known = /(Firefox|Edg|OPR|Chrome|Safari)\/[\d]+/.exec(text);
  return known ? known[0].replace("/", " ") : text.slice(0, 40);
}

async function revoke(session) {
  const yes = await confirmed({
    title: `End this session of ${session.employee}?`, action: "End it", danger: true,
    told: [`${session.address}, ${agent(session.agent)}. Its WebSockets close within a second.`],
  });
  if (yes === null) return;
  await act(`sessions/${encodeURIComponent(session.id)}`, "The session was ended.");
}

async function revokeAll() {
  const yes = await confirmed({
    title: `End all sessions of ${employee}?`, action: "End all", danger: true,
    told: ["The seat is free at once; the employee may log in again."],
  });
  if (yes === null) return;
  await act(`sessions?employee=${encodeURIComponent(employee)}`, "They were ended.");
}

async function act(path, told) {
  try {
    await api("DELETE", path);
    await find(told);
  } catch (refusal) {
    $("found").prepend(el("p", { class: "refused", role: "alert" }, refusal.message));
  }
}

/** The latest entries, in front of those that are shown already. */
export async function followTrail() {
  try {
    show((await api("GET", `audit?most=${PAGE}`)).entries);
  } catch {
    return; // the ledger is away, which the head of the page says
  }
}

async function older() {
  const last = $("trail").lastElementChild;
  if (last) show((await api("GET", `audit?most=${PAGE}&before=${last.dataset.key}`)).entries);
}

function show(entries) {
  const trail = $("trail");
  const shown = new Map([...trail.children].map((node) => [Number(node.dataset.key), node.entry]));
  for (const entry of entries) shown.set(entry.number, entry);
  const all = [...shown.values()].sort((a, b) => b.number - a.number);
  keep(trail, all, (entry) => entry.number, line, () => {});
  $("no-trail").hidden = all.length > 0;
  const first = all.at(-1);
  $("older").hidden = !first || first.number <= 1;
}

function line(entry) {
  const made = el("li", {},
    el("time", { datetime: entry.time }, day(entry.time)),
    el("p", {}, el("b", {}, entry.author), ` ${entry.action} `, el("span", {}, entry.subject), entry.reason ? el("q", {}, entry.reason) : ""),
    entry.after ? el("p", { class: "note" }, entry.before && entry.before !== entry.after ? `${entry.before} → ${entry.after}` : entry.after) : "");
  made.entry = entry;
  return made;
}
