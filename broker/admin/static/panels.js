// What must be told at once, and the tables of seats, pools, servers and workers.

import { api, confirmed, mayChange } from "./ask.js";
import { $, el, keep, latency, mark, number, rate, say, times } from "./dom.js";
import { estimate, tone } from "./tiles.js";

export function showState({ readiness, capacity, workers }) {
  const ready = $("ready");
  say(ready, readiness.ready ? "ready" : "not ready");
  mark(ready, "good", readiness.ready);
  mark(ready, "bad", !readiness.ready);
  const scale = $("scale");
  say(scale, capacity === null ? "capacity unknown" : `${times(capacity.scale)} · ${capacity.level ?? "no level"}`);
  mark(scale, "raised", capacity !== null && capacity.scale > 1);
  const told = [
    ...readiness.reasons.map((text) => ({ text, grave: true })),
    ...missing(capacity, workers),
    ...readiness.warnings.filter((text) => !text.includes("has not acknowledged")).map((text) => ({ text })),
    ...(capacity?.draining ?? []).map((name) => ({ text: `${name} is being drained: it left the configuration` })),
    ...guarded(capacity),
  ];
  keep($("alerts"), told, (one) => one.text, (one) => el("p", { class: one.grave ? "bad" : "warn" }), (node, one) => say(node, one.text));
}

/** Who has not taken the limits in force: a lowered limit is only safe when nobody is left. */
function missing(capacity, workers) {
  if (capacity === null) return [];
  const late = workers.filter((each) => (each.acknowledged ?? 0) < capacity.version);
  if (!late.length) return [];
  const names = late.map((each) => each.id).join(", ");
  const text = `Limits ${capacity.version} are not yet acknowledged by ${late.length} of ${workers.length} workers: ${names}`;
  return [{ text }];
}

function guarded(capacity) {
  return Object.entries(capacity?.raises ?? {})
    .filter(([, raise]) => raise.ramp.state === "paused" || raise.ramp.rolled_back)
    .map(([scope, { ramp }]) => ({
      text: `The guard ${ramp.rolled_back ? "took a step back" : "holds the ramp"} (${scope}): ${ramp.why}`,
    }));
}

export function showSeats({ capacity, waiting }) {
  const rows = Object.entries(capacity?.seats.populations ?? {}).map(([name, each], at) => ({
    name, at, ...each, ...(waiting?.populations[name] ?? {}),
  }));
  keep($("populations"), rows, (each) => each.name, population, (node, each) => {
    const cells = node.children;
    mark(node, "shut", !each.admitted);
    say(cells[0].querySelector("b"), each.name);
    say(cells[0].querySelector("small"), each.admitted ? "" : "not admitted");
    say(cells[1].querySelector("b"), number(each.occupied));
    cells[1].querySelector("meter").max = each.limit || 1;
    cells[1].querySelector("meter").value = each.occupied + each.called;
    say(cells[2], number(each.limit));
    say(cells[3], number(each.called));
    say(cells[4], number(each.waiting));
    mark(cells[4], "warn", each.waiting);
    say(cells[5], estimate(each));
  });
}

const population = ({ at }) =>
  el("tr", {},
    el("th", { scope: "row" }, el("i", { class: tone(at) }), el("b"), el("small")),
    el("td", { class: "meter" }, el("b"), el("meter", { min: 0, "aria-hidden": "true" })),
    el("td"), el("td"), el("td"), el("td", { class: "words" }));

export function showPools({ pools, pulses }) {
  const rows = Object.entries(pools).map(([name, pool]) => ({ name, ...pool, pulse: pulses[name] ?? null }));
  keep($("pool-list"), rows, (pool) => pool.name, makePool, (node, pool) => {
    const used = pool.connections;
    say(node.querySelector(".numbers"), used === null ? "the ledger does not answer" : `${number(used.in_use)} of ${number(used.limit)}, ${number(used.granted)} granted`);
    const meter = node.querySelector("meter");
    meter.max = used?.limit || 1;
    meter.value = used?.in_use ?? 0;
    const { pulse } = pool;
    const errors = pulse !== null && pulse.failed > 0 ? ` · ${rate(pulse.failed)}/s failed` : "";
    say(node.querySelector(".pulse"), pulse === null ? "" : `${rate(pulse.responses)}/s · p95 ${latency(pulse.p95_seconds)}${errors}`);
    keep(node.querySelector("tbody"), pool.servers, (server) => server.server, makeServer, showServer);
  });
}

const makePool = ({ name }) =>
  el("section", { class: "pool" },
    el("h3", {}, name, el("span", { class: "pulse" })),
    el("p", { class: "use" }, el("meter", { min: 0, "aria-hidden": "true" }), el("span", { class: "numbers" })),
    el("table", {}, el("tbody", {})));

const makeServer = ({ server }) =>
  el("tr", {},
    el("th", { scope: "row", class: "id" }, server),
    el("td", {}),
    el("td", { class: "words" }),
    el("td", { class: "act" }, mayChange ? el("button", { type: "button", click: switched }, "") : null));

function showServer(node, server) {
  const [, flight, state, act] = node.children;
  const sick = server.seen_by - server.healthy_on;
  say(flight, `${number(server.in_flight)} in flight`);
  say(state, server.draining ? "drained" : server.healthy ? "healthy" : `unhealthy on ${sick} of ${server.seen_by}`);
  state.className = `words ${server.draining ? "warn" : server.healthy ? "good" : "bad"}`;
  const button = act.querySelector("button");
  if (!button) return;
  button.dataset.server = server.server;
  button.dataset.to = server.draining ? "enable" : "drain";
  say(button, server.draining ? "Enable" : "Drain");
}

async function switched({ currentTarget: button }) {
  const { server, to } = button.dataset;
  const told = to === "drain"
    ? ["It gets no new exchanges on this host; what is in flight goes on. Other hosts are told on theirs."]
    : ["It gets exchanges again on this host."];
  const yes = await confirmed({ title: `${to === "drain" ? "Drain" : "Enable"} ${server}?`, told, action: to === "drain" ? "Drain" : "Enable" });
  if (yes === null) return;
  try {
    const done = await api("POST", `servers/${to}`, { body: { server } });
    if (done.missing.length) button.title = `not answered by ${done.missing.join(", ")}`;
  } catch (refusal) {
    button.title = refusal.message;
    button.after(el("span", { class: "bad", role: "alert" }, refusal.message));
  }
}

export function showWorkers({ capacity, workers }) {
  keep($("worker-list"), workers, (each) => each.id, () => el("tr", {}, el("th", { scope: "row", class: "id" }), ...Array.from({ length: 5 }, () => el("td"))), (node, each) => {
    const [id, limits, used, granted, silent, restarts] = node.children;
    const late = capacity !== null && (each.acknowledged ?? 0) < capacity.version;
    say(id, each.slot === null ? each.id : `${each.host} · slot ${each.slot} · pid ${each.pid}`);
    id.title = each.id;
    say(limits, late ? `${number(each.acknowledged)}, not ${capacity.version}` : number(each.acknowledged));
    mark(limits, "bad", late);
    say(used, number(each.in_use));
    say(granted, number(each.granted));
    say(silent, each.silent_seconds === null ? "–" : `${each.silent_seconds.toFixed(1)} s`);
    mark(silent, "bad", each.silent_seconds > 3);
    say(restarts, number(each.restarts));
  });
}
