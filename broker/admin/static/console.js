// The console: one stream of samples, and everything that follows from each.

import { $, mark, say, span } from "./dom.js";
import * as lists from "./lists.js";
import * as order from "./order.js";
import { showPools, showSeats, showState, showWorkers } from "./panels.js";
import { showRamps } from "./ramps.js";
import { Tiles } from "./tiles.js";

const MOST_ROWS = 720;
const STALE = 4; // seconds without a sample

const tiles = new Tiles();
let rows = [];
let heard = 0;
let trailOf = "";

order.begin();
lists.begin();
listen();
setInterval(watch, 1000);

function listen() {
  const stream = new EventSource(`${document.body.dataset.path}live`);
  stream.addEventListener("history", (event) => { rows = JSON.parse(event.data).rows; });
  stream.addEventListener("now", (event) => {
    heard = Date.now();
    show(JSON.parse(event.data));
  });
  stream.addEventListener("gone", () => location.reload());
  // A refusal closes the stream for good: who is let in no more sees the door.
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(() => fetch(`${document.body.dataset.path}api/v1/capacity`).then(
      (answer) => (answer.status === 401 ? location.reload() : listen()), listen), 2000);
  });
}

function show(now) {
  tiles.draw(rows.at(-1)?.t === now.row.t ? rows : [...rows, now.row]);
  if (now.kept && rows.at(-1)?.t !== now.row.t) rows = [...rows.slice(1 - MOST_ROWS), now.row];
  tiles.show(now);
  showState(now);
  showRamps(now);
  order.followCapacity(now);
  showSeats(now);
  showPools(now);
  showWorkers(now);
  const standing = `${now.capacity?.version} ${Math.floor(now.row.t / 15)}`;
  if (standing !== trailOf) {
    trailOf = standing;
    lists.followTrail();
  }
  watch();
}

function watch() {
  const silent = heard ? (Date.now() - heard) / 1000 : 0;
  const stale = silent > STALE;
  say($("live"), !heard ? "connecting" : stale ? `no news for ${span(silent)}` : "live");
  mark($("live"), "stale", stale);
  mark(document.body, "stale", stale);
}
