// A call that waits for a person: what it would do, and the two answers.
import { exact, h, put, quoted } from "./dom.js";
import { judged } from "./value.js";

export class Approval {
  /** `answer(yes, reason)` sends what the person says; it returns a promise. */
  constructor(item, answer) {
    this.answer = answer;
    this.name = item.name;
    this.open = true;
    this.title = h("h2", { id: `title-${item.id}` }, "Allow ", h("code", {}, exact(item.name)), "?");
    this.reason = h("input", { type: "text", dir: "auto", autocomplete: "off", maxlength: "500" });
    const why = h("label", {}, "Reason, if you refuse ", h("span", { class: "quiet" }, "(optional)"), this.reason);
    const allow = h("button", { type: "submit", class: "primary" }, "Allow");
    this.allow = allow;
    this.refuse = h("button", { type: "button", onclick: () => this.give(false) }, "Refuse");
    this.form = h(
      "form",
      { onsubmit: (event) => (event.preventDefault(), this.give(true)) },
      why,
      h("div", { class: "buttons" }, allow, this.refuse),
    );
    this.said = h("p", { class: "said", hidden: true });
    const attributes = { class: "approval", role: "group", "aria-labelledby": `title-${item.id}` };
    const values = h("div", { class: "result" }, judged(item.arguments));
    this.group = h("section", attributes, this.title, values, this.form, this.said);
    this.node = h("li", {}, this.group);
  }

  put() {}

  focus() {
    this.allow.focus();
  }

  async give(yes) {
    this.freeze(true);
    try {
      await this.answer(yes, yes ? "" : this.reason.value.trim());
    } catch (error) {
      this.freeze(false);
      throw error;
    }
  }

  freeze(frozen) {
    for (const control of this.form.elements) control.disabled = frozen;
  }

  /** Show what was said; `approve` is null where nobody is asked any more. */
  answered(approve, reason = "") {
    this.open = false;
    this.form.hidden = true;
    this.group.dataset.answer = approve === null ? "none" : approve ? "allowed" : "refused";
    const words = { none: "Nobody was asked any more.", allowed: "Allowed.", refused: "Refused." };
    put(this.said, words[this.group.dataset.answer], reason ? [" “", quoted(reason), "”"] : []);
    this.said.hidden = false;
  }
}
