// The message field: Enter sends, Shift and Enter add a line. `attachments` are sent with the text.
import { Attachments } from "./attachments.js";

const GROWS_WITH_CONTENT = CSS.supports("field-sizing", "content");
const MAX_ROWS = 6;

export class Composer {
  constructor({ form, field, button, hint, attachments }, { send, stop, onError }) {
    this.field = field;
    this.button = button;
    this.hint = hint;
    this.send = send;
    this.attachments = new Attachments({ ...attachments, field }, { onChange: () => this.render(), onError });
    this.state = "ready";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.state === "busy") stop();
      else this.submit();
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    field.addEventListener("input", () => this.render());
  }

  submit() {
    const text = this.field.value.trim();
    if (!this.isComplete || this.state !== "ready") return;
    this.field.value = "";
    this.send(text, this.attachments.takeAll());
  }

  /** Whether there is something to send, and each chosen file has been read. */
  get isComplete() {
    const { parts, isReading } = this.attachments;
    return !isReading && (this.field.value.trim() !== "" || parts.length > 0);
  }

  /** Put back a message that was not sent, unless the field has a new text. */
  restore(text, parts) {
    if (!this.field.value) this.field.value = text;
    this.attachments.restore([...parts, ...this.attachments.parts]);
  }

  /** Set the state: `ready`, `busy` during a response, `stopping`, or `waiting` for an answer. */
  setState(state, hint = "") {
    this.state = state;
    this.hint.textContent = hint;
    this.render();
  }

  render() {
    if (!GROWS_WITH_CONTENT) this.field.rows = Math.min(this.field.value.split("\n").length, MAX_ROWS);
    const busy = this.state === "busy" || this.state === "stopping";
    this.button.textContent = this.state === "stopping" ? "Stopping" : busy ? "Stop" : "Send";
    this.button.classList.toggle("stop", busy);
    // Not the attribute `disabled`: a focused button would lose the focus.
    const idle = this.state === "ready" && !this.isComplete;
    this.button.setAttribute("aria-disabled", String(idle || ["waiting", "stopping"].includes(this.state)));
  }
}
