// Tokens, cost and runs by day, workflow and principal.
import { h, put, visuallyHidden } from "../dom.js";
import { formatCost, formatCount } from "../format.js";
import * as admin from "./admin.js";
import { bars, columns, seriesLegend } from "./chart.js";
import { Filters, selectField } from "./filters.js";
import { facts } from "./parts.js";
import { dataTable } from "./table.js";
import { View } from "./view.js";

const DAY_MS = 86_400_000;
const PERIODS = { 7: "Last 7 days", "": "Last 30 days", 90: "Last 90 days", 365: "Last 12 months" };
const DEFAULT_DAYS = 30;
const MAX_BARS = 10;
/** A scale of counts goes at least to this number, so that its lines are whole numbers. */
const LEAST_COUNT = 4;
const MEASURES = {
  tokens: { label: "Tokens", series: ["Input", "Output"], values: (row) => [row.input_tokens, row.output_tokens], format: compact, minTop: LEAST_COUNT },
  cost: { label: "Cost", series: ["Cost"], values: (row) => [row.cost_usd ?? 0], format: compactCost },
  runs: { label: "Runs", series: ["Runs"], values: (row) => [row.runs], format: compact, minTop: LEAST_COUNT },
};
const SHORT_DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short", timeZone: "UTC" });
const COMPACT = new Intl.NumberFormat([], { notation: "compact", maximumFractionDigits: 1 });
const COMPACT_DOLLARS = new Intl.NumberFormat("en", { style: "currency", currency: "USD", notation: "compact", maximumFractionDigits: 1 });
/** A total from this on is compact, with the exact number as its title. */
const LARGE = 1_000_000_000;

function compact(number) {
  return number < 10_000 ? formatCount(Math.round(number * 100) / 100) : COMPACT.format(number);
}

function compactCost(usd) {
  return usd < 10_000 ? formatCost(usd) : COMPACT_DOLLARS.format(usd);
}

const isoDay = (ms) => new Date(ms).toISOString().slice(0, 10);
const sumOf = (rows, name) => rows.reduce((sum, row) => sum + (row[name] ?? 0), 0);
/** Return the sum of costs; null if none is known. */
const costOf = (rows) => (rows.some((row) => row.cost_usd !== null) ? sumOf(rows, "cost_usd") : null);

export class Usage extends View {
  static title = "Usage";

  constructor(element, page) {
    super(element, page);
    const measures = { "": "Tokens", cost: "Cost", runs: "Runs" };
    this.filters = new Filters([selectField("measure", "Show", measures), selectField("days", "Period", PERIODS)], (values) => page.setQuery(values));
    this.body = h("div", { class: "usage-body" });
    element.append(this.filters.node, this.body);
  }

  async open({ query }) {
    const { measure, days } = this.filters.put(query);
    this.measure = Object.hasOwn(MEASURES, measure) ? MEASURES[measure] : MEASURES.tokens;
    this.days = Object.hasOwn(PERIODS, days) ? Number(days) || DEFAULT_DAYS : DEFAULT_DAYS;
    await this.read();
  }

  read() {
    const end = Date.now();
    this.period = { from: isoDay(end - (this.days - 1) * DAY_MS), to: isoDay(end) };
    const by = (kind, signal) => admin.usage({ ...this.period, by: kind }, signal);
    return this.load(
      (signal) => Promise.all(["day", "workflow", "principal"].map((kind) => by(kind, signal))),
      (groups) => this.render(...groups),
    );
  }

  render(days, workflows, principals) {
    put(
      this.body,
      totals(days),
      this.byDay(this.everyDay(days)),
      h("div", { class: "pair" }, this.byName("By workflow", "workflow", workflows), this.byName("By principal", "principal", principals)),
    );
  }

  /** Return a row for every day of the period: the server has none for a day without runs. */
  everyDay(rows) {
    const byDay = new Map(rows.map((row) => [row.day, row]));
    const first = Date.parse(this.period.from);
    const days = Array.from({ length: this.days }, (_, at) => isoDay(first + at * DAY_MS));
    return days.map((day) => byDay.get(day) ?? { day, runs: 0, input_tokens: 0, output_tokens: 0, cost_usd: null });
  }

  byDay(rows) {
    const { label, series, values, format, minTop } = this.measure;
    const points = rows.map((row) => ({ label: SHORT_DAY.format(new Date(row.day)), values: values(row) }));
    const used = rows.filter((row) => row.runs || row.input_tokens || row.output_tokens);
    return chartSection(`${label} by day`, [columns(`${label} by day`, points, { series, format, minTop }), seriesLegend(series)], usageTable("Day", "day", used));
  }

  byName(title, name, rows) {
    const { values, format } = this.measure;
    const points = rows.map((row) => ({ label: row[name], values: values(row) }));
    const sorted = points.sort((one, other) => sum(other.values) - sum(one.values)).slice(0, MAX_BARS);
    const chart = rows.length ? bars(sorted, { format }) : h("p", { class: "muted" }, "No runs in this period.");
    return chartSection(title, [chart], usageTable(title.slice(3), name, rows));
  }
}

const sum = (values) => values.reduce((one, other) => one + other, 0);

function totals(rows) {
  const count = (name) => totalOf(sumOf(rows, name), formatCount, compact);
  return facts([
    ["Runs", count("runs")],
    ["Input tokens", count("input_tokens")],
    ["Output tokens", count("output_tokens")],
    ["Cost", totalOf(costOf(rows), formatCost, compactCost)],
  ]);
}

const totalOf = (number, exact, short) => (number < LARGE ? exact(number) : h("span", { title: exact(number) }, short(number)));

function chartSection(title, chart, table) {
  const details = h("details", { class: "values-table" }, h("summary", {}, "Table", visuallyHidden(`: ${title}`)), table);
  return h("section", { "aria-label": title }, h("h2", {}, title), chart, details);
}

function usageTable(label, name, rows) {
  const columnsOfTable = [
    { label, isHeader: true, cell: (row) => h("bdi", {}, row[name]) },
    { label: "Runs", isNumber: true, cell: (row) => formatCount(row.runs) },
    { label: "Input tokens", isNumber: true, cell: (row) => formatCount(row.input_tokens) },
    { label: "Output tokens", isNumber: true, cell: (row) => formatCount(row.output_tokens) },
    { label: "Cost", isNumber: true, cell: (row) => formatCost(row.cost_usd) },
  ];
  return dataTable(`Usage by ${label.toLowerCase()}`, columnsOfTable, rows);
}
