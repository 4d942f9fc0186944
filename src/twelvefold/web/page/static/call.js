// A tool call: its name and arguments in one line, its result below, opened on demand.
import { aside, exact, h, put } from "./dom.js";
import { took } from "./format.js";
import { brief, shown } from "./value.js";

const STATES = {
  in_progress: "running",
  calling: "running",
  completed: "done",
  incomplete: "not finished",
  failed: "failed",
};
const EFFECTS = {
  transactional: ["written", "Its rows and this step were committed together"],
  readonly: ["read only", "It can only read the database"],
  idempotent: ["outside", "It acts outside the database, under a key that makes a repeat harmless"],
  unsafe: ["outside", "It acts outside the database, and cannot be repeated safely"],
};

export class Call {
  constructor(item) {
    this.state = aside("");
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
    this.name = item.name ?? this.name;
    this.status = item.status;
    this.node.dataset.status = item.status;
    put(this.state, ` ${STATES[item.status] ?? item.status}`);
    if (item.arguments) this.argue(item.arguments);
    const said = item.error ? errorText(item.error) : item.output;
    this.result.replaceChildren(resultOf(item, said));
  }

  argue(text) {
    put(this.arguments, exact(brief(text)));
  }

  /** Take what the journal knows beside: how long it took, and what kind of tool it is. */
  noted(entry) {
    if (entry.took_ms) put(this.took, took(entry));
    const failed = entry.type === "ToolFailed";
    const [word = "", why = ""] = failed ? [entry.failure] : (EFFECTS[entry.effect] ?? []);
    put(this.effect, entry.error ? `${entry.error.type}: ${entry.error.message}` : word);
    this.effect.title = why;
    this.node.dataset.effect = failed ? "failed" : entry.effect;
  }
}

function resultOf(item, said) {
  if (item.status === "in_progress") return h("p", { class: "quiet" }, "No result yet.");
  if (said === null || said === undefined) return h("p", { class: "quiet" }, "It has no result.");
  return shown(said);
}

function errorText(error) {
  if (typeof error === "string") return error;
  const parts = (error.content ?? []).map((part) => part.text ?? "");
  return parts.join("\n") || error.message || JSON.stringify(error);
}
