// What waits for a person, of all principals: requests for approval, questions, outcomes to settle.
import { h, quoted } from "../dom.js";
import * as admin from "./admin.js";
import { openCallForm } from "./open_call.js";
import { agoElement, runLink } from "./parts.js";
import { View, readUntilFound } from "./view.js";

/** The forms of open calls. A form that is shown stays, with what was typed, while the list is read again. */
export class OpenCalls {
  constructor(page) {
    this.page = page;
    this.cards = new Map();
    this.node = h("ol", { class: "open-calls", "aria-label": "Waiting for a person" });
  }

  /** Show these calls; a form that was answered stays until the view is left. */
  put(calls) {
    const keys = new Set(calls.map(keyOf));
    for (const [key, { node, form }] of this.cards) {
      if (keys.has(key) || !form.isOpen) continue;
      node.remove();
      this.cards.delete(key);
    }
    for (const call of calls) if (!this.cards.has(keyOf(call))) this.add(call);
  }

  add(call) {
    const form = openCallForm(call, { onError: this.page.showError, onAnswered: () => this.focusNext() });
    const about = [quoted(call.workflow), " of ", quoted(call.principal), " · ", agoElement(call.asked_at), " · ", runLink(call.run, "Run")];
    const node = h("li", {}, h("p", { class: "about muted" }, about), form.group);
    this.cards.set(keyOf(call), { node, form });
    this.node.append(node);
  }

  focusNext() {
    [...this.cards.values()].find(({ form }) => form.isOpen)?.form.focus();
  }

  get hasFocus() {
    return this.node.contains(document.activeElement);
  }

  get isEmpty() {
    return !this.cards.size;
  }
}

const keyOf = ({ run, call_id: call }) => `${run} ${call}`;

export class Inbox extends View {
  static title = "Inbox";

  constructor(element, page) {
    super(element, page);
    this.calls = new OpenCalls(page);
    this.empty = h("p", { class: "muted", hidden: true }, "Nothing waits for a person.");
    this.more = h("p", { class: "muted", hidden: true }, "There are more. They follow when these are answered.");
    element.append(this.calls.node, this.empty, this.more);
  }

  /** Read again by itself, unless a form is in use. */
  get isLive() {
    return !this.calls.hasFocus;
  }

  async open() {
    await this.read();
  }

  read() {
    return this.load((signal) => readUntilFound((after) => admin.inbox(after, signal)), ({ data, has_more: hasMore }) => {
      this.calls.put(data);
      this.empty.hidden = !this.calls.isEmpty || hasMore;
      this.more.hidden = !hasMore;
    });
  }
}
