// A question of a tool: a form made of the JSON Schema of its answer.
import { h, quoted } from "./dom.js";
import { fieldOf } from "./fields.js";
import { parse } from "./json.js";
import { exactValue } from "./value.js";
import { WaitingForm } from "./waiting.js";

const SECOND_US = 1_000_000;
const QUESTION_ID = /^ask_/;

/** Whether an item is a question of a tool, and no call of one. */
export const isQuestion = (item) => item.type === "function_call" && QUESTION_ID.test(item.call_id);

export class Question extends WaitingForm {
  constructor(item, answer, from = "") {
    const { question, schema } = JSON.parse(item.arguments);
    const id = item.call_id;
    const title = h("h2", { id: `title-${id}` }, quoted(question));
    const field = fieldOf(schema ?? { type: "string" }, { describedBy: `problem-${id}` });
    const button = h("button", { type: "submit", class: "primary" }, "Answer");
    const form = h(
      "form",
      { onsubmit: (event) => (event.preventDefault(), this.submit()) },
      field.node,
      h("div", { class: "buttons" }, button),
    );
    super({ ...item, id }, { title, content: null, form, answer, from });
    this.field = field;
    this.text = question;
  }

  focus() {
    this.form.querySelector("input, select, textarea")?.focus();
  }

  submit() {
    return this.send(() => ({ type: "function_call_output", call_id: this.item.id, output: this.field.read() ?? "null" }));
  }

  /** Show the answer, which is JSON. Null: the question has none, for example because it expired. */
  close(decision, answer = null) {
    if (answer === null) return this.end("none", decision === "expired" ? "Expired: not answered in time." : "No longer pending.");
    const value = parse(answer);
    const isPlain = value?.kind === "string" || value?.kind === "literal";
    this.end("answered", "Answered: ", isPlain ? quoted(value.value ?? value.text) : exactValue(answer));
  }

  /** Show what the journal has: until when, and the answer of the call. */
  applyEntry(entry) {
    if (entry.type === "WaitStarted") this.showUntil(entry.until_us / SECOND_US);
    if (!this.isOpen) return;
    if (entry.type === "ToolSucceeded") this.close("answered", entry.result);
    if (entry.type === "ToolFailed") this.close(entry.failure === "expired" ? "expired" : "none");
  }

  closeWith({ output }) {
    this.close("answered", output);
  }
}
