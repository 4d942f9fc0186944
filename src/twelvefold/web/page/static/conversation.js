// The open conversation: loads it, sends messages, follows its response, cancels it.
import * as api from "./api.js";
import { announce } from "./announce.js";
import { deletePending, loadPending, newIdempotencyKey, savePending } from "./pending.js";
import { isQuestion } from "./question.js";
import { responseEvents } from "./stream.js";

const ACTIVE = new Set(["queued", "running"]);
const INCOMPLETE_REASONS = {
  max_output_tokens: "a limit on its length or on the number of its steps was reached",
  content_filter: "the model's provider withheld the rest",
};

const inputOf = (content) => (typeof content === "string" ? content : [{ role: "user", content }]);

/**
 * `listener` has six callbacks: `onChange()` after a change of state, `onEvent(event)` when the
 * journal has grown, `onConnection(error)` when the connection is lost (null when it is back),
 * `onCreated(id)` when a new conversation has its id, `onAnswered()` after an answer for a
 * sub-workflow, and `onReload()` when the same conversation is loaded again, without its journal.
 */
export class Conversation {
  constructor(thread, listener) {
    this.thread = thread;
    this.listener = listener;
    this.close();
  }

  /** Stop following the conversation. Its run continues on the server. */
  close() {
    this.controller?.abort();
    this.controller = null;
    this.resource = null; // the conversation object of the API
    this.isBusy = false;
    this.isStopping = false;
  }

  get id() {
    return this.resource?.id ?? null;
  }

  get isWaiting() {
    return this.resource?.status === "waiting" && !this.isBusy;
  }

  startNew() {
    this.close();
    this.thread.clear();
    this.listener.onChange();
  }

  /** Load a conversation and follow its active response. */
  async open(id) {
    const isReload = this.id === id;
    this.close();
    const controller = (this.controller = new AbortController());
    const [resource, items] = await Promise.all([api.readConversation(id), api.items(id)]);
    if (controller.signal.aborted) return;
    this.thread.clear();
    this.resource = resource;
    if (isReload) this.listener.onReload();
    items.forEach((item) => this.thread.put(item));
    this.thread.scrollToEnd();
    this.listener.onChange();
    await this.resume(controller);
  }

  async resume(controller) {
    const { status, response } = this.resource;
    const pending = loadPending(this.id);
    if (ACTIVE.has(status)) {
      deletePending(this.id);
      return this.follow({ id: response }, controller);
    }
    if (pending) return this.resend(pending, controller);
    // What it waits for is no answer to a form of its own: a time, an event, or other runs.
    if (status === "waiting" && response && !this.thread.openForm) return this.follow({ id: response }, controller);
    if (status !== "waiting") this.thread.closeForms();
    if (response && status !== "completed") {
      this.showOutcome(await api.response(response));
      this.listener.onChange();
    }
  }

  /** Send again the request that a reload interrupted; the server executes it once. */
  async resend(pending, controller) {
    const { input } = JSON.parse(pending.body);
    const content = typeof input === "string" ? input : input[0].content;
    const node = content ? this.thread.addUserMessage(content) : null;
    const last = this.resource.response;
    try {
      await this.follow(pending, controller, (response) => response === last && node?.remove());
    } catch (error) {
      if (error.code !== "approval_not_pending") throw error;
      await this.open(this.id); // the answer had arrived
    }
  }

  /** Send a message; the first one creates the conversation. `parts` are images and files. */
  async sendMessage(text, parts, model) {
    const content = parts.length ? [...(text ? [{ type: "input_text", text }] : []), ...parts] : text;
    const node = this.thread.addUserMessage(content);
    this.isBusy = true;
    this.isSent = false;
    this.listener.onChange();
    try {
      if (!this.resource) await this.create();
      await this.send(inputOf(content), this.resource.model || model);
    } catch (error) {
      // The user has opened another conversation, where this error does not belong.
      if (error.name === "AbortError") return;
      this.isBusy = false;
      if (!this.isSent) node.remove();
      throw error;
    } finally {
      this.listener.onChange();
    }
  }

  async create() {
    const { signal } = (this.controller = new AbortController());
    const resource = await api.createConversation();
    signal.throwIfAborted(); // the user has opened another conversation
    this.resource = resource;
    this.listener.onCreated(this.id);
  }

