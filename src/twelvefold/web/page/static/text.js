// A model's text as elements: paragraphs, lists, code and bold. Everything else, markup included,
// is shown as text.
import { h } from "./dom.js";

const FENCE = /^\s*(```|~~~)/;
const BULLET = /^\s*[-*•]\s+/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+/;
const HEADING = /^#{1,6}\s+/;
const INLINE = /(`+)(.+?)\1|\*\*(?=\S)(.+?)\*\*/gs;

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

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index));
    parts.push(match[1] ? h("code", {}, match[2].trim()) : h("strong", {}, ...inline(match[3])));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== "");
}
