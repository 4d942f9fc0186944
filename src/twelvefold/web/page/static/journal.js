// The journal beside the conversation: every step as it was written, with what it took.
import * as api from "./api.js";
import { h, indented } from "./dom.js";
import { count, duration, plural, took, wholeTime, whenShort } from "./format.js";
import { textOf } from "./message.js";
import { pretty } from "./value.js";

const PAUSE_MS = 120;
const EFFECTS = {
  transactional: "written with this entry",
  readonly: "read only",
  idempotent: "outside, repeatable",
  unsafe: "outside, not repeatable",
};

export class Journal {
  /** `fork(position)` is called by a step's button, `onEntries` with what has come. */
  constructor({ list, totals, empty }, { fork, onEntries }) {
    this.list = list;
    this.totals = totals;
    this.empty = empty;
    this.fork = fork;
    this.onEntries = onEntries;
    this.show(null);
  }

  /** Show the journal of a conversation, null for none. */
  show(id) {
    if (id !== null && id === this.id) return this.look();
    this.id = id;
    this.position = 0;
    this.steps = 0;
    this.tokens = 0;
    this.tookMs = 0;
    this.looking?.abort();
    this.looking = null;
    this.list.replaceChildren();
    this.sum();
    return id ? this.look() : null;
  }

  /** Read what is new, soon; once for many calls that come together. */
  look() {
    if (this.timer) return;
    this.timer = setTimeout(async () => {
      this.timer = 0;
      await this.read();
    }, PAUSE_MS);
  }

  async read() {
    if (!this.id) return;
    if (this.looking) {
      this.again = true;
      return;
    }
    const looking = (this.looking = new AbortController());
    try {
      const entries = await api.journal(this.id, this.position, looking.signal);
      if (!looking.signal.aborted) this.add(entries);
    } catch {
      // The conversation's own stream tells about a lost connection; the next look gets it all.
    }
    if (this.looking !== looking) return;
    this.looking = null;
    if (this.again) {
      this.again = false;
      this.look();
    }
  }

  add(entries) {
    const atEnd = this.isAtEnd();
    for (const entry of entries) {
      if (entry.position <= this.position) continue;
      this.position = entry.position;
      this.steps += 1;
      this.tokens += entry.usage?.total_tokens ?? 0;
      if (entry.type !== "ApprovalAnswered") this.tookMs += entry.took_ms ?? 0;
      if (entry.type === "RunStarted") this.list.append(turn(entry));
      this.list.append(this.entry(entry));
    }
    this.sum();
    if (atEnd) this.list.parentElement.scrollTop = this.list.parentElement.scrollHeight;
    this.onEntries(entries);
  }

  isAtEnd() {
    const scroller = this.list.parentElement;
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 64;
  }

  sum() {
    this.empty.hidden = this.steps > 0;
    const parts = [plural(this.steps, "step"), plural(this.tokens, "token"), duration(this.tookMs)];
    this.totals.textContent = this.steps ? parts.join(" · ") : "";
  }

  entry(entry) {
    const { title, note, details } = told(entry);
    const name = `step ${entry.position}`;
    const line = [
      h("span", { class: "position" }, String(entry.position)),
      h("span", { class: "title" }, title),
      h("span", { class: "took" }, took(entry)),
    ];
    const fork = h(
      "button",
      {
        type: "button",
        class: "fork",
        title: "A new conversation that goes on from here",
        onclick: () => this.fork(entry.position),
      },
      "Fork",
      h("span", { class: "unseen" }, ` from ${name}`),
    );
    const under = [
      h("span", {}, note),
      entry.inherited ? h("span", { class: "inherited" }, "inherited") : null,
    ];
    return h(
      "li",
      { class: "entry", "data-type": entry.type, "data-failure": entry.failure },
      details.length
        ? h("details", {}, h("summary", {}, ...line), details, h("p", { class: "at" }, wholeTime(entry.at)))
        : h("div", { class: "bare" }, ...line),
      h("div", { class: "under" }, ...under, fork),
    );
  }
}

function turn(entry) {
  return h("li", { class: "turn" }, h("h3", {}, `Turn ${entry.run}`), h("time", {}, whenShort(entry.at)));
}

const block = (name, text) => [h("h4", {}, name), h("pre", { tabindex: "0" }, text)];
const tool = (entry) => h("code", {}, entry.tool);
const given = (entry) => block("Arguments", indented(pretty(entry.arguments ?? "")));
const result = (entry) => block("Result", pretty(entry.result ?? ""));
const step = (title, note, ...details) => ({ title, note: note ?? "", details: details.flat() });

/** An entry in words: its title, a note under it, and what can be opened. */
function told(entry) {
  switch (entry.type) {
    case "RunStarted":
      return step("Asked", [entry.model, entry.release].filter(Boolean).join(" · "), items(entry));
    case "ItemsAdded":
      return step("Items added", "outside any turn", items(entry));
    case "ItemRemoved":
      return step("Item removed", entry.item);
    case "ModelReplied":
      return replied(entry);
    case "ToolSucceeded":
      return step(tool(entry), EFFECTS[entry.effect], given(entry), result(entry));
    case "ToolFailed":
      return step(tool(entry), failure(entry.failure), given(entry), result(entry), raised(entry.error));
    case "ApprovalAsked":
      return step(["Approval asked: ", tool(entry)], "waits for a person", given(entry));
    case "ApprovalAnswered":
      return step(entry.approved ? "Allowed" : "Refused", `by ${entry.by}`, reason(entry));
    case "OutcomeUnknown":
      return step(["Outcome unknown: ", tool(entry)], "the process ended in mid-call", given(entry));
    case "OutcomeSettled":
      return step(`Settled: ${entry.settled}`, `by ${entry.by}`, entry.result ? result(entry) : []);
    case "RunFinished":
      return step(`Turn ${entry.status}`, entry.reason, entry.error ? block("Error", entry.error) : []);
    default:
      return step(entry.type, "", block("Entry", JSON.stringify(entry, null, 2)));
  }
}

const reason = (entry) => (entry.reason ? block("Reason", entry.reason) : []);
const failure = (why) => (why === "refused" ? "refused, and left nothing behind" : `failed: ${why}`);

function raised(error) {
  if (!error) return [];
  const place = error.file ? `\n${error.file}, line ${error.line}` : "";
  return block("Exception", `${error.type}: ${error.message}${place}`);
}

function items(entry) {
  const said = (item) => (item.content ? textOf(item.content) : JSON.stringify(item, null, 2));
  return block("Input", (entry.items ?? []).map(said).join("\n"));
}

function replied(entry) {
  const { usage = {}, calls = [], text = "" } = entry;
  const cached = usage.cached_tokens ? ` (${count(usage.cached_tokens)} cached)` : "";
  const names = calls.map((call) => call.tool).join(", ");
  const tokens = `${count(usage.input_tokens ?? 0)}${cached} → ${plural(usage.output_tokens ?? 0, "token")}`;
  return step(
    names ? ["Model called ", h("code", {}, names)] : "Model answered",
    `${entry.model} · ${tokens}`,
    text ? block("Text", text) : [],
    calls.map((call) => block(call.tool, indented(pretty(call.arguments)))).flat(),
  );
}
