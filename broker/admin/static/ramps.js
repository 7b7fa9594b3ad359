// What lies over the configured numbers: each raise with its ramp, and the three things that can be
// done to it.

import { api, confirmed, mayChange } from "./ask.js";
import { $, day, el, keep, mark, say, span, times } from "./dom.js";

const STATES = { climbing: "climbing", paused: "held by the guard", held: "held", reached: "in force" };

let version = 0;

export function showRamps({ capacity }) {
  const raises = Object.entries(capacity?.raises ?? {}).map(([scope, raise]) => ({ scope, ...raise }));
  version = capacity?.version ?? 0;
  const steered = raises.some((each) => each.scope === "site") ? "site" : "level";
  const host = $("ramps");
  const nothing = { scope: "", text: capacity === null ? "The ledger does not answer." : "As configured. No raise is in force." };
  keep(host, raises.length ? raises.reverse() : [nothing], (each) => each.scope, make, (node, each) => {
    if (!each.scope) return say(node, each.text);
    return show(node, each, !["site", "level"].includes(each.scope) || each.scope === steered);
  });
  keep(
    capsHost(host), capacity?.caps ?? [], (cap) => cap.what, () => el("li"),
    (node, cap) => say(node, `${cap.what}: ${times(cap.asked)} asked, capped at the ceiling ${times(cap.ceiling)}`),
  );
}

function capsHost(host) {
  if (!host.nextElementSibling) host.after(el("ul", { class: "caps" }));
  return host.nextElementSibling;
}

function make({ scope }) {
  if (!scope) return el("p", { class: "note" });
  const act = (what, label) => el("button", { type: "button", "data-act": what, click: () => steer(scope, what) }, label);
  return el("section", { class: "raise" },
    el("h3", {}, el("b"), el("span", { class: "pill" })),
    el("div", { class: "steps", role: "img" }),
    el("p", { class: "why" }),
    el("p", { class: "note" }),
    mayChange ? el("p", { class: "row" }, act("hold", "Hold"), act("resume", "Resume"), act("lower", scope === "level" ? "Back to normal" : "End the raise")) : null,
    el("p", { class: "refused", role: "alert", hidden: true }));
}

function show(node, raise, steered) {
  const { ramp } = raise;
  const what = raise.level ? `Level ${raise.level}` : raise.scope === "site" ? "The site" : `Pool ${raise.scope}`;
  say(node.querySelector("h3 b"), `${what}: ${times(ramp.scale)}${ramp.scale === ramp.target ? "" : ` of ${times(ramp.target)}`}`);
  const pill = node.querySelector(".pill");
  const state = ramp.rolled_back ? "bad" : { climbing: "raised", paused: "warn", held: "warn", reached: "good" }[ramp.state];
  pill.className = `pill ${state}`;
  say(pill, ramp.rolled_back ? "rolled back, held" : STATES[ramp.state]);
  const steps = node.querySelector(".steps");
  steps.setAttribute("aria-label", `Step ${ramp.step} of ${ramp.steps.length}`);
  keep(steps, ramp.steps.map((scale, at) => ({ scale, at })), (step) => step.at, () => el("span", {}, el("b")), (bar, step) => {
    mark(bar, "done", step.at < ramp.step);
    mark(bar, "next", step.at === ramp.step && ramp.state === "climbing");
    mark(bar, "warn", state === "warn" || state === "bad");
    bar.title = times(step.scale);
    const told = ramp.steps.length <= 12 || step.at % 3 === 0 || step.at === ramp.steps.length - 1;
    say(bar.firstElementChild, told ? times(step.scale) : "");
  });
  const why = node.querySelector(".why");
  say(why, ramp.why ?? "");
  why.hidden = !ramp.why;
  say(node.querySelector(".note"), story(raise));
  for (const button of node.querySelectorAll("[data-act]")) {
    const open = { hold: ["climbing", "paused"], resume: ["paused", "held"], lower: Object.keys(STATES) }[button.dataset.act];
    button.hidden = !open.includes(ramp.state) || (button.dataset.act !== "lower" && !steered);
  }
}

function story({ author, reason, began, ends, open_to: open, ramp, guard }) {
  const parts = [`${author}, ${day(began)}: “${reason}”`];
  if (open.length) parts.push(`open to ${open.join(", ")}`);
  if (ramp.state === "climbing") {
    const left = ramp.finish_seconds ? `at the top in ${span(ramp.finish_seconds)} at the earliest` : "at the top, proving itself";
    parts.push(`a step every ${span(ramp.every_seconds)}, ${left}`);
    parts.push(guard === "hold" ? "the guard holds" : "the guard goes back");
  }
  parts.push(ends === null ? "without an end" : `ends ${day(ends)}`);
  return `${parts.join(" · ")}.`;
}

const QUESTIONS = {
  hold: { title: "Hold the ramp at this step?", why: "welcome", action: "Hold" },
  resume: { title: "Let the ramp climb on?", why: "welcome", action: "Resume" },
  lower: { title: "End the raise?", why: "needed", action: "End the raise", danger: true,
    told: ["What lies underneath is in force again, in one step. Nobody is thrown out: it drains."] },
};

async function steer(scope, what) {
  const question = { ...QUESTIONS[what] };
  if (scope === "level" && what === "lower") Object.assign(question, { title: "Go back to level normal?", action: "Back to normal" });
  const reason = await confirmed(question);
  if (reason === null) return;
  const body = { reason };
  let path = `capacity/${what}`;
  if (scope === "level" && what === "lower") {
    path = "capacity/level";
    body.level = "normal";
  } else if (!["site", "level"].includes(scope)) body.pool = scope;
  const refused = document.querySelector(`#ramps [data-key="${CSS.escape(scope)}"] .refused`);
  try {
    await api("POST", path, { body, version });
    if (refused) refused.hidden = true;
  } catch (refusal) {
    if (!refused) return;
    refused.hidden = false;
    say(refused, refusal.message);
  }
}
