// A call that waits for a person, as a form: a request for approval, a question, or an outcome to settle.
import { announce } from "../announce.js";
import { Approval } from "../approval.js";
import { exact, h } from "../dom.js";
import { Question } from "../question.js";
import { exactValue } from "../value.js";
import { WaitingForm } from "../waiting.js";
import * as admin from "./admin.js";

const OUTCOMES = { done: "It took effect.", failed: "It had no effect.", retry: "It had no effect: call it again." };

/** A call whose outcome is unknown, because its process ended meanwhile. */
class Settlement extends WaitingForm {
  constructor(call, answer) {
    const id = `${call.run}-${call.call_id}`;
    const choice = ([value, text]) => h("label", { class: "choice" }, h("input", { type: "radio", name: "settled", value, required: true }), h("span", {}, text));
    const outcome = h("fieldset", { class: "choices" }, h("legend", { class: "visually-hidden" }, "Outcome"), Object.entries(OUTCOMES).map(choice));
    const result = h("input", { type: "text", name: "result", dir: "auto", autocomplete: "off" });
    const label = h("label", {}, "What the model reads ", h("span", { class: "muted" }, "(optional)"), result);
    const buttons = h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Settle"));
    const form = h("form", { onsubmit: (event) => (event.preventDefault(), this.submit()) }, outcome, label, buttons);
    const title = h("h2", { id: `title-${id}` }, "What became of ", h("code", {}, exact(call.tool)), "?");
    super({ id }, { title, content: h("div", { class: "result" }, exactValue(call.arguments)), form, answer });
    this.call = call;
  }

  focus() {
    this.form.querySelector("input").focus();
  }

  submit() {
    const { settled, result } = Object.fromEntries(new FormData(this.form));
    return this.send(() => ({ settled, call_id: this.call.call_id, ...(result && { result }) }));
  }

  closeWith({ settled }) {
    this.end("answered", `Settled. ${OUTCOMES[settled]}`);
  }
}

/**
 * Return the form of an open call. It sends its answer itself; an error that is not the answer's own
 * goes to `onError`, and `onAnswered()` is called after an answer.
 */
export function openCallForm(call, { onError, onAnswered }) {
  const form = formOf(call, async (item) => {
    try {
      await sendAnswer(call, item);
    } catch (error) {
      if (error.status !== 400) onError(error);
      throw error;
    }
    form.closeWith(item);
    announce("Answered");
    onAnswered();
  });
  form.showUntil(call.expires_at);
  return form;
}

function formOf(call, answer) {
  const { kind, id, tool, question, schema } = call;
  if (kind === "unknown") return new Settlement(call, answer);
  if (kind === "approval") return new Approval({ id, name: tool, arguments: call.arguments }, answer);
  return new Question({ call_id: id, name: tool, arguments: JSON.stringify({ question, schema }) }, answer);
}

/** Send the answer of a form, an item of the API, in the form that the API of operators takes. */
function sendAnswer({ kind, id, run }, item) {
  if (kind === "unknown") return admin.changeRun(run, "settle", item);
  if (kind === "question") return admin.answerCall(id, item.output);
  const { approve, reason, arguments: given } = item;
  return admin.answerCall(id, JSON.stringify({ approve, reason, arguments: given }));
}
