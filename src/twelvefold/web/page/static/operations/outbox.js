// The messages of the outbox: due, failed or dead.
import { announce } from "../announce.js";
import { exact, h, quoted, visuallyHidden } from "../dom.js";
import { formatCount } from "../format.js";
import * as admin from "./admin.js";
import { Filters, selectField } from "./filters.js";
import { timeElement } from "./parts.js";
import { dataTable } from "./table.js";
import { PagedList, View } from "./view.js";

const STATES = { "": "Due", failed: "Failed, will be retried", dead: "Dead, not retried", sent: "Sent" };

export class Outbox extends View {
  static title = "Outbox";

  constructor(element, page) {
    super(element, page);
    this.filters = new Filters([selectField("state", "State", STATES)], (values) => page.setQuery(values));
    this.list = new PagedList({
      load: (read, render) => this.load(read, render),
      read: (after, signal) => admin.outbox({ state: this.state }, after, signal),
      render: (rows) => dataTable("Messages", this.columns(), rows),
      empty: "There are no such messages.",
    });
    element.append(this.filters.node, this.list.node);
  }

  async open({ query }) {
    this.state = this.filters.put(query).state ?? "due";
    await this.read();
  }

  read() {
    return this.list.first();
  }

  columns() {
    return [
      { label: "Message", isHeader: true, cell: messageOf },
      { label: "To", cell: (one) => quoted(one.to) },
      { label: "Attempts", isNumber: true, cell: (one) => formatCount(one.attempts) },
      { label: this.state === "sent" ? "Sent" : "Due", cell: (one) => timeElement(one.sent_at ?? (one.dead_at ? null : one.due_at)) },
      { label: "Actions", isHidden: true, cell: (one) => (one.sent_at ? null : this.retryButton(one)) },
    ];
  }

  retryButton(one) {
    const button = h("button", { type: "button", onclick: () => this.retry(one) }, "Retry", visuallyHidden(` the message to ${one.to}`));
    return h("div", { class: "buttons" }, button);
  }

  async retry(one) {
    await this.page.withErrors(admin.retryMessage(one.id));
    announce("The message is due now");
    await this.page.withErrors(this.read());
  }
}

function messageOf({ subject, kind, id, error }) {
  return [subject ? quoted(subject) : h("code", { title: id }, exact(kind)), error ? h("p", { class: "reason" }, error) : null];
}
