// The audit log: the actions of operators.

import { api } from "../shared/account.js";
import { $, el, said } from "../shared/dom.js";
import { clock, now } from "./format.js";
import { toastError } from "./toast.js";

const MAX_ENTRIES = 500;
const audit = { entries: [], next: null };

export async function loadAudit(more) {
  try {
    const answer = await api(
      "GET",
      `/api/v1/audit?limit=20${more && audit.next ? `&before=${encodeURIComponent(audit.next)}` : ""}`,
    );
    if (more || !audit.entries.length) audit.next = answer.next ?? null;
    onAudit(answer.entries, more);
  } catch (error) {
    if (error.status !== 401) toastError(error);
  }
}

export function onAudit(entries, older = false) {
  const known = new Set(audit.entries.map((entry) => entry.id));
  const fresh = entries.filter((entry) => !known.has(entry.id));
  audit.entries = (older ? [...audit.entries, ...fresh] : [...fresh, ...audit.entries])
    .sort((a, b) => b.at_ms - a.at_ms)
    .slice(0, MAX_ENTRIES);
  $("audit-more").hidden = !audit.next;
  $("audit").replaceChildren(
    ...(audit.entries.length
      ? audit.entries.map(auditNode)
      : [
          el(
            "li",
            {},
            el("span", { class: "none" }, "Nothing yet. Kicks, notices, drains and changed settings are listed here."),
          ),
        ]),
  );
}

function auditNode({ at_ms, operator, action, target, detail: more, outcome }) {
  const at = new Date(at_ms),
    today = at.toDateString() === new Date(now()).toDateString();
  const words = (value) =>
    value !== null && typeof value === "object"
      ? Object.entries(value)
          .filter(([, v]) => v !== null && v !== undefined)
          .map(([k, v]) => `${k.replaceAll("_", " ")}: ${words(v)}`)
          .join(", ")
      : String(value ?? "");
  const shown = words(more);
  return el(
    "li",
    {},
    el("time", { datetime: at.toISOString() }, (today ? "" : `${at.toLocaleDateString()} `) + clock(at_ms)),
    said(operator?.email ?? operator?.id ?? "–"),
    el("b", {}, String(action).replaceAll("_", " ")),
    el("span", { class: "what" }, said(target ?? ""), target && shown ? " · " : "", said(shown)),
    el("span", { class: outcome === "done" || outcome === "begun" ? "soft" : "failed" }, outcome ?? ""),
  );
}

/** Empties the list, for another account. */
export function forgetAudit() {
  audit.entries = [];
}
