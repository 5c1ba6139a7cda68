// A small subset of Markdown, as DOM nodes; blocks that have not changed are left alone.

import { el } from "../shared/dom.js";
import { citing } from "./sources.js";

/** Makes the link of a citation; set for the time of a call of `renderMarkdown`. */
let cite = citing([]);

export function renderMarkdown(container, text, sources) {
  cite = citing(sources);
  const blocks = blocksOf(text);
  blocks.forEach((block, i) => {
    const old = container.children[i];
    if (old?.source === block.source && old.sources === sources) return;
    const node = blockNode(block);
    Object.assign(node, { source: block.source, sources });
    if (old) old.replaceWith(node);
    else container.append(node);
  });
  while (container.children.length > blocks.length) container.lastChild.remove();
}

function kindOf(line) {
  if (/^\s*```/.test(line)) return "code";
  if (/^#{1,6}\s/.test(line)) return "heading";
  if (/^\s*[-*•]\s+/.test(line)) return "ul";
  if (/^\s*\d+[.)]\s+/.test(line)) return "ol";
  if (/^\s*\|/.test(line)) return "table";
  if (/^>\s?/.test(line)) return "quote";
  return "p";
}

function blocksOf(text) {
  const blocks = [];
  let block = null;
  for (const line of text.split("\n")) {
    if (block?.kind === "code" && !block.closed) {
      block.lines.push(line);
      block.closed = /^\s*```\s*$/.test(line);
    } else if (line.trim() === "") {
      block = null;
    } else {
      let kind = kindOf(line);
      if (kind === "p" && (block?.kind === "ul" || block?.kind === "ol") && /^\s/.test(line)) kind = block.kind; // goes on with its item
      if (block?.kind === kind && kind !== "heading" && kind !== "code") block.lines.push(line);
      else {
        block = { kind, lines: [line] };
        blocks.push(block);
      }
    }
  }
  for (const b of blocks) b.source = b.lines.join("\n");
  return blocks;
}

function blockNode({ kind, lines, source }) {
  switch (kind) {
    case "code":
      return el(
        "pre",
        { tabindex: 0 },
        lines
          .slice(1)
          .filter((l, i, all) => i < all.length - 1 || !/^\s*```\s*$/.test(l))
          .join("\n"),
      );
    case "heading":
      return el("h3", {}, ...inline(source.replace(/^#+\s*/, "")));
    case "quote":
      return el("blockquote", {}, ...inline(lines.map((l) => l.replace(/^>\s?/, "")).join("\n")));
    case "table":
      return tableNode(lines);
    case "ul":
    case "ol":
      return listNode(kind, lines);
    default:
      return el("p", {}, ...inline(source));
  }
}

function listNode(kind, lines) {
  const items = [],
    marker = kind === "ul" ? /^\s*[-*•]\s+/ : /^\s*\d+[.)]\s+/;
  for (const line of lines) {
    if (marker.test(line) || !items.length) items.push(line.replace(marker, ""));
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  const start = kind === "ol" ? parseInt(lines[0].trim(), 10) : null;
  return el(kind, { start: start > 1 ? start : null }, ...items.map((item) => el("li", {}, ...inline(item))));
}

function tableNode(lines) {
  const cells = (line) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => cell.trim());
  const rule = /^\s*\|[\s:|-]*$/; // also one that has not arrived in full
  const headed = lines.length > 1 && rule.test(lines[1]);
  const row = (line, tag) => el("tr", {}, ...cells(line).map((cell) => el(tag, {}, ...inline(cell))));
  const head = headed ? [el("thead", {}, row(lines[0], "th"))] : [];
  const rows = lines
    .slice(headed ? 2 : 0)
    .filter((line) => !rule.test(line))
    .map((line) => row(line, "td"));
  return el("div", { class: "table" }, el("table", {}, ...head, el("tbody", {}, ...rows)));
}

const MARKS =
  /\\([\\`*_[\]<>|#])|\*\*(\S(?:[^*]*\S)?)\*\*|`([^`]+)`|(?<![\w*])\*(\S(?:[^*\n]*\S)?)\*(?![\w*])|\[(?:\[(\d{1,3})\]|(\d{1,3}(?:, ?\d{1,3})*))\](?!\()/g;

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const m of text.matchAll(MARKS)) {
    nodes.push(text.slice(from, m.index));
    from = m.index + m[0].length;
    const [whole, escaped, strong, code, em, inDouble, numbers = inDouble] = m;
    if (escaped !== undefined) nodes.push(escaped);
    else if (strong !== undefined) nodes.push(el("strong", {}, ...inline(strong)));
    else if (code !== undefined) nodes.push(el("code", {}, code));
    else if (em !== undefined) nodes.push(el("em", {}, ...inline(em)));
    else nodes.push(...citationsOf(numbers, whole));
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

/** A link for each number of a citation; the text as it is if a number has no source. */
function citationsOf(numbers, whole) {
  const links = numbers.split(",").map((number) => cite(Number(number)));
  return links.every(Boolean) ? links : [whole];
}
