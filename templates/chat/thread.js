// The turns of the conversation that is shown.

import { $, el } from "../shared/dom.js";
import { feedbackOf } from "./feedback.js";
import { announce, isAtEnd, layout, scrollToEnd } from "./layout.js";
import { renderMarkdown } from "./markdown.js";
import { errorBox } from "./notices.js";
import { ask, drawQueue } from "./queue.js";
import { isShown } from "./shown.js";
import { sourcesOf } from "./sources.js";
import { connection, runningTurns } from "./wire.js";

const STEPS = {
  starting: "Starting",
  routing: "Choosing a specialist",
  retrieval: "Searching",
  thinking: "Thinking",
  generating: "Writing",
};
const GIVE_UP_AFTER_MS = 30_000;

/** The note on running answers: none, `lost` for the connection, or `incomplete` for the answers. */
let loss = null;
let giveUpTimer = 0;

/** Shows a turn at the end of the thread. */
export function show(turn) {
  if (!turn.view) {
    const parts = {
      question: el("div", { class: "question" }),
      steps: el("ol", { class: "steps", "aria-label": "Progress" }),
      reasoning: el("details", { class: "reasoning", hidden: true }, el("summary"), el("div")),
      card: el("div", { class: "card" }),
      answer: el("div", { class: "answer" }),
      foot: el("div"),
      loss: el("div"),
    };
    turn.parts = parts;
    parts.card.append(parts.answer, parts.foot);
    turn.view = el("article", { class: "turn" }, parts.question, parts.steps, parts.reasoning, parts.card, parts.loss);
    turn.view.turn = turn;
  }
  $("turns").append(turn.view);
  draw(turn);
}

const changed = new Set();
/** Draws a turn at most once a frame of the screen, however fast its tokens come. */
export function draw(turn) {
  if (changed.size === 0) {
    requestAnimationFrame(() => {
      const all = [...changed];
      changed.clear();
      all.forEach(drawNow);
      layout();
    });
  }
  changed.add(turn);
}

function drawNow(turn) {
  if (!turn.view) return;
  const wasAtEnd = isAtEnd();
  const { question, steps, card, answer, foot } = turn.parts;
  question.hidden = turn.question === null;
  question.textContent = turn.question ?? "";
  turn.view.classList.toggle("streaming", !turn.ended && !loss && turn.text !== "");
  drawSteps(turn, steps);
  drawLoss(turn);
  drawReasoning(turn, turn.parts.reasoning);
  renderMarkdown(answer, turn.text, turn.sources);
  if ((turn.ended && !turn.footDrawn) || turn.verified !== turn.footVerified) {
    turn.footDrawn = turn.ended;
    turn.footVerified = turn.verified;
    foot.replaceChildren(...footOf(turn));
  }
  card.hidden = turn.text === "" && foot.childElementCount === 0;
  if (wasAtEnd) scrollToEnd();
}

function drawSteps(turn, list) {
  list.hidden = turn.ended || loss !== null;
  if (turn.ended || (list.dataset.drawn === turn.step && list.childElementCount)) return;
  list.dataset.drawn = turn.step;
  const names = Object.keys(STEPS).filter((name) => name !== "thinking" || turn.hasThought),
    at = names.indexOf(turn.step);
  list.replaceChildren(
    ...names.slice(0, Math.max(at, 0) + 1).map((name, i) => {
      const label =
        i === at
          ? turn.stepMessage || STEPS[name]
          : name === "routing" && turn.specialist
            ? turn.specialist
            : STEPS[name];
      return el("li", { class: i < at ? "done" : "now", "data-step": name }, label);
    }),
  );
  if (at >= 0) announce(turn.stepMessage || STEPS[turn.step]);
}

/** The model's reasoning: open until the answer begins, then folded away. */
function drawReasoning(turn, details) {
  if (turn.reasoning === "") return;
  const isOver = turn.text !== "" || turn.ended;
  if (details.hidden || (isOver && !turn.reasoningFolded)) details.open = !isOver;
  turn.reasoningFolded = isOver;
  details.hidden = false;
  const [summary, text] = details.children;
  summary.textContent = isOver ? "Reasoning" : "Thinking…";
  text.textContent = turn.reasoning;
}

