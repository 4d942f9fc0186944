// A form on which a run waits for a person: the part that requests for approval and questions share.
import { ApiError } from "./api.js";
import { h, put } from "./dom.js";
import { timeWithDay } from "./format.js";

/** The parameter of the request that an error names: the form has only this one. */
const PLACE = /^input\[0\]\.\w+: /;
const CHECK_AFTER_MS = 1500;
const LONGEST_TIMER_MS = 2_000_000_000;

export class WaitingForm {
  /**
   * `answer(item)` sends the answer as an item of the API and returns a promise. `from` is the name of
   * the sub-workflow that asks, "" for the conversation's own.
   */
  constructor(item, { title, content, form, answer, from = "" }) {
    this.item = item;
    this.answer = answer;
    this.isOpen = true;
    this.form = form;
    this.problem = h("p", { class: "problem", role: "alert", id: `problem-${item.id}`, hidden: true });
    this.until = h("p", { class: "until muted", hidden: true });
    this.decision = h("div", { class: "decision", hidden: true });
    this.caller = h("p", { class: "from muted", hidden: true });
    this.setCaller(from);
    const attributes = { class: "approval", role: "group", "aria-labelledby": `title-${item.id}` };
    this.group = h("section", attributes, this.caller, title, content, this.until, form, this.problem, this.decision);
    this.node = h("li", {}, this.group);
  }

  /** The form does not change; its answer is a separate item. */
  put() {}

  /** Show the name of the sub-workflow that asks; "" leaves it as it is. */
  setCaller(name) {
    if (!name) return;
    this.caller.hidden = false;
    put(this.caller, "From ", h("code", {}, name));
  }

  /** Send an answer. Shows its problems beside the form, which keeps what was entered. */
  async send(makeItem) {
    this.showProblem("");
    let item;
    try {
      item = makeItem();
    } catch (error) {
      return this.showProblem(error.message);
    }
    this.setDisabled(true);
    try {
      await this.answer(item);
    } catch (error) {
      this.setDisabled(false);
      if (!(error instanceof ApiError) || error.status !== 400) throw error;
      this.showProblem(error.message.replace(PLACE, ""));
    }
  }

  showProblem(text) {
    this.problem.hidden = !text;
    put(this.problem, text);
  }

  setDisabled(disabled) {
    for (const control of this.form.elements) {
      if (control.tagName !== "FIELDSET") control.disabled = disabled;
    }
  }

  /** Show until when an answer is accepted, in seconds since 1970. An event `expired` follows it. */
  showUntil(seconds) {
    if (!seconds || !this.isOpen || !this.until.hidden) return;
    put(this.until, `Expires at ${timeWithDay(seconds)}.`);
    this.until.hidden = false;
    const check = (pauseMs) => {
      const leftMs = seconds * 1000 - Date.now();
      const waitMs = leftMs > 0 ? Math.min(leftMs + CHECK_AFTER_MS, LONGEST_TIMER_MS) : pauseMs;
      setTimeout(() => {
        if (!this.isOpen || !this.node.isConnected) return;
        if (seconds * 1000 <= Date.now()) this.node.dispatchEvent(new Event("expired", { bubbles: true }));
        check(pauseMs * 2);
      }, waitMs);
    };
    check(CHECK_AFTER_MS);
  }

  /** Replace the form by what was decided: `kind` is allowed, denied, answered or none. */
  end(kind, ...words) {
    this.isOpen = false;
    this.form.hidden = true;
    this.until.hidden = true;
    this.showProblem("");
    this.group.dataset.decision = kind;
    put(this.decision, ...words);
    this.decision.hidden = false;
  }
}
