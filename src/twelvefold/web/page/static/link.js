// Links in a model's text. A link opens a new tab and shows its destination.
import { h } from "./dom.js";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const PUNCTUATION = "?!.,:;*_~'\"";

/**
 * Return a link with these contents, of which `text` is the source; null if it is not safe to open:
 * it is relative, has another scheme, or has a user name, which may look like a host.
 */
export function linkElement(address, text, contents) {
  const url = parse(address);
  if (!url) return null;
  const link = h("a", { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer" }, contents);
  const destination = url.protocol === "mailto:" ? url.pathname : url.host;
  const isShown = [address, destination, url.href].includes(text.trim());
  return isShown ? link : h("span", {}, link, " ", h("bdi", { class: "muted" }, `(${destination})`));
}

function parse(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  return SCHEMES.has(url.protocol) && !url.username && !url.password ? url : null;
}

/** Return an address in a text without the punctuation of the sentence that follows it. */
export function withoutPunctuation(address) {
  let unopened = address.split(")").length - address.split("(").length;
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (last === ")" && unopened > 0) unopened -= 1;
    else if (!PUNCTUATION.includes(last)) break;
  }
  return address.slice(0, end);
}
