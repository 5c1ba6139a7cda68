// Circuits of the providers, and the use of the daily budgets.

import { $, el } from "../shared/dom.js";
import { clock, count } from "./format.js";

const STATES = { closed: "closed", open: "open", half_open: "half-open" };

export function drawProviders({ providers = [] }) {
  const text = JSON.stringify(providers);
  if ($("providers").drawn === text) return;
  $("providers").drawn = text;
  $("providers").replaceChildren(
    ...providers.map(({ name, circuit, failures, last_failure, open_until_ms }) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, name),
        el("td", { class: circuit === "closed" ? "soft" : "recent" }, STATES[circuit] ?? circuit),
        el("td", { title: last_failure ? `The latest: ${last_failure}` : "" }, count(failures)),
        el("td", {}, open_until_ms ? clock(open_until_ms) : "–"),
      ),
    ),
  );
}

/** What the line above the charts says about providers and budgets. */
export const concerns = ({ providers = [], budget }) => [
  ...providers
    .filter(({ circuit }) => circuit !== "closed")
    .map(({ name, circuit }) => `circuit of ${name} ${STATES[circuit] ?? circuit}`),
  budget && `${count(budget.users_at_limit)} of ${count(budget.users)} users have used up their daily budget`,
];
