// The sources of an answer: citations in its text, which are links to them, and the list under it.

import { el } from "../shared/dom.js";

const HIDE_AFTER_MS = 150;

/** Pages of this server, or of the web; nothing that a link could run. */
const isPage = (url) => /^(https?:\/\/|\/(?!\/))/i.test(url ?? "");

/** Returns a function that makes a link of the citation `[n]`; it returns null if there is no such source. */
export const citing = (sources) => (n) => {
  const source = sources[n - 1];
  if (!source) return null;
  const label = `Source ${n}: ${source.title || source.source}`;
  const props = isPage(source.url) ? pageLink(source.url) : { role: "note", tabindex: 0 };
  const link = el("a", { ...props, class: "cite", "aria-label": label }, `[${n}]`);
  link.cited = source;
  return el("sup", {}, link);
};

const pageLink = (href) => ({ href, target: "_blank", rel: "noopener noreferrer" });

/** The sources under an answer: those that it cites, and the other passages that were found, folded away. */
export function sourcesOf(sources, citations) {
  const cited = new Set(citations.map(({ n }) => n));
  const rows = sources.map((source, i) => ({ n: i + 1, row: rowOf(source, i + 1) }));
  const list = (isWanted) => rows.filter(({ n }) => isWanted(cited.has(n))).map(({ row }) => row);
  const [named, others] = [list((isCited) => isCited), list((isCited) => !isCited)];
  const passages = others.length === 1 ? "passage" : "passages";
  return el(
    "section",
    { class: "sources", "aria-label": "Sources" },
    named.length ? el("ol", {}, ...named) : null,
    others.length
      ? el(
          "details",
          {},
          el("summary", {}, `${others.length} ${named.length ? "more " : ""}${passages} found`),
          el("ol", {}, ...others),
        )
      : null,
  );
}

function rowOf({ title, source, score, excerpt, url }, n) {
  const name = title || source;
  return el(
    "li",
    { value: n },
    el("span", { class: "n", "aria-hidden": "true" }, String(n)),
    isPage(url)
      ? el(
          "a",
          { class: "title", ...pageLink(url) },
          name,
          el("span", { class: "hidden-text" }, " (opens in a new tab)"),
        )
      : el("b", { class: "title" }, name),
    el("span", { class: "file" }, source),
    el("meter", {
      min: 0,
      max: 1,
      value: score,
      "aria-label": `Score ${score.toFixed(2)}`,
      title: `score ${score.toFixed(2)}`,
    }),
    excerpt ? el("p", {}, excerpt) : null,
  );
}

// ── The tip of a citation: title and excerpt of its source ──────────────────────────────────────────────────────────

const tip = el("div", { id: "source-tip", role: "tooltip", hidden: true });
let shownFor = null;
let hiding = 0;

/** Shows tips for the citations of the page while the pointer or the focus is on them. */
export function showTips() {
  document.body.append(tip);
  const citationOf = (event) => event.target.closest?.(".cite") ?? null;
  for (const type of ["pointerover", "focusin"]) {
    document.addEventListener(type, (event) => {
      const link = citationOf(event);
      if (link) show(link);
      else if (tip.contains(event.target)) clearTimeout(hiding);
      else if (shownFor && document.activeElement !== shownFor) hideSoon();
    });
  }
  document.addEventListener("focusout", (event) => {
    if (citationOf(event) === shownFor) hideSoon();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  document.addEventListener("scroll", hide, { capture: true, passive: true });
}

function show(link) {
  clearTimeout(hiding);
  if (shownFor === link) return;
  hide();
  shownFor = link;
  const { title, source, excerpt } = link.cited;
  tip.replaceChildren(
    ...[el("b", {}, title || source), el("span", {}, source), excerpt && el("p", {}, excerpt)].filter(Boolean),
  );
  link.setAttribute("aria-describedby", tip.id);
  tip.hidden = false;
  const { left, bottom, top } = link.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${bottom + height + 8 < innerHeight ? bottom + 4 : Math.max(8, top - height - 4)}px`;
}

function hideSoon() {
  clearTimeout(hiding);
  hiding = setTimeout(hide, HIDE_AFTER_MS);
}

function hide() {
  clearTimeout(hiding);
  shownFor?.removeAttribute("aria-describedby");
  shownFor = null;
  tip.hidden = true;
}
