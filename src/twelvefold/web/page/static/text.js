// A model's text as elements: paragraphs, lists, code, bold and links. Everything else, markup
// included, is shown as text.
import { h } from "./dom.js";
import { linkElement, withoutPunctuation } from "./link.js";

const FENCE = /^\s*(```|~~~)/;
const BULLET = /^\s*[-*•]\s+/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+/;
const HEADING = /^#{1,6}\s+/;
// Backticks in equal numbers, as in CommonMark. A long row of them is looked at once.
const CODE = /(?<!`)(?<ticks>`+)(?!`)(?<code>.+?)(?<!`)\k<ticks>(?!`)/;
const BOLD = /\*\*(?=\S)(?<bold>.+?)\*\*/;
const LINK = /\[(?<label>[^[\]]+)\]\(\s*<?(?<address>(?:[^\s()<>]|\([^\s()<>]*\))+)>?(?:\s+"[^"]*")?\s*\)/;
const ENCLOSED = /<(?<enclosed>(?:https?:\/\/|mailto:)[^\s<>]+)>/;
const BARE = /(?<![\w"'=])(?<bare>https?:\/\/[^\s<>"`]+)/;
const INLINE = new RegExp([CODE, BOLD, LINK, ENCLOSED, BARE].map(({ source }) => source).join("|"), "gs");

/** Return the blocks of a text, each as `{ kind, source }`. */
export function blocksOf(text) {
  const blocks = [];
  let open = null;
  const add = (kind, line) => {
    if (open?.kind === kind) open.source += `\n${line}`;
    else blocks.push((open = { kind, source: line }));
  };
  let fence = null;
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      open.source += `\n${line}`;
      if (mark === fence) fence = open = null;
    } else if (mark) {
      fence = mark;
      blocks.push((open = { kind: "code", source: line }));
    } else if (!line.trim()) {
      open = null;
    } else {
      add(kindOf(line, open), line);
      if (HEADING.test(line)) open = null;
    }
  }
  return blocks;
}

function kindOf(line, open) {
  if (BULLET.test(line)) return "bullets";
  if (NUMBER.test(line)) return "numbers";
  if (HEADING.test(line)) return "heading";
  // An indented line after a list item continues the item.
  const continues = /^\s{2,}/.test(line) && (open?.kind === "bullets" || open?.kind === "numbers");
  return continues ? open.kind : "paragraph";
}

/** Show a text in an element; elements of blocks that have not changed stay. */
export function showText(element, text) {
  const blocks = blocksOf(text.replaceAll("\r\n", "\n"));
  const shown = element.blocks ?? [];
  let same = 0;
  while (same < blocks.length && isSame(blocks[same], shown[same])) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...blocks.slice(same).map(elementOf));
  element.blocks = blocks;
}

const isSame = (one, other) => one.kind === other?.kind && one.source === other.source;

function elementOf({ kind, source }) {
  switch (kind) {
    case "code":
      return h("pre", { tabindex: "0" }, h("code", {}, unfenced(source)));
    case "bullets":
      return h("ul", {}, itemsOf(source, BULLET));
    case "numbers":
      return h("ol", { start: NUMBER.exec(source)[1] }, itemsOf(source, NUMBER));
    case "heading":
      return h("p", { class: "heading" }, ...inline(source.replace(HEADING, "")));
    default:
      return h("p", {}, ...inline(source));
  }
}

function unfenced(source) {
  const lines = source.split("\n").slice(1);
  if (FENCE.test(lines.at(-1) ?? "")) lines.pop();
  return lines.join("\n");
}

function itemsOf(source, mark) {
  const items = [];
  for (const line of source.split("\n")) {
    if (mark.test(line) || !items.length) items.push(line.replace(mark, ""));
    else items[items.length - 1] += `\n${line.trim()}`;
  }
  return items.map((item) => h("li", {}, ...inline(item)));
}

function inline(text, hasLinks = true) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const { element, length = match[0].length } = inlineElement(match.groups, hasLinks);
    if (!element) continue;
    parts.push(text.slice(end, match.index), element);
    end = match.index + length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== "");
}

/** Return the element of a match, and how much of the match it stands for unless for all of it. */
function inlineElement({ code, bold, label, address, enclosed, bare }, hasLinks) {
  if (code) return { element: h("code", {}, code.trim()) };
  if (bold) return { element: h("strong", {}, ...inline(bold, hasLinks)) };
  if (!hasLinks) return {};
  if (label) return { element: linkElement(address, label, inline(label, false)) };
  if (enclosed) return { element: linkElement(enclosed, enclosed, enclosed) };
  const found = withoutPunctuation(bare);
  return { element: linkElement(found, found, found), length: found.length };
}
