// What a tool was given and what it returned, as people read it: names and values, rows as a table.
import { h } from "./dom.js";
import { plural } from "./format.js";

const MOST_ROWS = 50;
const MOST_COLUMNS = 12;
const BRIEF_CHARS = 60;

/** The value of a JSON text; the text itself where it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** JSON with line breaks, any other text as it is. */
export function pretty(text) {
  const value = parsed(text);
  return typeof value === "string" ? text : JSON.stringify(value, null, 2);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isRows = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);

/** Arguments in one line: `course_code: PY-101`; those that are null say nothing. */
export function brief(text) {
  const value = parsed(text);
  if (!isObject(value)) return String(text ?? "").slice(0, BRIEF_CHARS);
  return Object.entries(value)
    .filter(([, one]) => one !== null)
    .map(([name, one]) => `${name}: ${shortened(plain(one))}`)
    .join(", ");
}

const shortened = (text) => (text.length > BRIEF_CHARS ? `${text.slice(0, BRIEF_CHARS)}…` : text);

function plain(value) {
  if (value === null) return "–";
  return typeof value === "object" ? listed(value) : String(value);
}

function listed(value) {
  const flat = Array.isArray(value) && value.every((one) => typeof one !== "object");
  return flat ? value.join(", ") : JSON.stringify(value);
}

/** The value of a JSON text as elements; any other text as it is. */
export function shown(text) {
  const value = parsed(text);
  if (isRows(value)) return table(value);
  if (isObject(value) && Object.keys(value).length) return list(value);
  return h("pre", { class: "plain", tabindex: "0" }, text === "" ? "nothing" : pretty(text));
}

function list(value) {
  const rows = Object.entries(value).map(([name, one]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, isRows(one) ? table(one) : plain(one))),
  );
  return h("dl", { class: "values" }, rows);
}

function table(rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))].slice(0, MOST_COLUMNS);
  const head = columns.map((name) => h("th", { scope: "col" }, name));
  const body = rows.slice(0, MOST_ROWS).map((row) => h("tr", {}, columns.map((name) => cell(row[name]))));
  const more = rows.length - MOST_ROWS;
  return h(
    "div",
    { class: "rows", tabindex: "0", role: "group", "aria-label": plural(rows.length, "row") },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    more > 0 ? h("p", { class: "quiet" }, `and ${plural(more, "more row")}; the journal has all`) : null,
  );
}

function cell(value) {
  const number = typeof value === "number";
  return h("td", { class: number ? "number" : null }, value === undefined ? "" : plain(value));
}
