// Asking the API below this path, as everybody else does, and asking the person who sits here.

import { $, el } from "./dom.js";

const base = `${document.body.dataset.path}api/v1/`;
export const mayChange = document.body.dataset.role === "operator";

/** What the API said instead of doing it; the message may be shown. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function api(method, path, { body, version, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (version !== undefined) headers["If-Match"] = `"${version}"`;
  let answer;
  try {
    answer = await fetch(base + path, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "the broker does not answer");
  }
  if (answer.status === 401) location.reload();
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, told.detail || answer.statusText);
  return told;
}

/** Ask before something is done. `why`: "needed", "welcome" or absent. The reason, or null: no. */
export function confirmed({ title, told = [], why, action, danger = false }) {
  const dialog = $("ask");
  const [form] = dialog.getElementsByTagName("form");
  const reason = form.elements.reason;
  const yes = form.querySelector("button.main");
  form.querySelector("h2").textContent = title;
  form.querySelector(".told").replaceChildren(...told.map((line) => el("p", {}, line)));
  form.querySelector(".why").hidden = !why;
  form.querySelector(".why span").textContent = why === "needed" ? "Why" : "Why (if you like)";
  reason.required = why === "needed";
  reason.value = "";
  yes.textContent = action;
  yes.classList.toggle("danger", danger);
  dialog.returnValue = "";
  dialog.showModal();
  (why ? reason : yes).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? reason.value.trim() : null),
      { once: true },
    );
  });
}
