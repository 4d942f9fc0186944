// Times, numbers and sizes as people read them.

const HOUR = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const COUNT = new Intl.NumberFormat();

const at = (seconds) => new Date(seconds * 1000);

export const count = (number) => COUNT.format(number);
export const wholeTime = (seconds) => WHOLE.format(at(seconds));

/** The hour of something of today, the day of anything older. */
export function whenShort(seconds) {
  const then = at(seconds);
  const today = then.toDateString() === new Date().toDateString();
  return (today ? HOUR : DAY).format(then);
}

/** How long a step took, in words; what was written in one transaction has one time. */
export function took(entry) {
  if (entry.took_ms === null || entry.took_ms === undefined) return "";
  return entry.took_ms === 0 ? "same commit" : duration(entry.took_ms);
}

/** 0.4 ms, 28 ms, 1.2 s, 2 min 5 s. */
export function duration(ms) {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;
