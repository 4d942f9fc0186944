// The timeline of a run as a waterfall: a table with a bar for each step.
import { exact, h, visuallyHidden } from "../dom.js";
import { formatCount, formatDuration } from "../format.js";
import { Scale } from "./scale.js";
import { svg } from "./svg.js";

const KINDS = { model: "Model", tool: "Tool", wait: "Wait", queue: "Queue" };
/** How a step ends as usual, or that it has not. */
const USUAL = new Set(["completed", "ended", "open", "waiting"]);
const TICKS = [0, 0.25, 0.5, 0.75];
const BAR = { y: 4, height: 12 };
const SVG_HEIGHT = 20;

/** Return the waterfall of the spans of a run; one without an end goes on until `now`. */
export function timeline(entries, now) {
  const spans = entries.map((entry) => ({ ...entry, from: entry.started_at, to: Math.max(entry.ended_at ?? now, entry.started_at) }));
  if (!spans.length) return h("p", { class: "muted" }, "No step has run.");
  const scale = new Scale(spans);
  const start = Math.min(...spans.map(({ from }) => from));
  return h(
    "div",
    {},
    h("table", { class: "waterfall", role: "table" }, caption(), head(scale, start), body(spans, scale, start)),
    legend(spans, scale),
  );
}

const caption = () => h("caption", { class: "visually-hidden" }, "Timeline: each step with its start, duration and tokens");

function head(scale, start) {
  const elapsed = (place) => (scale.isShortenedAt(place) ? "" : formatDuration((scale.timeAt(place) - start) * 1000));
  const ticks = TICKS.map((place) => h("span", { class: "tick" }, elapsed(place)));
  const axis = h("th", { role: "columnheader", class: "axis", scope: "col" }, visuallyHidden("Start"), h("div", { class: "ticks", "aria-hidden": "true" }, ticks));
  const column = (label, attributes) => h("th", { role: "columnheader", scope: "col", ...attributes }, label);
  return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, column("Step"), axis, column("Duration", { class: "number" }), column("Tokens", { class: "number" })));
}

function body(spans, scale, start) {
  return h("tbody", { role: "rowgroup" }, spans.map((span) => row(span, scale, start)));
}

function row(span, scale, start) {
  const duration = formatDuration((span.to - span.from) * 1000);
  const isOpen = span.ended_at === null;
  return h(
    "tr",
    { role: "row", "data-kind": span.kind, "data-failed": isFailed(span) },
    h("th", { role: "rowheader", scope: "row" }, nameOf(span), noteOf(span)),
    h("td", { role: "cell", class: "track" }, visuallyHidden(`after ${formatDuration((span.from - start) * 1000)}`), bar(span, scale)),
    h("td", { role: "cell", class: "number" }, isOpen ? `${duration} so far` : duration),
    h("td", { role: "cell", class: "number" }, tokensOf(span)),
  );
}

const isFailed = ({ kind, status }) => (kind === "tool" || kind === "model") && !USUAL.has(status);

function nameOf({ kind, name }) {
  const label = KINDS[kind] ?? kind;
  if (!name || name === kind) return label;
  return [h("span", { class: "kind" }, label), " ", h("code", {}, exact(name))];
}

/** Return what the bar does not show: how a step ended unless as usual, and repeated attempts. */
function noteOf({ status, attempts }) {
  const notes = [USUAL.has(status) ? "" : status, attempts > 1 ? `${attempts} attempts` : ""].filter(Boolean);
  return notes.length ? h("span", { class: "note" }, notes.join(", ")) : null;
}

function tokensOf({ input_tokens: input, output_tokens: output }) {
  return input || output ? `${formatCount(input)} → ${formatCount(output)}` : "";
}

const percent = (share) => `${(share * 100).toFixed(3)}%`;

function bar(span, scale) {
  const from = scale.at(span.from);
  const pauses = scale.shortened.map((piece) => {
    const at = scale.at(piece.from);
    return svg("rect", { class: "pause", x: percent(at), width: percent(scale.at(piece.to) - at), y: 0, height: SVG_HEIGHT });
  });
  const lines = TICKS.slice(1).map((place) => svg("line", { x1: percent(place), x2: percent(place), y1: 0, y2: SVG_HEIGHT }));
  // A step that took no time is visible, too: the stroke has a width of its own.
  const rect = svg("rect", { class: "bar", x: percent(from), width: percent(scale.at(span.to) - from), rx: 2, ...BAR });
  return svg("svg", { width: "100%", height: SVG_HEIGHT, "aria-hidden": "true", focusable: "false" }, ...pauses, ...lines, rect);
}

function legend(spans, scale) {
  const kinds = Object.keys(KINDS).filter((kind) => spans.some((span) => span.kind === kind));
  const items = kinds.map((kind) => h("li", { "data-kind": kind }, h("span", { class: "swatch" }), KINDS[kind]));
  const pause = scale.shortened.length ? h("li", { "data-kind": "pause" }, h("span", { class: "swatch" }), "Shortened pause") : null;
  return h("ul", { class: "legend", "aria-label": "Colours" }, items, pause);
}
