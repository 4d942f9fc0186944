// A tool call: its name and arguments in one line, and its result, which opens on click.
import { exact, h, put, visuallyHidden } from "./dom.js";
import { formatTook } from "./format.js";
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

  /** Show the duration and the kind of effect, which only the journal has. */
  applyEntry(entry) {
    if (entry.took_ms) put(this.took, formatTook(entry));
    const failed = entry.type === "ToolFailed";
    const [word = "", description = ""] = failed ? [entry.failure] : (EFFECTS[entry.effect] ?? []);
    put(this.effect, entry.error ? `${entry.error.type}: ${entry.error.message}` : word);
    this.effect.title = description;
    this.node.dataset.effect = failed ? "failed" : entry.effect;
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
