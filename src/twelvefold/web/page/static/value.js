// Arguments and results of tools as elements: names and values, and rows as a table.
import { exact, exactLines, h } from "./dom.js";
import { jsonEscaped } from "./escape.js";
import { plural } from "./format.js";
import { format, parse } from "./json.js";

const MAX_ROWS = 50;
const SUMMARY_CHARS = 60;
/** A name that would be invisible or would look quoted. */
const AMBIGUOUS_NAME = /^$|^ | $|^"/;
/** A string that would look like another type, or that has invisible spaces at its ends. */
const AMBIGUOUS = /^$|^ | $|^(?:true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$|^["[{]/s;

const isObject = (value) => value?.kind === "object" && value.members.size > 0;
const isRows = (value) => value?.kind === "array" && value.items.length > 0 && value.items.every(isObject);

/** Return JSON with line breaks, and any other text unchanged. */
export function prettyJson(text) {
  const value = parse(text);
  return value === null || value.kind === "string" ? text : format(value, 2);
}

/** Return JSON to edit: with line breaks, and with invisible characters as escapes of JSON. */
export const jsonText = (text) => prettyJson(text).split("\n").map(jsonEscaped).join("\n");

/** Return arguments on one line, such as `course_code: PY-101`; null values are left out. */
export function summarize(text) {
  const value = parse(text);
  if (value?.kind !== "object") return String(text ?? "").slice(0, SUMMARY_CHARS);
  return [...value.members]
    .filter(([, one]) => one.text !== "null")
    .map(([name, one]) => `${name}: ${abbreviate(plainText(one))}`)
    .join(", ");
}

const abbreviate = (text) => (text.length > SUMMARY_CHARS ? `${text.slice(0, SUMMARY_CHARS)}…` : text);

function plainText(value) {
  if (value.kind === "string") return value.value;
  if (value.text === "null") return "–";
  const flat = value.kind === "array" && value.items.every((one) => !one.items && !one.members);
  return flat ? value.items.map(plainText).join(", ") : format(value);
}

/** Return the value of a JSON text as elements, and any other text unchanged. */
export function resultValue(text) {
  const value = parse(text);
  if (isRows(value)) return table(value.items);
  if (isObject(value)) return list(value);
  return h("pre", { class: "plain", tabindex: "0" }, text === "" ? "(empty)" : prettyJson(text));
}

/** Return a typed output, which is a JSON object, as elements; null for any other text. */
export function structuredValue(text) {
  const value = text.trimStart().startsWith("{") ? parse(text) : null;
  return isObject(value) ? list(value) : null;
}

function list(value) {
  const rows = [...value.members].map(([name, one]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, isRows(one) ? table(one.items) : plainText(one))),
  );
  return h("dl", { class: "values" }, rows);
}

function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => [...row.members.keys()]))];
  const head = columns.map((name) => h("th", { scope: "col" }, name));
  const body = rows
    .slice(0, MAX_ROWS)
    .map((row) => h("tr", {}, columns.map((name) => cell(row.members.get(name)))));
  const more = rows.length - MAX_ROWS;
  return h(
    "div",
    { class: "rows", tabindex: "0", role: "group", "aria-label": plural(rows.length, "row") },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    more > 0 ? h("p", { class: "muted" }, `and ${plural(more, "more row")}; the journal has all rows`) : null,
  );
}

function cell(value) {
  const number = /^-?\d/.test(value?.text ?? "");
  return h("td", { class: number ? "number" : null }, value === undefined ? "" : plainText(value));
}

/** Return the complete value of a JSON text for an approval, with invisible characters as escapes. */
export function exactValue(text) {
  const value = parse(text);
  if (value === null) return h("pre", { class: "plain", tabindex: "0" }, exactLines(text));
  return h("div", { class: "exact-value", tabindex: "0", role: "group", "aria-label": "Arguments" }, completeValue(value));
}

function completeValue(value) {
  if (isObject(value)) {
    const row = ([name, one]) => h("div", {}, h("dt", {}, exact(quoteIfAmbiguous(name, AMBIGUOUS_NAME))), h("dd", {}, completeValue(one)));
    return h("dl", { class: "values" }, [...value.members].map(row));
  }
  if (value.kind === "array" && value.items.length) {
    return h("ol", {}, value.items.map((one) => h("li", {}, completeValue(one))));
  }
  if (value.kind !== "string") return h("code", {}, format(value));
  return h("bdi", { class: "string" }, exactLines(quoteIfAmbiguous(value.value, AMBIGUOUS)));
}

const quoteIfAmbiguous = (text, pattern) => (pattern.test(text) ? JSON.stringify(text) : text);
