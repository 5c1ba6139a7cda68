// The stored messages of a conversation: GET /api/v1/conversations/{id}/messages, in pages.

import { api } from "../shared/account.js";

const MAX_MESSAGES = 2000;

/** The messages of a conversation, oldest first: all, or as many of the newest as are enough. Pages come from the newest back. */
export async function messagesOf(id, isEnough = () => false) {
  const messages = [];
  let before = null;
  do {
    const page = await api("GET", `/api/v1/conversations/${id}/messages${before ? `?before=${before}` : ""}`);
    messages.unshift(...page.messages);
    before = page.next;
  } while (before && messages.length < MAX_MESSAGES && !isEnough(messages));
  return messages;
}

/** The messages by their turn: pairs of a turn's id and its messages. */
export function byTurn(messages) {
  const turns = new Map();
  for (const message of messages) turns.set(message.turn_id, [...(turns.get(message.turn_id) ?? []), message]);
  return turns;
}

/** The web pages that parts of an answer cite. Kinds of parts that this page does not know are ignored. */
export const citationsOf = (parts) =>
  parts
    .filter(({ kind, url }) => kind === "url_citation" && /^https?:/i.test(url))
    .map(({ url, title }) => ({ url, title: title ?? url }));

/** The follow-ups that parts of an answer suggest. */
export const suggestionsOf = (parts) => parts.flatMap(({ kind, items }) => (kind === "suggestions" ? items : []));

/** The fields of a turn whose answer is stored. */
export const answeredTurn = (answer) => ({
  text: answer.content,
  ...(answer.reasoning ? { reasoning: answer.reasoning } : {}),
  lastSeq: answer.last_seq ?? -1,
  sources: answer.metadata?.sources ?? [],
  citations: citationsOf(answer.parts ?? []),
  suggestions: suggestionsOf(answer.parts ?? []),
  messageId: answer.message_id,
  metadata: answer.metadata,
  feedback: answer.feedback ?? null,
  finishReason: answer.finish_reason,
  ended: true,
});
