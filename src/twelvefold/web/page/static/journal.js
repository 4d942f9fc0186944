// The journal panel: every entry of the conversation, with tokens and duration.
import * as api from "./api.js";
import { exact, h, indented } from "./dom.js";
import { formatCount, formatDuration, formatTook, fullTime, plural, shortTime, timeWithDay } from "./format.js";
import { textOf } from "./message.js";
import { prettyJson, summarize } from "./value.js";
import { waitClause } from "./waits.js";

const READ_DELAY_MS = 120;
/** Tools that the line of a reply names. */
const MAX_NAMES = 5;
const EFFECTS = {
  transactional: "written",
  readonly: "read only",
  idempotent: "external, repeatable",
  unsafe: "external, not repeatable",
};

export class Journal {
  /**
   * The button of an entry calls `fork(position)`, if given; `onEntries` gets new entries.
   * `readEntries(id, position, signal)` returns the entries after a position.
   */
  constructor({ list, totals, empty }, { fork, onEntries, readEntries = api.journal }) {
    this.list = list;
    this.totals = totals;
    this.empty = empty;
    this.fork = fork;
    this.onEntries = onEntries;
    this.readEntries = readEntries;
    this.show(null);
  }

  /** Show the journal of a conversation; null clears the panel. */
  show(id) {
    if (id !== null && id === this.id) return this.scheduleRead();
    this.id = id;
    this.position = 0;
    this.steps = 0;
    this.tokens = 0;
    this.tookMs = 0;
    this.reading?.abort();
    this.reading = null;
    this.list.replaceChildren();
    this.showTotals();
    return id ? this.scheduleRead() : null;
  }

  /** Read new entries after a short delay, once for all calls in that time. */
  scheduleRead() {
    if (this.timer) return;
    this.timer = setTimeout(async () => {
      this.timer = 0;
      await this.read();
    }, READ_DELAY_MS);
  }

  async read() {
    if (!this.id) return;
    if (this.reading) {
      this.isStale = true;
      return;
    }
    const reading = (this.reading = new AbortController());
    try {
      const entries = await this.readEntries(this.id, this.position, reading.signal);
      if (!reading.signal.aborted) this.add(entries);
    } catch {
      // The conversation's stream reports a lost connection; the next read gets these entries.
    }
    if (this.reading !== reading) return;
    this.reading = null;
    if (this.isStale) {
      this.isStale = false;
      this.scheduleRead();
    }
  }

  add(entries) {
    const atEnd = this.isAtEnd();
    for (const entry of entries) {
      if (entry.position <= this.position) continue;
      this.position = entry.position;
      this.steps += 1;
      this.tokens += tokensOf(entry);
      if (entry.type !== "ApprovalAnswered") this.tookMs += entry.took_ms ?? 0;
      if (entry.type === "RunStarted") this.list.append(turnHeading(entry));
      this.list.append(this.entryElement(entry));
    }
    this.showTotals();
    if (atEnd) this.list.parentElement.scrollTop = this.list.parentElement.scrollHeight;
    this.onEntries(entries);
  }

  isAtEnd() {
    const scroller = this.list.parentElement;
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 64;
  }

  showTotals() {
    this.empty.hidden = this.steps > 0;
    const parts = [plural(this.steps, "step"), plural(this.tokens, "token"), formatDuration(this.tookMs)];
    this.totals.textContent = this.steps ? parts.join(" · ") : "";
  }

  entryElement(entry) {
    const { title, note, details } = describe(entry);
    const name = `step ${entry.position}`;
    const line = [
      h("span", { class: "position" }, String(entry.position)),
      h("span", { class: "title" }, title),
      h("span", { class: "took" }, formatTook(entry)),
    ];
    const fork = h(
      "button",
      {
        type: "button",
        class: "fork",
        title: "Start a new conversation that continues from this step",
        onclick: () => this.fork(entry.position),
      },
      "Fork",
      h("span", { class: "visually-hidden" }, ` from ${name}`),
    );
    if (!this.fork) fork.hidden = true;
    const meta = [
      h("span", {}, note),
      entry.inherited ? h("span", { class: "inherited" }, "inherited") : null,
    ];
    return h(
      "li",
      { class: "entry", "data-type": entry.type, "data-failure": entry.failure },
      details.length
        ? h("details", {}, h("summary", {}, ...line), details, h("p", { class: "time" }, fullTime(entry.at)))
        : h("div", { class: "bare" }, ...line),
      h("div", { class: "meta" }, ...meta, fork),
    );
  }
}

function turnHeading(entry) {
  return h("li", { class: "turn" }, h("h3", {}, `Turn ${entry.run}`), h("time", {}, shortTime(entry.at)));
}

const block = (name, text) => [h("h4", {}, name), h("pre", { tabindex: "0" }, text)];
const tool = (entry) => h("code", {}, entry.tool);
const argumentsOf = (entry) => block("Arguments", indented(prettyJson(entry.arguments ?? "")));
const resultOf = (entry) => block("Result", prettyJson(entry.result ?? ""));
const step = (title, note, ...details) => ({ title, note: note ?? "", details: details.flat() });

