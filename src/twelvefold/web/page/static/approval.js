// A tool call that waits for approval: its arguments, and the buttons Allow and Deny.
import { exact, h, put, quoted } from "./dom.js";
import { exactValue } from "./value.js";

export class Approval {
  /** `answer(approve, reason)` sends the decision and returns a promise. */
  constructor(item, answer) {
    this.answer = answer;
    this.isOpen = true;
    const title = h("h2", { id: `title-${item.id}` }, "Allow ", h("code", {}, exact(item.name)), "?");
    this.reason = h("input", { type: "text", dir: "auto", autocomplete: "off", maxlength: "500" });
    const label = h("label", {}, "Reason for denial ", h("span", { class: "muted" }, "(optional)"), this.reason);
    this.allow = h("button", { type: "submit", class: "primary" }, "Allow");
    const deny = h("button", { type: "button", onclick: () => this.decide(false) }, "Deny");
    this.form = h(
      "form",
      { onsubmit: (event) => (event.preventDefault(), this.decide(true)) },
      label,
      h("div", { class: "buttons" }, this.allow, deny),
    );
    this.decision = h("p", { class: "decision", hidden: true });
    const attributes = { class: "approval", role: "group", "aria-labelledby": `title-${item.id}` };
    const values = h("div", { class: "result" }, exactValue(item.arguments));
    this.group = h("section", attributes, title, values, this.form, this.decision);
    this.node = h("li", {}, this.group);
  }

  /** An approval does not change; its answer is a separate item. */
  put() {}

  focus() {
    this.allow.focus();
  }

  async decide(approve) {
    this.setDisabled(true);
    try {
      await this.answer(approve, approve ? "" : this.reason.value.trim());
    } catch (error) {
      this.setDisabled(false);
      throw error;
    }
  }

  setDisabled(disabled) {
    for (const control of this.form.elements) control.disabled = disabled;
  }

  /** Show the decision; `approve` is null if the run ended without one. */
  close(approve, reason = "") {
    this.isOpen = false;
    this.form.hidden = true;
    this.group.dataset.decision = approve === null ? "none" : approve ? "allowed" : "denied";
    const words = { none: "No longer pending.", allowed: "Allowed.", denied: "Denied." };
    put(this.decision, words[this.group.dataset.decision], reason ? [" “", quoted(reason), "”"] : []);
    this.decision.hidden = false;
  }
}
