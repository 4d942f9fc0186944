// A tool call: its name and arguments in one line, and its result, which opens on click.
import { exact, h, put, visuallyHidden } from "./dom.js";
import { formatTook } from "./format.js";
import { waitClause } from "./waits.js";
import { resultValue, summarize } from "./value.js";

const STATES = {
  in_progress: "running",
  calling: "running",
  completed: "done",
  incomplete: "not finished",
  failed: "failed",
};
const EFFECTS = {
  transactional: ["written", "Its rows and this step were committed in one transaction"],
  readonly: ["read only", "The tool can only read the database"],
  idempotent: ["external", "The tool acts outside the database; its idempotency key makes a repeat safe"],
  unsafe: ["external", "The tool acts outside the database, and a repeat is not safe"],
};

export class Call {
  constructor(item) {
    this.state = visuallyHidden("");
    this.arguments = h("span", { class: "arguments" });
    this.effect = h("span", { class: "effect" });
    this.took = h("span", { class: "took" });
    this.result = h("div", { class: "result" });
    const line = [h("span", { class: "mark", "aria-hidden": "true" }), h("code", {}, item.name), this.arguments];
    const summary = h("summary", {}, ...line, this.state, this.effect, this.took);
    this.node = h("details", { class: "call" }, summary, this.result);
    this.put(item);
  }

  put(item) {
    this.node.dataset.status = item.status;
    put(this.state, ` ${STATES[item.status] ?? item.status}`);
    if (item.arguments) this.showArguments(item.arguments);
    const output = item.error ? errorText(item.error) : item.output;
    this.result.replaceChildren(resultOf(item, output));
  }

  showArguments(text) {
    put(this.arguments, exact(summarize(text)));
  }

  /** Show what only the journal has: what the call waits for, its duration, the kind of effect. */
  applyEntry(entry) {
    if (entry.type === "WaitStarted") return this.showWait(`waiting ${waitClause(entry)}`);
    if (entry.type === "ChildrenStarted") return this.showWait("");
    if (entry.type !== "ToolSucceeded" && entry.type !== "ToolFailed") return;
    delete this.node.dataset.wait;
    if (entry.took_ms) put(this.took, formatTook(entry));
    const failed = entry.type === "ToolFailed";
    const [word = "", description = ""] = failed ? [entry.failure] : (EFFECTS[entry.effect] ?? []);
    put(this.effect, entry.error ? `${entry.error.type}: ${entry.error.message}` : word);
    this.effect.title = description;
    this.node.dataset.effect = failed ? "failed" : entry.effect;
  }

  showWait(text) {
    if (this.node.dataset.status !== "in_progress") return;
    this.node.dataset.wait = text ? "event" : "runs";
    put(this.effect, text);
  }

  /** Show the runs that the call has started, below it. */
  showRuns(nodes) {
    if (!this.tree) {
      this.tree = h("ul", { class: "tree", "aria-label": "Runs that this call has started" });
      this.node.after(this.tree);
    }
    this.tree.append(...nodes);
  }
}

function resultOf(item, output) {
  if (item.status === "in_progress") return h("p", { class: "muted" }, "No result yet.");
  if (output === null || output === undefined) return h("p", { class: "muted" }, "No result.");
  return resultValue(output);
}

function errorText(error) {
  if (typeof error === "string") return error;
  const parts = (error.content ?? []).map((part) => part.text ?? "");
  return parts.join("\n") || error.message || JSON.stringify(error);
}
