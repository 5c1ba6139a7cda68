// Actions of operators on connections, users and turns.

import { api } from "../shared/account.js";
import { el } from "../shared/dom.js";
import { confirmThen } from "./dialog.js";
import { many } from "./format.js";

const reasonField = () =>
  el("label", {}, "Reason, sent to the client", el("input", { name: "reason", maxlength: "100", autocomplete: "off" }));
const reasonOf = (form) => (form.get("reason")?.trim() ? { reason: form.get("reason").trim() } : {});

export function kick(id) {
  confirmThen({
    title: "Kick this connection?",
    text: "It is closed with code 4403. Its turns go on without it. The client does not reconnect by itself; the user may.",
    parts: [reasonField()],
    action: "Kick",
    danger: true,
    run: async (form) => {
      await api("POST", `/api/v1/connections/${id}/kick`, reasonOf(form));
      return "The connection was kicked.";
    },
  });
}

export function kickUser(user) {
  confirmThen({
    title: `Kick ${user.name} everywhere?`,
    text: `${user.email} loses every open connection.`,
    parts: [
      reasonField(),
      el(
        "label",
        { class: "check" },
        el("input", { type: "checkbox", name: "revoke", checked: true }),
        "Also revoke the tokens: the user has to sign in again",
      ),
    ],
    action: "Kick user",
    danger: true,
    run: async (form) => {
      const answer = await api("POST", `/api/v1/users/${user.id}/kick`, {
        ...reasonOf(form),
        revoke_tokens: form.get("revoke") !== null,
      });
      return `${many(answer.kicked, "connection")} of ${user.email} kicked${answer.revoked ? ", tokens revoked." : "."}`;
    },
  });
}

export function lockUser(user) {
  confirmThen({
    title: `Lock ${user.name}?`,
    text: `${user.email} loses every open connection and sign-in, and cannot sign in until an operator unlocks the account, in the tab Users.`,
    parts: [reasonField()],
    action: "Lock user",
    danger: true,
    run: async (form) => {
      const answer = await api("POST", `/api/v1/users/${user.id}/lock`, reasonOf(form));
      return `${user.email} is locked, ${many(answer.kicked, "connection")} closed.`;
    },
  });
}

export function cancelTurn(id) {
  confirmThen({
    title: "Cancel this turn?",
    text: "The answer ends here, for all subscribers. What was written of it is stored.",
    action: "Cancel the turn",
    danger: true,
    run: async () => {
      await api("POST", `/api/v1/turns/${id}/cancel`);
      return "The turn was cancelled.";
    },
  });
}

export function notice(user = null) {
  confirmThen({
    title: user ? `A notice to ${user.name}` : "A notice to everybody",
    text: user ? `Every open connection of ${user.email} shows it.` : "Every open connection shows it.",
    parts: [
      el("label", {}, "Message", el("textarea", { name: "message", rows: "3", maxlength: "1000", required: true })),
      el(
        "label",
        {},
        "Level",
        el(
          "select",
          { name: "level" },
          el("option", { value: "info" }, "information"),
          el("option", { value: "warning" }, "warning"),
        ),
      ),
    ],
    action: "Send",
    run: async (form) =>
      `Sent to ${many((await api("POST", "/api/v1/notices", { message: form.get("message"), level: form.get("level"), ...(user ? { user_id: user.id } : {}) })).connections, "connection")}.`,
  });
}

export function unlockUser(user) {
  confirmThen({
    title: `Unlock ${user.name}?`,
    text: `${user.email} can sign in again. Earlier sign-ins stay ended.`,
    action: "Unlock user",
    run: async () => {
      await api("DELETE", `/api/v1/users/${user.id}/lock`);
      return `${user.email} is unlocked.`;
    },
  });
}
