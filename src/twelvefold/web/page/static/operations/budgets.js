// Budgets: what the model calls of a principal, a key or a workflow may spend in a day or a month.
import { announce } from "../announce.js";
import { h, quoted, visuallyHidden } from "../dom.js";
import { formatCost, formatCount } from "../format.js";
import * as admin from "./admin.js";
import { confirmAction } from "./dialog.js";
import { selectField, textField } from "./filters.js";
import { timeElement } from "./parts.js";
import { svg } from "./svg.js";
import { dataTable } from "./table.js";
import { PagedList, View } from "./view.js";

const WINDOWS = { day: "Day", month: "Month" };
const POLICIES = { refuse: "Refuse the request", wait: "Let the run wait until the budget renews" };

export class Budgets extends View {
  static title = "Budgets";

  constructor(element, page) {
    super(element, page);
    const set = h("button", { type: "button", class: "primary", onclick: () => this.edit() }, "Set budget");
    this.list = new PagedList({
      load: (read, render) => this.load(read, render),
      read: (after, signal) => admin.budgets(after, signal),
      render: (rows) => dataTable("Budgets", this.columns(), rows),
      empty: "There is no budget.",
    });
    element.append(h("p", { class: "toolbar" }, set), this.list.node);
  }

  async open() {
    await this.read();
  }

  read() {
    return this.list.first();
  }

  columns() {
    return [
      { label: "Covers", isHeader: true, cell: scopeOf },
      { label: "Window", cell: (budget) => WINDOWS[budget.window] ?? budget.window },
      { label: "Tokens", cell: (budget) => meter(budget, "tokens", formatCount) },
      { label: "Cost", cell: (budget) => meter(budget, "usd", formatCost) },
      { label: "When used up", cell: (budget) => POLICIES[budget.over] ?? budget.over },
      { label: "Renews", cell: (budget) => timeElement(budget.renews_at) },
      { label: "Actions", isHidden: true, cell: (budget) => this.buttons(budget) },
    ];
  }

  buttons(budget) {
    const button = (label, onclick) => h("button", { type: "button", onclick }, label, visuallyHidden(` the budget of ${scopeText(budget)}`));
    return h("div", { class: "buttons" }, button("Change", () => this.edit(budget)), button("Remove", () => this.remove(budget)));
  }

  async edit(budget = {}) {
    const fields = budgetFields(budget);
    const values = await confirmAction({ title: "Set a budget", text: "It replaces the budget with the same scope and window.", confirm: "Set", fields });
    if (values) await this.change(admin.setBudget(bodyOf(values)), "Budget set");
  }

  async remove(budget) {
    const title = `Remove the budget of ${scopeText(budget)}?`;
    if (await confirmAction({ title, text: "Nothing else limits what it covers.", confirm: "Remove" })) {
      await this.change(admin.removeBudget(budget.id), "Budget removed");
    }
  }

  async change(promise, words) {
    await this.page.withErrors(promise);
    announce(words);
    await this.page.withErrors(this.read());
  }
}

const scopeParts = ({ principal, key, workflow }) =>
  Object.entries({ principal, key, workflow }).filter(([, name]) => name);
const scopeText = (budget) => scopeParts(budget).map(([kind, name]) => `${kind} ${name}`).join(", ") || "all calls";

function scopeOf(budget) {
  const parts = scopeParts(budget);
  if (!parts.length) return "All model calls";
  return parts.map(([kind, name]) => h("p", {}, h("span", { class: "muted" }, `${kind} `), quoted(name)));
}

/** Return what is spent of a limit, and reserved for calls in progress, as text and as a bar. */
function meter({ limit: limits, spent, reserved }, unit, format) {
  const limit = limits[unit];
  if (limit === null) return h("span", { class: "muted" }, "No limit");
  const share = limit ? Math.min(1, (spent[unit] + reserved[unit]) / limit) : 1;
  const bar = svg("rect", { class: share >= 1 ? "full" : "series-0", x: 0, y: 0, width: `${(share * 100).toFixed(2)}%`, height: 6 });
  const held = reserved[unit] ? h("p", { class: "kind" }, `${format(reserved[unit])} reserved`) : null;
  return [`${format(spent[unit])} of ${format(limit)}`, svg("svg", { class: "meter", width: "100%", height: 6, "aria-hidden": "true" }, bar), held];
}

function budgetFields(budget) {
  const fields = [
    textField("principal", "Principal (empty: any)"),
    textField("key", "Id of a key (empty: any)"),
    textField("workflow", "Workflow (empty: any)"),
    selectField("window", "Window", WINDOWS),
    textField("tokens", "Tokens (empty: no limit)", { type: "number" }),
    textField("usd", "US dollars (empty: no limit)", { type: "number", step: "any" }),
    selectField("over", "When used up", POLICIES),
  ];
  const values = { ...budget, ...budget.limit };
  for (const field of fields) {
    const control = field.querySelector("input, select");
    control.value = values[control.name] ?? (control.tagName === "SELECT" ? control.options[0].value : "");
  }
  return fields;
}

/** Return the body of a request from the fields; an empty field is null. */
function bodyOf({ principal, key, workflow, tokens, usd, window, over }) {
  const names = { principal: principal || null, key: key || null, workflow: workflow || null };
  return { ...names, window, over, tokens: tokens ? Number(tokens) : null, usd: usd ? Number(usd) : null };
}
