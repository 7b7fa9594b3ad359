// A page that says "not at the moment": asks whether that has changed, and only then reloads. Without
// it the page reloads every few seconds, which a screen reader would have to begin again each time.
"use strict";

(() => {
  const seconds = Number(document.getElementById("again").dataset.seconds);

  async function ask() {
    let changed = false;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "manual" });
      changed = answer.status !== 503;
    } catch (unreachable) {
      changed = false;
    }
    if (changed) location.reload();
    else setTimeout(ask, seconds * 1000 * (1 + Math.random() / 4));
  }

  setTimeout(ask, seconds * 1000);
})();
