// The items of a conversation as elements. Items are keyed by id, so an item that arrives both from
// the list and from the stream is shown once.
import { Approval } from "./approval.js";
import { Call } from "./call.js";
import { h } from "./dom.js";
import { Message } from "./message.js";
import { Question, isQuestion } from "./question.js";
import { WaitingForm } from "./waiting.js";
import { Waits } from "./waits.js";

const NEAR_END_PX = 96;
/** The items of a call: the call, its request for approval, its question. */
const CALL_PREFIXES = ["mcp_", "mcpr_", "ask_"];

/** Return the part of an item's id that names its call, such as `<thread>2.0`. */
const placeOf = (id) => id.slice(id.indexOf("_") + 1);

/** Return the form of a journal entry as an item of the API; null if it has none. */
function formItemOf({ type, item, tool, arguments: given, question, schema }) {
  const place = placeOf(item);
  if (type === "ApprovalAsked") return { type: "mcp_approval_request", id: `mcpr_${place}`, name: tool, arguments: given };
  if (type !== "WaitStarted" || !question) return null;
  return { type: "function_call", call_id: `ask_${place}`, name: tool, arguments: JSON.stringify({ question, schema }) };
}

export class Thread {
  /**
   * `scroller` contains `list`; `answer(item)` sends the answer to a request for approval or a
   * question. `addRuns(entry)` returns the elements of the runs that an entry ChildrenStarted names.
   */
  constructor(list, scroller, scrollButton, { answer, addRuns }) {
    this.list = list;
    this.scroller = scroller;
    this.scrollButton = scrollButton;
    this.answer = answer;
    this.addRuns = addRuns;
    this.waits = new Waits();
    this.views = new Map();
    this.entries = new Map();
    this.isStreaming = false;
    this.isAtEnd = true;
    scroller.addEventListener("scroll", () => this.updateScrollButton(), { passive: true });
    new ResizeObserver(() => this.followEnd()).observe(list);
    scrollButton.addEventListener("click", () => this.scrollToEnd());
  }

  clear() {
    this.views.clear();
    this.entries.clear();
    this.waits.clear();
    this.list.replaceChildren();
    this.isAtEnd = true;
  }

  get isEmpty() {
    return !this.list.childElementCount;
  }

  /** The request for approval or the question that waits for an answer, if there is one. */
  get openForm() {
    return [...this.views.values()].findLast((view) => view instanceof WaitingForm && view.isOpen);
  }

  /** What the conversation waits for, for example `Waiting until 14:05`; "" while a call runs. */
  get waitingText() {
    const isRunning = this.list.querySelector('.call[data-status="in_progress"]:not([data-wait])');
    return isRunning ? "" : this.waits.text;
  }

  /** Add or update an item. Returns its view; null for an item that is not shown. */
  put(item, from = "", after = null) {
    const id = item.type.startsWith("function_call") ? item.call_id : item.id;
    const existing = this.views.get(id);
    if (item.type === "mcp_approval_response") {
      this.views.get(item.approval_request_id)?.closeWith(item);
      return null;
    }
    if (item.type === "mcp_call") this.closeFormsOf(item);
    if (isQuestion(item) && item.status === "in_progress") return null; // without its arguments yet
    if (existing) {
      existing.setCaller?.(from);
      existing.put(item.type === "function_call_output" ? { ...item, status: "completed" } : item);
      return existing;
    }
    const view = this.createView(item, from);
    if (view) {
      this.views.set(id, view);
      this.appendView(view, after);
      for (const entry of this.entries.get(placeOf(id)) ?? []) this.applyTo(view, entry);
    }
    return view;
  }

  createView(item, from) {
    switch (item.type) {
      case "message":
        return new Message(item);
      case "mcp_call":
        return new Call(item);
      case "function_call":
        return isQuestion(item) ? new Question(item, this.answer, from) : new Call(item);
      case "mcp_approval_request":
        return new Approval(item, this.answer, from);
      default:
        return null; // for example reasoning
    }
  }

  /** A call that has a result waits for no answer any more. */
  closeFormsOf({ id, status, output }) {
    const place = placeOf(id);
    const question = this.views.get(`ask_${place}`);
    if (question?.isOpen && status !== "in_progress") question.close("answered", output);
    const approval = this.views.get(`mcpr_${place}`);
    if (approval?.isOpen && status === "failed") approval.close("none");
  }

  appendView(view, after = null) {
    if (after) {
      after.after(view.node);
      return;
    }
    if (!(view instanceof Call)) {
      this.list.append(view.node);
      return;
    }
    let steps = this.list.lastElementChild;
    if (!steps?.classList.contains("steps")) {
      steps = h("li", { class: "steps" });
      this.list.append(steps);
    }
    steps.append(view.node);
  }

  view(id) {
    return this.views.get(id);
  }

  /** Add a line that reports how a response ended. */
  addNotice(text, kind = "muted") {
    this.list.append(h("li", { class: `notice ${kind}` }, text));
  }

  /** Show a message before the server has confirmed it; returns its element. */
  addUserMessage(content) {
    this.isAtEnd = true;
    const message = new Message({ role: "user", content });
    this.list.append(message.node);
    return message.node;
  }

  /**
   * Pass journal entries to what they are of. The journal may be ahead of the stream. The requests and
   * questions of a `child`, a run of a sub-workflow, are shown after the call that started it.
   */
  applyEntries(entries, child = null) {
    for (const entry of entries) {
      if (entry.type === "RunFinished") this.waits.clear();
      if (!entry.item) continue;
      const place = placeOf(entry.item);
      this.entries.set(place, [...(this.entries.get(place) ?? []), entry]);
      this.waits.applyEntry(entry);
      const item = child ? formItemOf(entry) : null;
      const views = CALL_PREFIXES.map((prefix) => this.views.get(`${prefix}${place}`));
      if (item) this.put(item, child.name, this.placeForChild(child));
      else views.forEach((view) => view && this.applyTo(view, entry));
    }
  }

  applyTo(view, entry) {
    view.applyEntry?.(entry);
    if (entry.type === "ChildrenStarted" && view instanceof Call) view.showRuns(this.addRuns(entry));
  }

  /** Return the element after which a form of a child is shown; null: at the end. */
  placeForChild({ item }) {
    let place = this.views.get(item)?.node.closest("li") ?? null;
    while (place?.nextElementSibling?.querySelector(":scope > .approval > .from:not([hidden])")) place = place.nextElementSibling;
    return place;
  }

  closeForms() {
    for (const view of this.views.values()) {
      if (view instanceof WaitingForm && view.isOpen) view.close("none");
    }
  }

  // Scrolling: during a response, stay at the end if the user is at the end.

  updateScrollButton() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    this.scrollButton.hidden = this.isAtEnd;
  }

  followEnd() {
    if (this.isAtEnd && this.isStreaming) this.scrollToEnd();
  }

  scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
