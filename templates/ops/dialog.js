// The dialog that asks before something is done.

import { $, el, said } from "../shared/dom.js";
import { errorBox, toast } from "./toast.js";

/** Set by page.js: called after each action. */
export const on = { done() {} };

/** Asks for confirmation. `parts` are the fields of the form; `run` gets their values, and its result is shown. */
export function confirmThen({ title, text, parts = [], action, danger = false, run }) {
  const error = el("div", { role: "alert" });
  const go = el("button", { class: danger ? "primary danger" : "primary" }, action);
  const form = $("ask-form");
  form.replaceChildren(
    el("h2", { id: "ask-title" }, said(title)),
    el("p", {}, said(text)),
    ...parts,
    error,
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => $("ask").close() }, "Cancel"), go),
  );
  form.onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    error.replaceChildren();
    try {
      toast(await run(new FormData(form)));
      $("ask").close();
      on.done();
    } catch (failure) {
      error.replaceChildren(errorBox(failure));
    }
    go.disabled = false;
  };
  $("ask").showModal();
}
