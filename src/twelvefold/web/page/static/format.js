// Times, durations and numbers as text.

const HOUR = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const DOLLARS = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const SMALL_DOLLARS = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });
const COUNT = new Intl.NumberFormat();

const dateOf = (seconds) => new Date(seconds * 1000);

export const formatCount = (number) => COUNT.format(number);

/** Return a local date and time, and the same in UTC, as in logs. */
export function fullTime(seconds) {
  const date = dateOf(seconds);
  return `${FULL.format(date)} (${date.toISOString().slice(0, 19).replace("T", " ")} UTC)`;
}

/** Return the hour and minute for today, the day for an earlier date. */
export function shortTime(seconds) {
  const date = dateOf(seconds);
  const isToday = date.toDateString() === new Date().toDateString();
  return (isToday ? HOUR : DAY).format(date);
}

/** Return the hour and minute, with the day unless it is today. */
export function timeWithDay(seconds) {
  const date = dateOf(seconds);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? HOUR.format(date) : `${DAY.format(date)}, ${HOUR.format(date)}`;
}

/** Return the duration of a journal entry; entries of one transaction have the same time. */
export function formatTook(entry) {
  if (entry.took_ms === null || entry.took_ms === undefined) return "";
  return entry.took_ms === 0 ? "Same transaction" : formatDuration(entry.took_ms);
}

/** Return 0.4 ms, 28 ms, 1.2 s, 2 min 5 s, 3 h 20 min, 4 d 6 h. */
export function formatDuration(ms) {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** Return $1.20, $0.0042, or a dash if the cost is not known. */
export function formatCost(usd) {
  if (usd === null || usd === undefined) return "–";
  return (usd === 0 || usd >= 0.1 ? DOLLARS : SMALL_DOLLARS).format(usd);
}

/** Return 70 bytes, 12 kB, 1.3 MB. */
export function formatBytes(bytes) {
  if (bytes < 1000) return plural(bytes, "byte");
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${Number((bytes / 1_000_000).toFixed(1))} MB`;
}

export const plural = (number, one, many = `${one}s`) =>
  `${formatCount(number)} ${number === 1 ? one : many}`;
