// Thumbs below an answer: PUT and DELETE /api/v1/messages/{message_id}/feedback.

import { api } from "../shared/account.js";
import { el } from "../shared/dom.js";
import { announce } from "./layout.js";
import { showError } from "./notices.js";

const REASONS = { incorrect: "Incorrect", incomplete: "Incomplete", off_topic: "Not what I asked", unclear: "Unclear" };
const MAX_COMMENT_CHARS = 1000;

/** The thumbs of a turn with a stored answer, and, below a thumb down, a form for the reasons. */
export function feedbackOf(turn) {
  const thumb = (rating, name) =>
    el("button", {
      type: "button",
      class: `thumb ${rating}`,
      "aria-label": name,
      title: name,
      onclick: () => rate(rating),
    });
  const thumbs = { up: thumb("up", "Good answer"), down: thumb("down", "Bad answer") };
  const form = el(
    "form",
    { class: "reasons", hidden: true },
    el(
      "fieldset",
      {},
      el("legend", {}, "What was wrong? (optional)"),
      ...Object.entries(REASONS).map(([value, label]) =>
        el("label", {}, el("input", { type: "checkbox", name: "reasons", value }), label),
      ),
    ),
    el(
      "label",
      {},
      "Comment",
      el("textarea", { name: "comment", rows: "2", maxlength: String(MAX_COMMENT_CHARS), autocomplete: "off" }),
    ),
    el("button", {}, "Send"),
  );

  const show = () => {
    for (const [rating, button] of Object.entries(thumbs)) {
      button.setAttribute("aria-pressed", String(turn.feedback?.rating === rating));
    }
    if (turn.feedback?.rating !== "down") form.hidden = true;
  };

  /** Stores the feedback, or withdraws it if it is null. */
  const save = async (feedback) => {
    const path = `/api/v1/messages/${turn.messageId}/feedback`;
    try {
      turn.feedback = (await api(feedback ? "PUT" : "DELETE", path, feedback ?? undefined)) ?? null;
      announce(feedback ? "Thank you for your feedback" : "Feedback withdrawn");
      return true;
    } catch (error) {
      showError(error);
      return false;
    } finally {
      show();
    }
  };

  const rate = async (rating) => {
    const isWithdrawn = turn.feedback?.rating === rating;
    if ((await save(isWithdrawn ? null : { rating })) && rating === "down") form.hidden = isWithdrawn;
  };

  form.onsubmit = async (event) => {
    event.preventDefault();
    const fields = new FormData(form);
    const feedback = { rating: "down", reasons: fields.getAll("reasons"), comment: fields.get("comment") };
    if (!(await save(feedback))) return;
    form.hidden = true;
    thumbs.down.focus();
  };

  show();
  return el(
    "div",
    { class: "feedback", role: "group", "aria-label": "Rate this answer" },
    thumbs.up,
    thumbs.down,
    form,
  );
}
