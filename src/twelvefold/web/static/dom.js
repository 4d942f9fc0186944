// Elements without markup: whatever is given as a child and is no element becomes text.

/** An element; attributes that are null, undefined or false are left out, `on…` is listened to. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Words for a screen reader alone. */
export const aside = (text) => h("span", { class: "unseen" }, text);

export const byId = (id) => document.getElementById(id);
