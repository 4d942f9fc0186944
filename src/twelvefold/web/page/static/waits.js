// What a call waits for, as text: a time, or an event.
import { timeWithDay } from "./format.js";

const SECOND_US = 1_000_000;

/** Return for example `until 14:05` or `for the event payment:123`, from an entry WaitStarted. */
export function waitClause({ event, until_us: untilUs }) {
  const time = untilUs ? timeWithDay(untilUs / SECOND_US) : "";
  if (!event) return `until ${time}`;
  return `for the event ${event}${time ? `, until ${time} at most` : ""}`;
}

/** The calls of a conversation, and of its sub-workflows, that wait for a time or an event. */
export class Waits {
  constructor() {
    this.byItem = new Map();
  }

  clear() {
    this.byItem.clear();
  }

  applyEntry(entry) {
    if (entry.type === "WaitStarted" && !entry.question) this.byItem.set(entry.item, entry);
    else if (entry.type !== "WaitStarted") this.byItem.delete(entry.item);
  }

  /** `Waiting until 14:05`; "" if nothing waits. */
  get text() {
    const clauses = [...this.byItem.values()].map(waitClause);
    return clauses.length ? `Waiting ${[...new Set(clauses)].join(" and ")}` : "";
  }
}
