// Creates elements without parsing markup: a child that is not an element becomes text, with
// invisible characters as escapes.
import { escape, proseSegments, segments } from "./escape.js";

/** Attributes that are shown to the user. */
const VISIBLE_ATTRIBUTES = new Set(["title", "aria-label", "placeholder"]);

/** Return an element. Null, undefined and false attributes are left out; `on…` adds a listener. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : VISIBLE_ATTRIBUTES.has(name) ? escape(value) : value);
  }
  element.append(...children.flat().flatMap(nodesOf));
  return element;
}

/** Replace the children of an element. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat().flatMap(nodesOf));
}

function nodesOf(child) {
  if (child === null || child === undefined) return [];
  return child instanceof Node ? [child] : textNodes(proseSegments(String(child)));
}

/** Return a foreign text within a sentence; its text direction does not affect the sentence. */
export const quoted = (text) => h("bdi", {}, text);

/** Return a text on one line with every invisible character, line breaks too, as an escape. */
export const exact = (text) => textNodes(segments(text));

/** Return the same on several lines, with the escape of each line break before it. */
export const exactLines = (text) =>
  text.split("\n").flatMap((line, at) => (at ? [...exact("\n"), "\n", ...exact(line)] : exact(line)));

/** Return the same for a text whose line breaks the page inserted, such as indented JSON. */
export const indented = (text) => text.split("\n").flatMap((line, at) => (at ? ["\n", ...exact(line)] : exact(line)));

const textNodes = (parts) =>
  parts.map(({ text, escaped }) => {
    if (!escaped) return document.createTextNode(text);
    const element = document.createElement("span");
    element.className = "escape";
    element.textContent = text;
    return element;
  });

/** Return text for screen readers only. */
export const visuallyHidden = (text) => h("span", { class: "visually-hidden" }, text);

export const byId = (id) => document.getElementById(id);