  /** Send the answer to a request for approval or a question, an item of the API. */
  async answer(item) {
    const id = item.approval_request_id ?? item.call_id;
    const close = () => this.thread.view(id)?.closeWith(item);
    try {
      if (this.isBusy) await this.answerBelow(item, close);
      else await this.send([item], this.resource.model, close);
    } catch (error) {
      if (error.code !== "approval_not_pending") throw error;
      announce("This request has already been answered");
      await this.open(this.id);
    }
  }

  /** Answer for a sub-workflow. The stream that is open shows what follows. */
  async answerBelow(item, onAccepted) {
    await api.sendAnswer({ model: this.resource.model, conversation: this.id, input: [item] }, newIdempotencyKey());
    onAccepted();
    this.listener.onAnswered();
  }

  async send(input, model, onCreated) {
    const body = JSON.stringify({ model, conversation: this.id, input, stream: true });
    const request = { body, key: newIdempotencyKey() };
    savePending(this.id, request);
    this.controller ??= new AbortController();
    await this.follow(request, this.controller, onCreated);
  }

  /** Apply the events of a response until its end; `source` as in `responseEvents`. */
  async follow(source, { signal }, onCreated = () => {}) {
    const onConnection = (error) => this.listener.onConnection(error);
    this.isBusy = true;
    this.isSent = false;
    this.listener.onChange();
    try {
      for await (const event of responseEvents(source, { signal, onConnection })) {
        if (event.type === "response.created") {
          this.isSent = true;
          deletePending(this.id);
          onCreated(event.response.id);
        }
        this.apply(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      deletePending(this.id);
      throw error;
    } finally {
      if (!signal.aborted) this.endResponse();
    }
  }

  endResponse() {
    this.isBusy = false;
    this.isStopping = false;
    this.listener.onConnection(null);
    this.listener.onChange();
  }

  apply(event) {
    switch (event.type) {
      case "response.created":
      case "response.in_progress": {
        const { id, model } = event.response;
        this.resource = { ...this.resource, response: id, status: "running", model };
        break;
      }
      case "response.output_item.added":
        this.addItem(event.item);
        break;
      case "response.output_text.delta":
        this.thread.view(event.item_id)?.append(event.delta);
        return; // the journal has no text deltas
      case "response.mcp_call_arguments.done":
        this.thread.view(event.item_id)?.showArguments(event.arguments);
        break;
      case "response.output_item.done":
        this.completeItem(event.item);
        break;
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
        this.showOutcome(event.response);
        break;
      default:
        return;
    }
    this.listener.onEvent(event);
    this.listener.onChange();
  }

  addItem(item) {
    this.thread.put(item);
    if (item.type === "mcp_call") announce(`${item.name} is running`);
  }

  completeItem(item) {
    const view = this.thread.put(item);
    if (item.type === "mcp_call") announce(`${item.name} ${item.status}`);
    if (item.type === "message" && item.status === "completed") announce(view.text);
    if (item.type === "mcp_approval_request") {
      announce(`${item.name} requires your approval. Press Alt A to go to the request`);
    }
    if (isQuestion(item)) announce(`${view.text} Press Alt A to answer`);
  }

  /** Record how a response ended, and add a notice unless it completed. */
  showOutcome(response) {
    const asks = response.output.some((item) => item.type === "mcp_approval_request" || isQuestion(item));
    const isWaiting = asks && response.status === "completed" && this.thread.openForm;
    const status = isWaiting ? "waiting" : response.status;
    this.resource = { ...this.resource, response: response.id, status };
    const reason = INCOMPLETE_REASONS[response.incomplete_details?.reason];
    switch (response.status) {
      case "failed":
        this.thread.addNotice(response.error?.message ?? "Run failed: no reason is recorded", "bad");
        break;
      case "cancelled":
        this.thread.addNotice("Stopped. Completed steps stay in effect.");
        break;
      case "incomplete":
        this.thread.addNotice(`Response incomplete: ${reason ?? "no reason is recorded"}.`);
    }
    if (response.status !== "completed") announce(this.thread.list.lastElementChild?.textContent ?? "");
  }

  async cancel() {
    this.isStopping = true;
    this.listener.onChange();
    try {
      await api.cancelConversation(this.id);
    } catch (error) {
      this.isStopping = false;
      this.listener.onChange();
      throw error;
    }
  }

  /** Reload the conversation if another client has continued it. */
  async refresh() {
    if (!this.id || this.isBusy) return;
    const { id, resource } = this;
    const current = await api.readConversation(id);
    const isChanged = current.response !== resource.response || ACTIVE.has(current.status);
    if (this.id === id && !this.isBusy && isChanged) await this.open(id);
  }
}
