// The six tiles: what the morning looks like, with its last hour.

import { Chart } from "./chart.js";
import { $, latency, mark, number, rate, say, span } from "./dom.js";

const TONES = 6;
/** The colour of a population, the same wherever it stands. */
export const tone = (index) => `tone-${index % TONES}`;

const area = (name, value, colour) => ({ name, value, kind: "area", tone: colour });
const limit = (value) => ({ name: "limit", value, kind: "limit", tone: "plain" });

const CHARTS = {
  seats: {
    label: "Seats", format: number, least: 1,
    layers: (row) => [
      ...Object.entries(row.seats ?? { seats: null }).map(([name, taken], at) => area(name, taken, tone(at))),
      limit(row.seats_limit),
    ],
  },
  waiting: { label: "Employees waiting", format: number, least: 4, layers: (row) => [area("waiting", row.waiting, "tone-3")] },
  connections: {
    label: "Connections", format: number, least: 1,
    layers: (row) => [area("in use", row.connections, "tone-1"), limit(row.connections_limit)],
  },
  latency: { label: "Time to the first byte", format: latency, least: 0.01, layers: (row) => [area("p95", row.p95, "tone-4")] },
  errors: {
    label: "Responses a second", format: rate, least: 1,
    layers: (row) => [
      area("failed", row.failed, "tone-bad"),
      area("answered", row.responses === null ? null : Math.max(0, row.responses - row.failed), "tone-0"),
    ],
  },
  logins: {
    label: "Logins a minute", format: rate, least: 4,
    layers: (row) => [
      area("refused", minute(row.logins_refused), "tone-bad"),
      area("let in", minute(row.logins), "tone-2"),
    ],
  },
};

const minute = (perSecond) => (perSecond === null || perSecond === undefined ? null : perSecond * 60);

export class Tiles {
  constructor() {
    this.charts = {};
    for (const [name, spec] of Object.entries(CHARTS)) {
      this.charts[name] = new Chart(document.querySelector(`#tile-${name} .chart`), spec);
    }
  }

  draw(rows) {
    for (const chart of Object.values(this.charts)) chart.draw(rows);
  }

  show({ row, capacity, waiting, pulses }) {
    const seats = row.seats === null ? null : Object.values(row.seats).reduce((sum, one) => sum + one, 0);
    tile("seats", number(seats), row.seats_limit, full(seats, row.seats_limit));
    sub("seats", capacity === null ? "the ledger does not answer" : seatsSub(capacity.seats));
    tile("waiting", number(row.waiting), null, row.waiting ? "warn" : "");
    sub("waiting", waitingSub(waiting));
    tile("connections", number(row.connections), row.connections_limit, full(row.connections, row.connections_limit));
    sub("connections", capacity === null ? "the ledger does not answer" : fullest(capacity.connections.pools));
    const all = pulses[""] ?? null;
    tile("latency", latency(row.p95), null, "");
    sub("latency", slowest(pulses));
    const failing = all !== null && all.responses > 0 && all.failed / all.responses > 0.01;
    tile("errors", `${rate(row.responses)}/s`, null, failing ? "bad" : "");
    sub("errors", errorsSub(all));
    tile("logins", row.logins === null ? "–" : `${rate(minute(row.logins))}/min`, null, "");
    sub("logins", row.logins_refused ? `${rate(minute(row.logins_refused))}/min not let in` : "none refused");
  }
}

function tile(name, big, of, state) {
  const node = $(`tile-${name}`);
  const [value] = node.getElementsByClassName("big");
  value.dataset.of = of === null || of === undefined ? "" : ` of ${number(of)}`;
  say(value, big);
  for (const each of ["warn", "bad"]) mark(node, each, state === each);
}

const sub = (name, text) => say(document.querySelector(`#tile-${name} .sub`), text);

const full = (used, most) => (most && used / most >= 0.9 ? (used >= most ? "bad" : "warn") : "");

function seatsSub(seats) {
  const free = Math.max(0, seats.limit - seats.occupied - seats.called);
  return seats.called ? `${number(free)} free, ${number(seats.called)} called` : `${number(free)} free`;
}

export function estimate(of) {
  if (!of.waiting || of.estimate_seconds === undefined) return "";
  if (of.estimate_seconds === null) return "we cannot say yet";
  const { p50, p90 } = of.estimate_seconds;
  return `${span(p50)} to ${span(p90)}`;
}

function waitingSub(waiting) {
  if (waiting === null) return "the ledger does not answer";
  if (!waiting.waiting) return "nobody waits";
  const longest = Object.values(waiting.populations)
    .filter((each) => each.waiting && each.estimate_seconds)
    .sort((a, b) => b.estimate_seconds.p90 - a.estimate_seconds.p90)[0];
  if (longest) return `a newcomer waits up to ${span(longest.estimate_seconds.p90)}`;
  const told = Object.values(waiting.populations).some((each) => each.estimate_seconds === null);
  return told ? "we cannot say yet for how long" : `${number(waiting.called)} called`;
}

function fullest(pools) {
  const [first] = Object.entries(pools).sort((a, b) => share(b[1]) - share(a[1]));
  if (!first) return "";
  return `fullest pool: ${first[0]}, ${Math.round(100 * share(first[1]))} %`;
}

const share = (pool) => (pool.limit ? pool.in_use / pool.limit : 0);

function slowest(pulses) {
  const pools = Object.entries(pulses).filter(([name, pulse]) => name && pulse.p95_seconds !== null);
  const [first] = pools.sort((a, b) => b[1].p95_seconds - a[1].p95_seconds);
  return first ? `slowest pool: ${first[0]}, ${latency(first[1].p95_seconds)}` : "no responses in the last seconds";
}

function errorsSub(all) {
  if (all === null || !all.responses) return "none in the last seconds";
  const parts = [`${((100 * all.failed) / all.responses).toFixed(1)} % failed (5xx)`];
  if (all.undialled) parts.push(`${rate(all.undialled)}/s found no server`);
  return parts.join(", ");
}