function footOf(turn) {
  const parts = [],
    { metadata, error } = turn;
  if (metadata) {
    if (metadata.sources?.length) parts.push(sourcesOf(metadata.sources, metadata.citations ?? []));
    if (turn.citations.length) parts.push(citationsOf(turn.citations));
    parts.push(el("div", { class: "meta" }, ...tagsOf(turn, metadata)));
    if (turn.messageId) {
      turn.feedbackView ??= feedbackOf(turn);
      parts.push(turn.feedbackView);
    }
    if (turn.suggestions.length) parts.push(suggestionsOf(turn));
  }
  if (error) {
    const text = error.code === "TURN_INTERRUPTED" ? `The answer could not be completed. ${error.error}` : error.error;
    const again = () => {
      if (ask(turn.question, turn.conversation)) turn.view.remove();
    };
    parts.push(
      errorBox(
        { code: error.code, error: text, correlationId: error.correlationId, retryAfterMs: error.retryAfterMs },
        error.retryable ? "Try again" : null,
        again,
      ),
    );
  }
  return parts;
}

function tagsOf(
  { finishReason, resumes, verified },
  { specialist, agent, support, model, latency_ms: latency, usage },
) {
  const tag = (kind, text, title = null) => el("span", { class: `tag ${kind}`, title }, text);
  return [
    tag("specialist", specialist ?? agent),
    typeof support === "number" && tag(...supportOf(support)),
    tag("", model),
    latency &&
      tag(
        "",
        `first token ${latency.first_token} ms`,
        `routing ${latency.routing} ms, retrieval ${latency.retrieval} ms, whole answer ${latency.total} ms`,
      ),
    usage && tag("", `${usage.completion_tokens} tokens`, `${usage.prompt_tokens} tokens read`),
    finishReason === "cancelled" && tag("warn", "stopped"),
    finishReason === "length" && tag("warn", "cut at the length limit"),
    resumes > 0 && tag("", `resumed ${resumes}×`),
    verified === true &&
      tag("good", "✓ verified", "The tokens joined are the answer, byte for byte, and its SHA-256 matches"),
    verified === false &&
      tag("bad", "✗ not what was sent", "The tokens joined differ from the answer, or its SHA-256 does not match"),
  ].filter(Boolean);
}

/** Buttons that ask a suggested follow-up; below the last turn only. */
function suggestionsOf({ suggestions, conversation }) {
  const button = (text) => el("button", { type: "button", onclick: () => ask(text, conversation) }, text);
  return el("div", { class: "suggestions", role: "group", "aria-label": "Related topics" }, ...suggestions.map(button));
}

/** The kind, text and title of the tag that says how well the sources carry the answer. */
function supportOf(support) {
  const title = `In about ${Math.round(support * 100)} of 100 cases like this, the sources have the answer`;
  if (support >= 0.7) return ["good", "well supported", title];
  return support >= 0.45 ? ["", "partly supported", title] : ["warn", "weakly supported", title];
}

function citationsOf(citations) {
  const link = ({ url, title }) =>
    el("li", {}, el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title));
  const count = citations.length === 1 ? "1 web page" : `${citations.length} web pages`;
  return el("details", { class: "citations" }, el("summary", {}, count), el("ol", {}, ...citations.map(link)));
}

// ── Running answers while the connection is lost ────────────────────────────────────────────────────────────────────

/** Running answers say at once that the connection is lost, and after a while that they could not be completed. */
export function loseConnection() {
  if (loss) return;
  setLoss("lost");
  if (runningTurns().some(isShown)) announce("Connection lost; reconnecting");
}

export const giveUp = () => setLoss("incomplete");

export const findConnection = () => setLoss(null);

export function reconnectNow() {
  if (loss) setLoss("lost");
  connection.reconnect();
}

function setLoss(next) {
  clearTimeout(giveUpTimer);
  loss = next;
  if (loss === "lost") giveUpTimer = setTimeout(giveUp, GIVE_UP_AFTER_MS);
  runningTurns().forEach(draw);
  drawQueue();
  layout();
}

function drawLoss(turn) {
  const next = turn.ended ? null : loss;
  if (turn.lossDrawn === next) return;
  turn.lossDrawn = next;
  const error = { code: "CONNECTION_LOST", error: "The answer could not be completed: the server cannot be reached." };
  turn.parts.loss.replaceChildren(
    ...(next === "lost"
      ? [el("p", { class: "lost" }, "Connection lost; reconnecting…")]
      : next === "incomplete"
        ? [errorBox(error, "Try again", reconnectNow)]
        : []),
  );
}
