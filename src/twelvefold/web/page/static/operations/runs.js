// The list of runs, with filters.
import { models } from "../api.js";
import { h } from "../dom.js";
import { formatCost, formatCount } from "../format.js";
import * as admin from "./admin.js";
import { Filters, periodOf, selectField, textField, timeField } from "./filters.js";
import { STATUS_LABELS, runCode, runDuration, runLink, statusElement, timeElement, tokensOf } from "./parts.js";
import { dataTable } from "./table.js";
import { PagedList, View, readUntilFound } from "./view.js";

/** The path without which a run cannot be opened. */
const DETAIL = "runs/{run_id}";
const columns = (page) => [
  { label: "Run", isHeader: true, cell: (run) => [page.has(DETAIL) ? runLink(run.id) : runCode(run.id), run.parent ? h("p", { class: "kind" }, "Sub-workflow") : null] },
  { label: "Status", cell: (run) => [statusElement(run.status), run.error ? h("p", { class: "reason" }, run.error) : null] },
  { label: "Workflow", cell: (run) => h("bdi", {}, run.workflow) },
  { label: "Principal", cell: (run) => h("bdi", {}, run.principal) },
  { label: "Started", cell: (run) => timeElement(run.created_at) },
  { label: "Duration", isNumber: true, cell: runDuration },
  { label: "Tokens", isNumber: true, cell: (run) => formatCount(tokensOf(run)) },
  { label: "Cost", isNumber: true, cell: (run) => formatCost(run.usage.cost_usd) },
];

const workflowNames = async () => (await models()).map(({ id }) => id).filter((name) => !name.includes("/"));

export class Runs extends View {
  static title = "Runs";

  constructor(element, page) {
    super(element, page);
    this.workflows = h("datalist", { id: "workflow-names" });
    const fields = [
      textField("search", "Id or error", { type: "search" }),
      selectField("status", "Status", { "": "Any", ...STATUS_LABELS }),
      timeField(),
      textField("workflow", "Workflow", { list: this.workflows.id }),
      textField("principal", "Principal"),
    ];
    this.filters = new Filters(fields, (values) => page.setQuery(values));
    this.list = new PagedList({
      load: (read, render) => this.load(read, render),
      read: (after, signal) => readUntilFound((next) => admin.runs(this.filter(), next, signal), after),
      render: (rows) => dataTable("Runs, newest first", columns(page), rows),
      empty: "No run matches.",
    });
    element.append(this.filters.node, this.workflows, this.list.node);
  }

  async open({ query }) {
    this.query = this.filters.put(query);
    await this.read();
    this.workflows.replaceChildren(...(await workflowNames()).map((value) => h("option", { value })));
  }

  read() {
    return this.list.first();
  }

  /** Return the parameters of the API: the query of the address, with its period in seconds. */
  filter() {
    const { time, from, to, ...rest } = this.query;
    return { ...rest, ...periodOf({ time, from, to }) };
  }
}
