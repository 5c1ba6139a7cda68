// The conversation that the page shows; a reload of the tab comes back to it.

import { isSame } from "./wire.js";

const KEY = "switchboard.conversation";

/** Its id is null until its first turn has started. */
export let shown = { id: sessionStorage.getItem(KEY) };

export function setShown(conversation) {
  shown = conversation;
  if (shown.id) sessionStorage.setItem(KEY, shown.id);
  else sessionStorage.removeItem(KEY);
}

export const isShown = (turn) => isSame(turn.conversation, shown);
