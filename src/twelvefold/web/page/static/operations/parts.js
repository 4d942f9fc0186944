// Small elements that several views use.
import { h } from "../dom.js";
import { formatCount, formatDuration, fullTime, timeWithDay } from "../format.js";

export const STATUS_LABELS = {
  queued: "Queued",
  running: "Running",
  waiting: "Waiting",
  completed: "Completed",
  incomplete: "Incomplete",
  failed: "Failed",
  cancelled: "Cancelled",
};
const ACTIVE = new Set(["queued", "running", "waiting"]);
const ID_CHARS = 12;

export const isActive = ({ status }) => ACTIVE.has(status);

/** Return a status as text with a dot. */
export const statusElement = (status) =>
  h("span", { class: "status", "data-status": status }, h("span", { class: "dot", "data-status": status }), STATUS_LABELS[status] ?? status);

/** Return a time in seconds since 1970; the complete time is its title. */
export function timeElement(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const attributes = { datetime: new Date(seconds * 1000).toISOString(), title: fullTime(seconds) };
  return h("time", attributes, timeWithDay(seconds));
}

/** Return how long ago a time was; `ageS` is its age by the server's clock, if that is known. */
export function agoElement(seconds, ageS = Date.now() / 1000 - seconds) {
  const attributes = { datetime: new Date(seconds * 1000).toISOString(), title: fullTime(seconds) };
  return h("time", attributes, `${formatDuration(Math.max(0, ageS) * 1000)} ago`);
}

/** Return the end of an id, which differs between ids that were made at about the same time. */
export const shortId = (id) => (id.length > ID_CHARS ? `…${id.slice(-ID_CHARS)}` : id);

export const runCode = (id) => h("code", { title: id }, shortId(id));
export const runLink = (id, text = shortId(id)) => h("a", { href: `#runs/${id}`, title: id }, h("code", {}, text));

/** Return the time from the start of a run to its end, or until now. */
export function runDuration(run) {
  const end = run.finished_at ?? (isActive(run) ? Date.now() / 1000 : run.updated_at);
  return formatDuration(Math.max(0, end - run.created_at) * 1000);
}

export const tokensOf = ({ usage }) => usage.input_tokens + usage.output_tokens;
export const tokensText = ({ usage }) => `${formatCount(usage.input_tokens)} in, ${formatCount(usage.output_tokens)} out`;

/** Return names and values; pairs whose value is null or "" are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
