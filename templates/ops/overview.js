// The state of the server: the line above the charts, the tables below them, and the banner.

import { $, setText } from "../shared/dom.js";
import { drawBreakdowns } from "./breakdown.js";
import { addSample } from "./charts.js";
import { count, duration, many, setServerTime } from "./format.js";
import { concerns, drawProviders } from "./providers.js";

/** The last `stats` frame. */
export let stats = null;

export function onStats(frame) {
  stats = frame;
  setServerTime(frame.at_ms);
  addSample(frame);
  setText(
    $("uptime"),
    [
      `up ${duration(frame.at_ms - frame.started_at_ms)}`,
      many(frame.turns, "turn"),
      many(frame.tokens, "token"),
      `${count(frame.refused)} refused by limits`,
      frame.stalled && `${count(frame.stalled)} stalled`,
      `${many(frame.operators, "operator")} connected`,
      ...concerns(frame),
    ]
      .filter(Boolean)
      .join(" · "),
  );
  drawBreakdowns(frame);
  drawProviders(frame);
  const left = `${many(frame.connections, "connection")} and ${many(frame.running_turns, "turn")}`;
  showBanner(frame.draining && `The server is draining: it accepts no new connections and turns. ${left} are left.`);
  setText($("do-drain"), frame.draining ? "Undrain…" : "Drain…");
}

export function onGoingAway() {
  showBanner("The server is going away. This page reconnects when it is back.");
}

function showBanner(text) {
  $("banner").hidden = !text;
  if (text) setText($("banner"), text);
}
