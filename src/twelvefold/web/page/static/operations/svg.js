// SVG elements. Colours and lines come from the style sheet, by class.
import { escape } from "../escape.js";

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Return an element of SVG; a child that is no element becomes text. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map((child) => (child instanceof Node ? child : escape(String(child)))));
  return element;
}
