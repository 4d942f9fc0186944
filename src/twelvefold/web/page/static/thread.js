// The conversation as it is shown: items by their ids, so that an item that is told twice, by a
// list and by a stream, is there once.
import { Approval } from "./approval.js";
import { Call } from "./call.js";
import { h } from "./dom.js";
import { Message } from "./message.js";

const NEAR_PX = 96;

export class Thread {
  /** `scroller` holds `list`; `answer(request, yes, reason)` answers a request for approval. */
  constructor(list, scroller, toLatest, answer) {
    this.list = list;
    this.scroller = scroller;
    this.toLatest = toLatest;
    this.answer = answer;
    this.views = new Map();
    this.notes = new Map();
    scroller.addEventListener("scroll", () => this.showWay(), { passive: true });
    new ResizeObserver(() => this.follow()).observe(list);
    this.live = false;
    toLatest.addEventListener("click", () => this.scrollDown());
    this.stuck = true;
  }

  clear() {
    this.views.clear();
    this.notes.clear();
    this.list.replaceChildren();
    this.stuck = true;
  }

  get empty() {
    return !this.list.childElementCount;
  }

  /** The request for approval that waits, if one does. */
  get asked() {
    return [...this.views.values()].findLast((view) => view instanceof Approval && view.open);
  }

  /** Show an item, or what has become of it. Returns its view, if it has one. */
  put(item) {
    const id = item.type.startsWith("function_call") ? item.call_id : item.id;
    const known = this.views.get(id);
    if (item.type === "mcp_approval_response") {
      this.views.get(item.approval_request_id)?.answered(item.approve, item.reason ?? "");
      return null;
    }
    if (known) {
      known.put(item.type === "function_call_output" ? { ...item, status: "completed" } : item);
      return known;
    }
    const view = this.viewOf(item);
    if (view) {
      this.views.set(id, view);
      if (view instanceof Call && this.notes.has(id)) view.noted(this.notes.get(id));
      this.place(view);
    }
    return view;
  }

  viewOf(item) {
    switch (item.type) {
      case "message":
        return new Message(item);
      case "mcp_call":
      case "function_call":
        return new Call(item);
      case "mcp_approval_request":
        return new Approval(item, (yes, reason) => this.answer(item.id, yes, reason));
      default:
        return null; // reasoning and the like say nothing to a person
    }
  }

  place(view) {
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

  /** A line between the items: how a response ended. */
  remark(text, kind = "quiet") {
    this.list.append(h("li", { class: `remark ${kind}` }, text));
  }

  /** What the person has just said, before the server has it. */
  say(text) {
    this.stuck = true;
    const message = new Message({ role: "user", content: text });
    this.list.append(message.node);
    return message.node;
  }

  /** Tell the calls what the journal knows of them; it may be ahead of the stream. */
  note(entries) {
    for (const entry of entries) {
      if (entry.type !== "ToolSucceeded" && entry.type !== "ToolFailed") continue;
      this.notes.set(entry.item, entry);
      const view = this.views.get(entry.item);
      if (view instanceof Call) view.noted(entry);
    }
  }

  closeApprovals() {
    for (const view of this.views.values()) {
      if (view instanceof Approval && view.open) view.answered(null);
    }
  }

  // Scrolling: while an answer comes (`live`) stay at the end if the reader is there; let them read
  // where they are if not, and open what they like when nothing comes.

  showWay() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.stuck = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.toLatest.hidden = this.stuck;
  }

  follow() {
    if (this.stuck && this.live) this.scrollDown();
  }

  scrollDown() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
