// The runs that the runs of a conversation have started: their journals are read until they are over.
import * as api from "./api.js";
import { h, put } from "./dom.js";

const FIRST_READ_MS = 300;
const LONGEST_PAUSE_MS = 10_000;
const THREAD_ID_CHARS = 44;
const OVER = new Set(["completed", "failed", "cancelled", "incomplete", "deleted"]);
const LABELS = { cancelled: "stopped", asks: "waits for you", waiting: "waiting" };

/** Return the conversation of a run, `resp_<thread><number>`. */
const conversationOf = (run) => `conv_${run.slice(5, 5 + THREAD_ID_CHARS)}`;

/** A run that another one has started. `item` is the call of the conversation that it belongs to. */
class Child {
  constructor(run, item, root) {
    this.id = conversationOf(run);
    this.item = item;
    this.position = 0;
    this.name = "";
    this.status = "queued";
    this.pending = new Map();
    this.link = h("a", { href: `#${root}/${this.id}` }, "Sub-workflow");
    this.label = h("span", { class: "muted" });
    this.tree = h("ul", {});
    this.node = h("li", { "data-status": this.status }, this.link, " ", this.label);
  }

  get isOver() {
    return OVER.has(this.status);
  }

  applyEntry(entry) {
    this.position = entry.position;
    switch (entry.type) {
      case "RunStarted":
        this.name = entry.model;
        this.status = "running";
        break;
      case "RunFinished":
        this.status = entry.status;
        break;
      case "ApprovalAsked":
        this.pending.set(entry.item, "asks");
        break;
      case "WaitStarted":
        this.pending.set(entry.item, entry.question ? "asks" : "waiting");
        break;
      default:
        this.pending.delete(entry.item);
    }
    this.render();
  }

  render() {
    const pending = this.isOver ? [] : [...this.pending.values()];
    const status = pending.includes("asks") ? "asks" : (pending[0] ?? this.status);
    this.node.dataset.status = status;
    put(this.link, this.name || "Sub-workflow");
    put(this.label, LABELS[status] ?? status);
  }
}

export class Family {
  /** `onEntries(entries, child)` gets the new entries of a child. */
  constructor({ onEntries }) {
    this.onEntries = onEntries;
    this.clear(null);
  }

  /** Begin with the runs of another conversation. */
  clear(root) {
    this.root = root;
    this.children = new Map();
    this.reading?.abort();
    this.reading = null;
    clearTimeout(this.timer);
    this.timer = 0;
    this.pauseMs = FIRST_READ_MS;
  }

  name(id) {
    return this.children.get(id)?.name ?? "";
  }

  /** Add the runs of an entry ChildrenStarted; return their elements. */
  add({ runs, item }) {
    const added = runs.map((run) => {
      const child = this.children.get(conversationOf(run)) ?? new Child(run, item, this.root);
      this.children.set(child.id, child);
      child.render();
      return child.node;
    });
    this.pauseMs = FIRST_READ_MS;
    this.schedule();
    return added;
  }

  schedule() {
    if (this.timer || ![...this.children.values()].some((child) => !child.isOver)) return;
    this.timer = setTimeout(async () => {
      this.reading = new AbortController();
      await this.readAll(this.reading.signal);
    }, this.pauseMs);
    this.pauseMs = Math.min(this.pauseMs * 1.5, LONGEST_PAUSE_MS);
  }

  /** Read the journals of all children that are not over. */
  async readAll(signal) {
    for (const child of [...this.children.values()]) {
      if (child.isOver) continue;
      await this.read(child, signal).catch((error) => {
        // A lost connection is reported by the conversation's own stream.
        if (error.status === 404) child.status = "deleted";
      });
      if (signal.aborted) return;
    }
    this.timer = 0;
    this.schedule();
  }

  async read(child, signal) {
    const entries = await api.journal(child.id, child.position, signal);
    if (signal.aborted || !entries.length) return;
    this.pauseMs = FIRST_READ_MS;
    for (const entry of entries) {
      child.applyEntry(entry);
      if (entry.type === "ChildrenStarted") this.addBelow(child, entry);
    }
    this.onEntries(entries, child);
  }

  addBelow(child, { runs }) {
    child.node.append(child.tree);
    child.tree.append(...this.add({ runs, item: child.item }));
  }

  /** Read again soon, for example after an answer. */
  refresh() {
    this.pauseMs = FIRST_READ_MS;
    clearTimeout(this.timer);
    this.timer = 0;
    this.schedule();
  }
}
