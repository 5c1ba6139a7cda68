// Errors by code and refusals by limit, since the start and in the last minute.

import { $, el } from "../shared/dom.js";
import { count } from "./format.js";

const RECENT_MS = 60000;
const BREAKDOWNS = [
  { id: "errors-by-code", field: "errors_by_code", none: "No error was answered." },
  { id: "refused-by-limit", field: "refused_by_limit", none: "No limit refused anything." },
];
let recentStats = []; // the frames of the last minute, oldest first

export function drawBreakdowns(frame) {
  // A server that started anew counts from 0.
  if (recentStats[0]?.started_at_ms !== frame.started_at_ms) recentStats = [];
  recentStats.push(frame);
  while (recentStats[0].at_ms < frame.at_ms - RECENT_MS) recentStats.shift();
  for (const { id, field, none } of BREAKDOWNS) {
    const counts = Object.entries(frame[field] ?? {}).sort(
      ([one, many], [other, more]) => more - many || one.localeCompare(other),
    );
    const rows = counts.map(([name, total]) => [name, total, total - (recentStats[0][field]?.[name] ?? 0)]);
    const text = JSON.stringify(rows);
    if ($(id).drawn === text) continue;
    $(id).drawn = text;
    $(id).replaceChildren(
      ...(rows.length
        ? rows.map(([name, total, recent]) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, name),
              el("td", { class: recent ? "recent" : "soft" }, recent ? `+${count(recent)}` : "–"),
              el("td", {}, count(total)),
            ),
          )
        : [el("tr", {}, el("td", { colSpan: 3, class: "soft" }, none))]),
    );
  }
}
