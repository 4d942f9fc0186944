// One run: its facts, timeline, sub-workflows and journal, and what an operator can do with it.
import { announce } from "../announce.js";
import { exact, h, put, quoted } from "../dom.js";
import { formatCost } from "../format.js";
import { Journal } from "../journal.js";
import * as admin from "./admin.js";
import { actionButtons, confirmed } from "./actions.js";
import { OpenCalls } from "./inbox.js";
import { facts, isActive, runDuration, runLink, statusElement, timeElement, tokensText } from "./parts.js";
import { timeline } from "./timeline.js";
import { View } from "./view.js";

const DONE = { retry: "New run", cancel: "The run is being cancelled", fork: "New conversation" };

export class Run extends View {
  static title = "Run";

  constructor(element, page) {
    super(element, page);
    this.rendered = new Map();
    this.head = h("div", { class: "head" });
    this.notice = h("p", { class: "muted notice" });
    this.facts = h("div", { class: "summary" });
    this.calls = new OpenCalls(page);
    this.waterfall = h("div", {});
    this.family = h("section", { class: "family", "aria-labelledby": "family-title", hidden: true });
    const main = h("div", { class: "column" }, h("section", { class: "summary", "aria-label": "Summary" }, this.head, this.notice, this.facts), this.calls.node, section("Timeline", "timeline", this.waterfall), this.family);
    this.totals = h("p", { class: "muted" });
    const empty = h("p", { class: "muted" }, "The journal is empty.");
    const entries = h("ol", { "aria-label": "Steps" });
    this.parts = [main, section("Journal", "journal", this.totals, empty, entries)];
    this.showParts(false);
    element.append(...this.parts);
    this.journal = new Journal(
      { list: entries, totals: this.totals, empty },
      { fork: (position) => confirmed("fork", (action, values) => this.act(action, values), { position }), onEntries: () => {}, readEntries: admin.journal },
    );
  }

  async open({ id }) {
    this.id = id;
    this.journal.show(id);
    await this.read();
  }

  /** The parts of the view are shown once the run is read: it may not exist. */
  showParts(isRead) {
    for (const part of this.parts) part.hidden = !isRead;
  }

  close() {
    super.close();
    this.journal.show(null);
  }

  /** Whether the run goes on by itself. */
  get isLive() {
    return this.run !== undefined && isActive(this.run);
  }

  async read() {
    await this.load((signal) => admin.run(this.id, signal), (run) => this.render(run));
    this.journal.scheduleRead();
  }

  render(run) {
    if (!this.run) this.page.setTitle(h("a", { href: "#runs" }, "Runs"), " / ", quoted(run.workflow));
    this.run = run;
    this.showParts(true);
    this.putIfChanged(this.head, [run.status, run.actions], () => headOf(run, (action, values) => this.act(action, values)));
    put(this.facts, failureOf(run), runFacts(run));
    this.calls.put(this.page.has("inbox/answers") ? run.waiting : []);
    put(this.waterfall, timeline(run.timeline, Date.now() / 1000), run.timeline_is_cut ? h("p", { class: "muted" }, "Later steps are not shown here; the journal has them.") : null);
    this.family.hidden = !run.children.length && !run.parent;
    this.putIfChanged(this.family, [run.status, run.parent, run.children], () => [h("h2", { id: "family-title" }, "Sub-workflows"), familyTree(run)]);
  }

  /** Replace the contents only if their values differ, so that a button or a link keeps the focus. */
  putIfChanged(element, values, make) {
    const text = JSON.stringify(values);
    if (this.rendered.get(element) === text) return;
    this.rendered.set(element, text);
    put(element, make());
  }

  async act(action, values) {
    const { id, thread } = await this.page.withErrors(admin.changeRun(this.id, action, values));
    announce(DONE[action]);
    if (action === "retry") location.hash = `runs/${id}`;
    if (action === "fork") put(this.notice, `${DONE.fork}: `, h("code", {}, thread));
    await this.page.withErrors(this.read());
  }
}

const section = (title, id, ...contents) =>
  h("section", { "aria-labelledby": `${id}-title`, class: id }, h("h2", { id: `${id}-title` }, title), contents);

const headOf = (run, act) => [statusElement(run.status), h("div", { class: "buttons" }, actionButtons(run, act))];

function runFacts(run) {
  return facts([
    ["Principal", quoted(run.principal)],
    ["Started", timeElement(run.created_at)],
    ["Duration", runDuration(run)],
    ["Tokens", tokensText(run)],
    ["Cost", run.usage.cost_usd === null ? null : formatCost(run.usage.cost_usd)],
    ["Attempts", run.attempts > 1 ? String(run.attempts) : null],
    ["Release", run.release],
    ["Response", h("code", { class: "id" }, run.id)],
    ["Conversation", h("code", { class: "id" }, run.thread)],
  ]);
}

/** Return why a run failed: its error, and the exceptions of its tools with their places. */
function failureOf({ error, failure }) {
  if (!error && !failure) return null;
  const fault = ({ tool, type, message, file, line }) => h("li", {}, h("code", {}, exact(tool)), `: ${type}: ${message}`, file ? h("span", { class: "muted" }, ` ${file}, line ${line}`) : null);
  const faults = failure?.tool_errors ?? [];
  return h("div", { class: "failure" }, h("p", {}, error || failure.error), faults.length ? h("ul", {}, faults.map(fault)) : null);
}

/** Return the run below the one that started it, with those that it has started. */
function familyTree(run) {
  const own = h("li", {}, h("strong", {}, quoted(run.workflow)), " ", statusElement(run.status), childList(run.id, run.children));
  const tree = h("ul", { class: "tree" }, own);
  return run.parent ? h("ul", { class: "tree" }, h("li", {}, "Started by ", runLink(run.parent), tree)) : tree;
}

/** Return the runs that a run has started, and those below them. */
function childList(parent, runs) {
  const children = runs.filter((run) => run.parent === parent);
  const child = (run) => h("li", {}, runLink(run.id, run.workflow), " ", statusElement(run.status), " ", h("span", { class: "muted" }, runDuration(run)), childList(run.id, runs));
  return children.length ? h("ul", {}, children.map(child)) : null;
}
