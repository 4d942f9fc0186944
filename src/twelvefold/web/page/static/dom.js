// Elements without markup: whatever is given as a child and is no element becomes text, in which
// what cannot be seen is shown as an escape.
import { escape, proseSegments, segments } from "./escape.js";

/** Attributes that a person reads. */
const READ = new Set(["title", "aria-label", "placeholder"]);

/** An element; attributes that are null, undefined or false are left out, `on…` is listened to. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : READ.has(name) ? escape(value) : value);
  }
  element.append(...children.flat().flatMap(nodesOf));
  return element;
}

/** Put text or elements into an element, in place of what it has. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat().flatMap(nodesOf));
}

function nodesOf(child) {
  if (child === null || child === undefined) return [];
  return child instanceof Node ? [child] : shownAs(proseSegments(String(child)));
}

/** A value of others within a sentence, whose direction ends with it. */
export const quoted = (text) => h("bdi", {}, text);

/** Text that a person judges: on one line, and not even a line break is left unseen. */
export const exact = (text) => shownAs(segments(text));

/** The same with its line breaks, each behind the escape that says so. */
export const exactLines = (text) =>
  text.split("\n").flatMap((line, at) => (at ? [...exact("\n"), "\n", ...exact(line)] : exact(line)));

/** The same for a text whose line breaks are the page's own, as those of indented JSON are. */
export const indented = (text) => text.split("\n").flatMap((line, at) => (at ? ["\n", ...exact(line)] : exact(line)));

const shownAs = (parts) =>
  parts.map(({ text, escaped }) => {
    if (!escaped) return document.createTextNode(text);
    const element = document.createElement("span");
    element.className = "escape";
    element.textContent = text;
    return element;
  });

/** Words for a screen reader alone. */
export const aside = (text) => h("span", { class: "unseen" }, text);

export const byId = (id) => document.getElementById(id);