/** Return an entry's title, the note below it, and its details, which open on click. */
function describe(entry) {
  switch (entry.type) {
    case "RunStarted":
      return step("User message", [entry.model, entry.release].filter(Boolean).join(" · "), itemsOf(entry));
    case "ItemsAdded":
      return step("Items added", "outside of a turn", itemsOf(entry));
    case "ItemRemoved":
      return step("Item removed", entry.item);
    case "ModelReplied":
      return describeReply(entry);
    case "ToolSucceeded":
      return step(tool(entry), EFFECTS[entry.effect], argumentsOf(entry), resultOf(entry));
    case "ToolFailed":
      return step(tool(entry), failureNote(entry.failure), argumentsOf(entry), resultOf(entry), exceptionOf(entry.error));
    case "ApprovalAsked":
      return step(["Approval: ", tool(entry)], `requested; the run waits${entry.expires_at ? ` until ${timeWithDay(entry.expires_at)}` : ""}`, argumentsOf(entry));
    case "ApprovalAnswered":
      return describeAnswer(entry);
    case "WaitStarted":
      return step(["Waiting: ", tool(entry)], waitNote(entry), entry.question ? block("Question", entry.question) : []);
    case "WaitEnded":
      return step(`Wait ended: ${entry.reason}`, entry.by ? `by ${entry.by}` : "");
    case "ChildrenStarted":
      return step(["Runs started: ", tool(entry)], plural(entry.runs.length, "run"), argumentsOf(entry));
    case "ChildAsked":
      return step(["Sub-workflow asks: ", h("code", {}, entry.child_tool)], "for a person's answer", entry.child_arguments ? block("Arguments", indented(prettyJson(entry.child_arguments))) : []);
    case "ChildAnswered":
      return step("Sub-workflow answered", byPerson(entry));
    case "OutcomeUnknown":
      return step(["Outcome unknown: ", tool(entry)], "the process ended during the call", argumentsOf(entry));
    case "OutcomeSettled":
      return step(`Outcome settled: ${entry.settled}`, byPerson(entry), entry.result ? resultOf(entry) : []);
    case "RunFinished":
      return step(`Run ${entry.status}`, entry.reason, entry.error ? block("Error", entry.error) : []);
    default:
      return step(entry.type, "", block("Entry", JSON.stringify(entry, null, 2)));
  }
}

function describeAnswer(entry) {
  if (!entry.by) return step("Expired", "not answered in time");
  const edited = entry.arguments_given;
  const details = edited ? block("Changed arguments", indented(prettyJson(edited))) : [];
  const title = entry.approved ? (edited ? "Allowed with other arguments" : "Allowed") : "Denied";
  const given = edited ? [" with ", ...exact(summarize(edited))] : [];
  return step(title, [byPerson(entry), ...given], details, reasonOf(entry));
}

/** Return who answered, and the API key that the answer came with. */
const byPerson = ({ by, key_id: key }) => `by ${by}${key ? ` with ${key}` : ""}`;
const waitNote = (entry) => (entry.question ? "for an answer" : waitClause(entry));
const reasonOf = (entry) => (entry.reason ? block("Reason", entry.reason) : []);
const failureNote = (kind) => (kind === "refused" ? "refused, no changes" : `failed: ${kind}`);

function exceptionOf(error) {
  if (!error) return [];
  const place = error.file ? `\n${error.file}, line ${error.line}` : "";
  return block("Exception", `${error.type}: ${error.message}${place}`);
}

function itemsOf(entry) {
  const textOfItem = (item) => (item.content ? textOf(item.content) : JSON.stringify(item, null, 2));
  return block("Input", (entry.items ?? []).map(textOfItem).join("\n"));
}

/** Return the tools of the calls of a reply, each once: `pay, list_orders (3 times)`. */
function namesOf(calls) {
  const counts = new Map();
  for (const { tool } of calls) counts.set(tool, (counts.get(tool) ?? 0) + 1);
  const names = [...counts].slice(0, MAX_NAMES).map(([tool, times]) => (times > 1 ? `${tool} (${formatCount(times)} times)` : tool));
  const others = counts.size - names.length;
  return [...names, others && `${formatCount(others)} more`].filter(Boolean).join(", ");
}

function replyTitle(names, problems) {
  if (names) return ["Model called ", h("code", {}, names)];
  return problems.length ? "Model replied: no valid output" : "Model replied";
}

/** Return the tokens of a reply and of the models that were asked before it. */
function tokensOf(entry) {
  const attempts = (entry.attempts ?? []).map(({ usage = {} }) => (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0));
  return attempts.reduce((sum, tokens) => sum + tokens, entry.usage?.total_tokens ?? 0);
}

function describeReply(entry) {
  const { usage = {}, calls = [], text = "", problems = [] } = entry;
  const cached = usage.cached_tokens ? ` (${formatCount(usage.cached_tokens)} cached)` : "";
  const names = namesOf(calls);
  const tokens = `${formatCount(usage.input_tokens ?? 0)}${cached} → ${plural(usage.output_tokens ?? 0, "token")}`;
  return step(
    replyTitle(names, problems),
    `${entry.model} · ${tokens}`,
    (entry.attempts ?? []).map((attempt) => block(`No reply from ${attempt.model}`, attempt.error)).flat(),
    text ? block("Text", text) : [],
    problems.length ? block("Problems", problems.join("\n")) : [],
    calls.map((call) => block(call.tool, indented(prettyJson(call.arguments)))).flat(),
  );
}
