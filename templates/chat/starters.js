// The greeting and the suggested questions of an empty chat.

import { $, el } from "../shared/dom.js";

/** Fills them in, in the language of the browser. `askStarter` is called with the question of a button. */
export async function showStarters(askStarter) {
  const url = `/api/v1/starters?lang=${encodeURIComponent(navigator.language)}`;
  // Without suggestions, the page is complete: a question can be typed.
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) return;
  const { greeting, starters, language } = await answer.json();
  $("greeting").textContent = greeting;
  $("greeting").lang = language;
  const buttonOf = (question) => {
    const button = el("button", { type: "button", "data-ask": question }, question);
    button.onclick = () => askStarter(question);
    return button;
  };
  $("starters").replaceChildren(...starters.map(buttonOf));
}
