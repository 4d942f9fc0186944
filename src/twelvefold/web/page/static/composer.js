// Where a person writes: Enter sends, Shift and Enter begin a new line.

const GROWS = CSS.supports("field-sizing", "content");
const MOST_ROWS = 6;

export class Composer {
  constructor({ form, field, button, hint }, { send, stop }) {
    this.field = field;
    this.button = button;
    this.hint = hint;
    this.send = send;
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
    field.addEventListener("input", () => this.paint());
  }

  submit() {
    const text = this.field.value.trim();
    if (!text || this.state !== "ready") return;
    this.field.value = "";
    this.paint();
    this.send(text);
  }

  /** Put back what could not be sent, unless something else was written since. */
  giveBack(text) {
    if (!this.field.value) this.field.value = text;
    this.paint();
  }

  /** `ready`, `busy` while an answer is under way, `stopping`, or `waits` for an approval. */
  show(state) {
    this.state = state;
    this.paint();
  }

  paint() {
    // Where a field cannot grow with its text by itself, it has as many rows as the text has lines.
    if (!GROWS) this.field.rows = Math.min(this.field.value.split("\n").length, MOST_ROWS);
    const busy = this.state === "busy" || this.state === "stopping";
    this.button.textContent = this.state === "stopping" ? "Stopping" : busy ? "Stop" : "Send";
    this.button.classList.toggle("stop", busy);
    // Not the attribute `disabled`: it would take the focus away from whoever is there.
    const idle = this.state === "ready" && !this.field.value.trim();
    this.button.setAttribute("aria-disabled", String(idle || ["waits", "stopping"].includes(this.state)));
    this.hint.textContent = this.state === "waits" ? "Answer the request above first." : "";
  }
}
