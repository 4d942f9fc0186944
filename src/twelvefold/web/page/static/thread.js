// The items of a conversation as elements. Items are keyed by id, so an item that arrives both from
// the list and from the stream is shown once.
import { Approval } from "./approval.js";
import { Call } from "./call.js";
import { h } from "./dom.js";
import { Message } from "./message.js";

const NEAR_END_PX = 96;

export class Thread {
  /** `scroller` contains `list`; `answer(request, approve, reason)` answers a request for approval. */
  constructor(list, scroller, scrollButton, answer) {
    this.list = list;
    this.scroller = scroller;
    this.scrollButton = scrollButton;
    this.answer = answer;
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
    this.list.replaceChildren();
    this.isAtEnd = true;
  }

  get isEmpty() {
    return !this.list.childElementCount;
  }

  /** The approval that waits for an answer, if there is one. */
  get openApproval() {
    return [...this.views.values()].findLast((view) => view instanceof Approval && view.isOpen);
  }

  /** Add or update an item. Returns its view; null for an item that is not shown. */
  put(item) {
    const id = item.type.startsWith("function_call") ? item.call_id : item.id;
    const existing = this.views.get(id);
    if (item.type === "mcp_approval_response") {
      this.views.get(item.approval_request_id)?.close(item.approve, item.reason ?? "");
      return null;
    }
    if (existing) {
      existing.put(item.type === "function_call_output" ? { ...item, status: "completed" } : item);
      return existing;
    }
    const view = this.createView(item);
    if (view) {
      this.views.set(id, view);
      if (view instanceof Call && this.entries.has(id)) view.applyEntry(this.entries.get(id));
      this.appendView(view);
    }
    return view;
  }

  createView(item) {
    switch (item.type) {
      case "message":
        return new Message(item);
      case "mcp_call":
      case "function_call":
        return new Call(item);
      case "mcp_approval_request":
        return new Approval(item, (approve, reason) => this.answer(item.id, approve, reason));
      default:
        return null; // for example reasoning
    }
  }

  appendView(view) {
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

  /** Pass journal entries to their calls. The journal may be ahead of the stream. */
  applyEntries(entries) {
    for (const entry of entries) {
      if (entry.type !== "ToolSucceeded" && entry.type !== "ToolFailed") continue;
      this.entries.set(entry.item, entry);
      const view = this.views.get(entry.item);
      if (view instanceof Call) view.applyEntry(entry);
    }
  }

  closeApprovals() {
    for (const view of this.views.values()) {
      if (view instanceof Approval && view.isOpen) view.close(null);
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
