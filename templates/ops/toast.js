// Short messages at the edge of the page.

import { $, el, said } from "../shared/dom.js";

const SHOWN_MS = 6000,
  ERROR_SHOWN_MS = 12000;

function show(text, kind, ms) {
  const node = el("div", { class: `toast ${kind}` }, said(text));
  $("toasts").append(node);
  setTimeout(() => node.remove(), ms);
}

export const toast = (text) => show(text, "", SHOWN_MS);

export const toastError = ({ code, error, message }) =>
  show(code ? `${code}: ${error}` : message, "bad", ERROR_SHOWN_MS);

/** A box with an error, for a form. */
export const errorBox = ({ code = "ERROR", error, message }) =>
  el("div", { class: "failure" }, el("code", {}, code), said(error ?? message));
