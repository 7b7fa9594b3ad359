// The waiting page: asks how things stand and enters when called. Without it the page reloads by
// itself. Written for browsers from 2018 on: one that cannot read it would never ask again.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const page = at("wait");
  const words = page.dataset;
  const JITTER = 0.25; // policy/standing.py: with it no interval is above 45 s
  const READ = 1000; // ms in which it can be read that it is one's turn
  let poll = Number(words.poll);
  let asked = Date.now();
  let timer = 0;
  let asking = false;

  // As portal/durations.py.
  function duration(seconds) {
    if (seconds < 90) return `${seconds}\u00a0s`;
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return `${minutes}\u00a0min`;
    const rest = minutes % 60;
    return `${Math.floor(minutes / 60)}\u00a0h` + (rest ? `\u00a0${rest}\u00a0min` : "");
  }

  function span({ p50, p90 }) {
    if (p50 === null || p90 === null) return "";
    const [first, last] = [duration(p50), duration(p90)];
    return first === last ? first : `${first} \u2013 ${last}`;
  }

  function show(state, title) {
    for (const each of ["learning", "called", "waiting"]) at(each).hidden = each !== state;
    document.title = `${title} · ${words.company}`;
  }

  function showWaiting({ position, estimate_seconds: estimate }) {
    const range = span(estimate);
    at("placed").hidden = position === null;
    at("place").textContent = position === null ? "" : String(position);
    at("span").hidden = !range;
    at("span").textContent = range;
    at("unknown").hidden = Boolean(range);
    show("waiting", position === null ? words.waiting : `(${position}) ${words.waiting}`);
  }

  // To the address first asked for: this page stands in for it, or the waiting room goes on to it.
  function enter() {
    location.reload();
  }

  function heard(status) {
    poll = status.poll_seconds || poll;
    if (status.state === "waiting") showWaiting(status);
    else if (status.state === "learning") show("learning", words.learning);
    else if (status.state === "called") {
      show("called", words.called);
      setTimeout(enter, READ);
    } else enter(); // seated: in. not_admitted, gone, none: the page itself says what that means.
  }

  async function ask() {
    if (asking) return;
    asking = true;
    asked = Date.now();
    clearTimeout(timer);
    let wait = 0;
    try {
      const answer = await fetch("/.broker/wait/status", {
        cache: "no-store",
        redirect: "manual",
      });
      if (answer.ok) heard(await answer.json());
      else if (answer.status === 401) enter();
      else wait = Number(answer.headers.get("Retry-After")) || poll;
      at("offline").hidden = answer.ok || answer.status === 429;
    } catch (unreachable) {
      at("offline").hidden = false;
    }
    asking = false;
    const seconds = wait || poll;
    timer = setTimeout(ask, seconds * 1000 * (1 + JITTER * Math.random()));
  }

  // A tab that was hidden, frozen or offline may have missed its call: ask as soon as it is looked
  // at, unless it has just asked.
  function awake() {
    if (document.visibilityState === "visible" && Date.now() - asked > poll * 500) ask();
  }
  document.addEventListener("visibilitychange", awake);
  document.addEventListener("resume", awake);
  addEventListener("pageshow", awake);
  addEventListener("online", awake);

  timer = setTimeout(ask, poll * 1000 * (1 + JITTER * Math.random()));
})();
