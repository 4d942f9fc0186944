// What a tool was given and what it returned, as people read it: names and values, rows as a table.
import { exact, exactLines, h } from "./dom.js";
import { plural } from "./format.js";
import { format, parse } from "./json.js";

const MOST_ROWS = 50;
const BRIEF_CHARS = 60;
const UNCLEAR_NAME = /^$|^ | $|^"/;
/** A string that would look like another value, or whose ends cannot be seen. */
const UNCLEAR = /^$|^ | $|^(?:true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$|^["[{]/s;

const isObject = (value) => value?.kind === "object" && value.members.size > 0;
const isRows = (value) => value?.kind === "array" && value.items.length > 0 && value.items.every(isObject);

/** JSON with line breaks, any other text as it is. */
export function pretty(text) {
  const value = parse(text);
  return value === null || value.kind === "string" ? text : format(value, 2);
}

/** Arguments in one line: `course_code: PY-101`; those that are null say nothing. */
export function brief(text) {
  const value = parse(text);
  if (value?.kind !== "object") return String(text ?? "").slice(0, BRIEF_CHARS);
  return [...value.members]
    .filter(([, one]) => one.text !== "null")
    .map(([name, one]) => `${name}: ${shortened(plain(one))}`)
    .join(", ");
}

const shortened = (text) => (text.length > BRIEF_CHARS ? `${text.slice(0, BRIEF_CHARS)}…` : text);

function plain(value) {
  if (value.kind === "string") return value.value;
  if (value.text === "null") return "–";
  const flat = value.kind === "array" && value.items.every((one) => !one.items && !one.members);
  return flat ? value.items.map(plain).join(", ") : format(value);
}

/** The value of a JSON text as elements; any other text as it is. */
export function shown(text) {
  const value = parse(text);
  if (isRows(value)) return table(value.items);
  if (isObject(value)) return list(value);
  return h("pre", { class: "plain", tabindex: "0" }, text === "" ? "nothing" : pretty(text));
}

function list(value) {
  const rows = [...value.members].map(([name, one]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, isRows(one) ? table(one.items) : plain(one))),
  );
  return h("dl", { class: "values" }, rows);
}

function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => [...row.members.keys()]))];
  const head = columns.map((name) => h("th", { scope: "col" }, name));
  const body = rows
    .slice(0, MOST_ROWS)
    .map((row) => h("tr", {}, columns.map((name) => cell(row.members.get(name)))));
  const more = rows.length - MOST_ROWS;
  return h(
    "div",
    { class: "rows", tabindex: "0", role: "group", "aria-label": plural(rows.length, "row") },
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    more > 0 ? h("p", { class: "quiet" }, `and ${plural(more, "more row")}; the journal has all`) : null,
  );
}

function cell(value) {
  const number = /^-?\d/.test(value?.text ?? "");
  return h("td", { class: number ? "number" : null }, value === undefined ? "" : plain(value));
}

/** The value of a JSON text for a person who judges it: all of it, and nothing left unseen. */
export function judged(text) {
  const value = parse(text);
  if (value === null) return h("pre", { class: "plain", tabindex: "0" }, exactLines(text));
  return h("div", { class: "judged", tabindex: "0", role: "group", "aria-label": "Arguments" }, whole(value));
}

function whole(value) {
  if (isObject(value)) {
    const row = ([name, one]) => h("div", {}, h("dt", {}, exact(inQuotes(name, UNCLEAR_NAME))), h("dd", {}, whole(one)));
    return h("dl", { class: "values" }, [...value.members].map(row));
  }
  if (value.kind === "array" && value.items.length) {
    return h("ol", {}, value.items.map((one) => h("li", {}, whole(one))));
  }
  if (value.kind !== "string") return h("code", {}, format(value));
  return h("bdi", { class: "string" }, exactLines(inQuotes(value.value, UNCLEAR)));
}

const inQuotes = (text, unclear) => (unclear.test(text) ? JSON.stringify(text) : text);
