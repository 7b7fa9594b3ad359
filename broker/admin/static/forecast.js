// The forecast of a dry run: who gets in at which step, what that asks of the servers, what is not
// known. The words are the command line's, so that two people who look at both mean the same.

import { el, number, span, times } from "./dom.js";

const NEAR = 0.8; // share of a limit from which on it is worth a colour

/** `open`: keys of the parts that somebody has unfolded, which stay so. */
export function forecast(told, open) {
  return el("section", { class: "forecast", "aria-label": "Forecast" },
    ...gettingIn(told), ...needed(told), ...carriers(told),
    folded("not-known", `Not known: ${told.not_known.length === 1 ? "one thing" : `${told.not_known.length} things`}`, told.not_known, open),
    folded("also", "Also measured", also(told), open));
}

/** The forecast in two sentences, for whoever is asked to confirm. */
export const inShort = (told) => [queue(told)[0], runsOut(told)[0]];

const total = (of) => Object.values(of).reduce((sum, one) => sum + one, 0);
const after = (seconds) => (seconds < 0.5 ? "at once" : span(seconds));

function gettingIn(told) {
  const [first] = told.steps;
  const crowd = first ? total(first.called) + total(first.waiting) : 0;
  const [words, state] = queue(told);
  if (!crowd) return [verdict(words, state), turnedAway(told)];
  return [
    el("h3", {}, told.steps.length > 1 ? "Who gets in, if every step proves itself" : "Who gets in"),
    el("ol", { class: "climb" }, ...worthTelling(told.steps).map((step) => stepOf(step, crowd))),
    verdict(words, state),
    turnedAway(told),
  ];
}

/** Every step while somebody waits, and the last one. */
function worthTelling(steps) {
  const drained = steps.findIndex((step) => !total(step.waiting));
  if (drained < 0) return steps;
  return steps.filter((_, at) => at <= drained || at === steps.length - 1);
}

function stepOf(step, crowd) {
  const waiting = total(step.waiting);
  const enter = Object.entries(step.called).filter(([, count]) => count);
  const bar = el("span", { class: "queue", "aria-hidden": "true" }, part("in", crowd - waiting), part("wait", waiting));
  return el("li", {},
    el("span", { class: "when" }, after(step.at_seconds)),
    el("b", {}, times(step.scale)),
    bar,
    el("span", { class: "who" },
      enter.length ? `${enter.map(([name, count]) => `${number(count)} ${name}`).join(", ")} get in` : waiting ? "nobody gets in" : "nobody is left to get in",
      waiting ? el("small", {}, `${number(waiting)} still wait`) : null));
}

function part(name, share) {
  const made = el("i", { class: name });
  made.style.flexGrow = share;
  return made;
}

function queue(told) {
  if (told.left_waiting) {
    return [`${number(told.left_waiting)} wait on when the last step is in force: all of them need ${number(told.seats_needed)} seats, and there will be ${number(told.seats)}.`, "warn"];
  }
  if (!told.steps.some((step) => total(step.called))) return ["Nobody waits.", ""];
  return [`Nobody waits any more ${told.drained_seconds < 0.5 ? "at once" : `after ${span(told.drained_seconds)}`}.`, "good"];
}

function turnedAway({ turned_away: away }) {
  return away ? verdict(`${number(away)} who wait are told that it is not their turn.`, "warn") : null;
}

function needed(told) {
  const rows = [...Object.entries(told.pools), ["the site", told.connections]];
  const [words, state] = runsOut(told);
  return [
    el("h3", {}, `Connections when all ${number(told.seats)} seats are taken`),
    el("ul", { class: "needs" }, ...rows.map(([name, need]) => needOf(name, need))),
    verdict(words, state),
  ];
}

function needOf(name, need) {
  const most = need.limit || 1;
  if (need.mean === null) return el("li", {}, el("b", {}, name), el("span", { class: "unknown" }, `not known, of ${number(need.limit)}`));
  return el("li", {},
    el("b", {}, name),
    el("meter", { min: 0, max: most, high: NEAR * most, optimum: 0, value: Math.min(need.peak, most), "aria-label": `${name}, at the peak` }),
    el("span", { class: need.peak > need.limit ? "bad" : "" }, `${number(need.mean)} on average, ${number(need.peak)} at the peak, of ${number(need.limit)}`));
}

function runsOut({ saturation, steps }) {
  if (saturation === null) return ["What runs out first is not known.", ""];
  if (saturation.what === null) return [`Nothing that was measured runs out up to ${times(saturation.upto)} (ceiling).`, "good"];
  const target = steps.at(-1)?.scale ?? 1;
  return [`What runs out first, with every seat taken: ${saturation.what}, at about ${times(saturation.scale)}.`, saturation.scale < target ? "bad" : saturation.scale < target / NEAR ? "warn" : ""];
}

/** Said in the open only when it is too much. */
function carriers({ descriptors }) {
  if (descriptors === null || descriptors.needed <= descriptors.limit) return [];
  return [verdict(`File descriptors: about ${number(descriptors.needed)} needed of the fullest worker here, and ${number(descriptors.limit)} is its limit. Raise LimitNOFILE, or add workers.`, "bad")];
}

function also({ idle, ledger, descriptors }) {
  const told = [];
  if (idle?.length) told.push(`Idle seats: ${idle.map(([minutes, seats]) => `${number(seats)} longer than ${minutes} min`).join(", ")}.`);
  if (ledger !== null) told.push(`The ledger can admit about ${number(ledger.admissions_per_second)} a second beside the workers' syncs.`);
  if (descriptors !== null) told.push(`File descriptors of the fullest worker here: ${number(descriptors.open)} open now, about ${number(descriptors.needed)} then, of ${number(descriptors.limit)}.`);
  return told;
}

const verdict = (words, state) => el("p", { class: `verdict ${state}` }, words);

function folded(key, title, lines, open) {
  if (!lines.length) return null;
  return el("details", { "data-key": key, open: open.has(key) },
    el("summary", {}, title), el("ul", {}, ...lines.map((line) => el("li", {}, line))));
}
