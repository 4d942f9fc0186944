// API keys: create, rotate, revoke. A secret is shown once.
import { announce } from "../announce.js";
import { h, quoted, visuallyHidden } from "../dom.js";
import { plural } from "../format.js";
import * as admin from "./admin.js";
import { confirmAction, showSecret } from "./dialog.js";
import { textField } from "./filters.js";
import { agoElement, timeElement } from "./parts.js";
import { dataTable } from "./table.js";
import { PagedList, View } from "./view.js";

const SCOPES = {
  runs: "Start, continue, cancel and delete runs",
  approve: "Answer requests for approval and questions",
  signal: "Send events",
  admin: "Operate the runs of all principals",
};
const DAY_S = 86_400;

export class Keys extends View {
  static title = "Keys";

  constructor(element, page) {
    super(element, page);
    this.create = h("button", { type: "button", class: "primary", onclick: () => this.createKey() }, "Create key");
    this.list = new PagedList({
      load: (read, render) => this.load(read, render),
      read: (after, signal) => admin.keys(after, signal),
      render: (rows) => dataTable("API keys, newest first", this.columns(), rows),
      empty: "There is no key. The server is open to its own machine only.",
    });
    element.append(h("p", { class: "toolbar" }, this.create), this.list.node);
  }

  async open() {
    await this.read();
  }

  read() {
    return this.list.first();
  }

  columns() {
    return [
      { label: "Name", isHeader: true, cell: (key) => quoted(key.name) },
      { label: "Principal", cell: (key) => quoted(key.principal) },
      { label: "Scopes", cell: (key) => [key.scopes.join(", "), limits(key)] },
      { label: "Created", cell: (key) => timeElement(key.created_at) },
      { label: "Last used", cell: (key) => (key.last_used_at ? agoElement(key.last_used_at) : "–") },
      { label: "Valid", cell: validity },
      { label: "Actions", isHidden: true, cell: (key) => this.buttons(key) },
    ];
  }

  buttons(key) {
    if (key.revoked_at) return null;
    const button = (label, onclick) => h("button", { type: "button", onclick }, label, visuallyHidden(` the key ${key.name}`));
    return h("div", { class: "buttons" }, button("Rotate", () => this.rotate(key)), button("Revoke", () => this.revoke(key)));
  }

  async createKey() {
    const values = await confirmAction({ title: "Create a key", confirm: "Create", fields: keyFields() });
    if (!values) return;
    await this.change(admin.createKey(bodyOf(values)), "Key created");
  }

  async rotate(key) {
    const text = "The key gets a new secret. The one before stays valid for a day, so that you can replace it.";
    if (await confirmAction({ title: `Rotate the key ${key.name}?`, text, confirm: "Rotate" })) {
      await this.change(admin.rotateKey(key.id, { overlap: DAY_S }), "Key rotated");
    }
  }

  async revoke(key) {
    const text = "Requests with this key fail at once. This cannot be undone.";
    if (await confirmAction({ title: `Revoke the key ${key.name}?`, text, confirm: "Revoke" })) {
      await this.change(admin.revokeKey(key.id), "Key revoked");
    }
  }

  async change(promise, words) {
    const changed = await this.page.withErrors(promise);
    announce(words);
    if (changed.secret) await showSecret({ title: `Secret of the key ${changed.name}`, text: "Copy it now. It is shown this once.", secret: changed.secret });
    await this.page.withErrors(this.read());
  }
}

/** Return what limits a key, if anything does. */
function limits({ workflows, tools, rate_per_minute: rate, max_runs: maxRuns }) {
  const parts = [
    workflows && `workflows: ${workflows.join(", ")}`,
    tools && `tools: ${tools.join(", ")}`,
    rate && `${plural(rate, "request")} a minute`,
    maxRuns && `${plural(maxRuns, "run")} at once`,
  ].filter(Boolean);
  return parts.length ? h("p", { class: "kind" }, parts.join("; ")) : null;
}

function validity({ revoked_at: revoked, expires_at: expires, old_secret_until: old }) {
  if (revoked) return ["revoked ", timeElement(revoked)];
  const isOver = (seconds) => seconds * 1000 < Date.now();
  const end = expires ? [isOver(expires) ? "expired " : "until ", timeElement(expires)] : ["without end"];
  return old && !isOver(old) ? [...end, h("p", { class: "kind" }, "old secret until ", timeElement(old))] : end;
}

function keyFields() {
  const scope = ([name, meaning]) =>
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "scopes", value: name, checked: name !== "admin" }), h("span", {}, h("code", {}, name), " ", h("span", { class: "muted" }, meaning)));
  const name = textField("name", "Name");
  name.querySelector("input").required = true;
  return [
    name,
    textField("principal", "Principal (by default the name)"),
    h("fieldset", {}, h("legend", {}, "Scopes"), Object.entries(SCOPES).map(scope)),
    h(
      "details",
      {},
      h("summary", {}, "Limits"),
      textField("days", "Valid for days", { type: "number" }),
      textField("workflows", "Only these workflows, separated by commas"),
      textField("tools", "Only these tools, separated by commas"),
      textField("rate_per_minute", "Requests a minute", { type: "number" }),
      textField("max_runs", "Runs at once", { type: "number" }),
    ),
  ];
}

/** Return the body of a request from the fields; empty fields are left out. */
function bodyOf({ name, principal, scopes = [], days, workflows, tools, rate_per_minute: rate, max_runs: maxRuns }) {
  const names = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
  return {
    name,
    principal: principal || name,
    scopes,
    ...(days && { expires_in: Number(days) * DAY_S }),
    ...(rate && { rate_per_minute: Number(rate) }),
    ...(maxRuns && { max_runs: Number(maxRuns) }),
    ...(workflows && { workflows: names(workflows) }),
    ...(tools && { tools: names(tools) }),
  };
}
