// Draining the server, and undoing that.

import { api } from "../shared/account.js";
import { el } from "../shared/dom.js";
import { confirmThen } from "./dialog.js";
import { many } from "./format.js";
import { stats } from "./overview.js";

function undrain() {
  confirmThen({
    title: "Accept new work again?",
    text: "New connections and turns are accepted again. A drain that a signal began cannot be undone.",
    action: "Undrain",
    run: async () => {
      await api("DELETE", "/api/v1/drain");
      return "The server accepts new work again.";
    },
  });
}

export function drain() {
  if (stats?.draining) return undrain();
  const then = el(
    "select",
    { name: "then" },
    el("option", { value: "stay" }, "stay, empty, until it is undrained"),
    el("option", { value: "stop" }, "stop the server"),
  );
  confirmThen({
    title: "Drain the server?",
    text: "It accepts no new connections and turns. Running turns get some time to end, and clients are told to reconnect elsewhere.",
    parts: [el("label", {}, "Then", then)],
    action: "Drain",
    danger: true,
    run: async (form) => {
      // biome-ignore lint/suspicious/noThenProperty: the name of the field in the API; nothing awaits this object
      const answer = await api("POST", "/api/v1/drain", { then: form.get("then") });
      return `${many(answer.connections, "connection")} and ${many(answer.running_turns, "turn")} are being drained.`;
    },
  });
}
