// One conversation: opened, spoken in, followed wherever it is driven, cancelled, forked.
import * as api from "./api.js";
import { announce } from "./announce.js";
import { dropPending, keepPending, newKey, pending } from "./pending.js";
import { told } from "./stream.js";

const UNDER_WAY = new Set(["queued", "running"]);
const WHY_INCOMPLETE = {
  max_output_tokens: "a limit on the length or the number of its steps was reached",
  content_filter: "the model's provider withheld the rest",
};

/**
 * `page` is what it shows itself with:
 * `changed()` the state, `heard(event)` that the journal has grown, `line(error)` the connection,
 * `created(id)` the conversation got its id.
 */
export class Conversation {
  constructor(thread, page) {
    this.thread = thread;
    this.page = page;
    this.leave();
  }

  /** Stop listening; whatever runs on the server runs on. */
  leave() {
    this.listening?.abort();
    this.listening = null;
    this.about = null; // the conversation as the server describes it
    this.busy = false;
    this.cancelling = false;
  }

  get id() {
    return this.about?.id ?? null;
  }

  get waits() {
    return this.about?.status === "waiting" && !this.busy;
  }

  startNew() {
    this.leave();
    this.thread.clear();
    this.page.changed();
  }

  /** Show a conversation as it is, and follow what is under way in it. */
  async open(id) {
    this.leave();
    const here = (this.listening = new AbortController());
    const [about, items] = await Promise.all([api.readConversation(id), api.items(id)]);
    if (here.signal.aborted) return;
    this.thread.clear();
    this.about = about;
    items.forEach((item) => this.thread.put(item));
    this.thread.scrollDown();
    this.page.changed();
    await this.goOn(here);
  }

  async goOn(here) {
    const { status, response } = this.about;
    const unsent = pending(this.id);
    if (UNDER_WAY.has(status)) {
      dropPending(this.id);
      return this.follow({ id: response }, here);
    }
    if (unsent) return this.sendAgain(unsent, here);
    if (status !== "waiting") this.thread.closeApprovals();
    if (response && status !== "completed") {
      this.remarkOn(await api.response(response));
      this.page.changed();
    }
  }

  /** Send what a reload has interrupted; if the server has it already, this tells what it made. */
  async sendAgain(unsent, here) {
    const { input } = JSON.parse(unsent.body);
    const node = typeof input === "string" ? this.thread.say(input) : null;
    const last = this.about.response;
    try {
      await this.follow(unsent, here, (response) => response === last && node?.remove());
    } catch (error) {
      if (error.code !== "approval_not_pending") throw error;
      await this.open(this.id); // the answer had arrived
    }
  }

  /** Say something; the first words make the conversation. */
  async say(text, model) {
    const node = this.thread.say(text);
    this.busy = true;
    this.sent = false;
    this.page.changed();
    try {
      if (!this.about) await this.create();
      await this.send(text, this.about.model || model);
    } catch (error) {
      // Who has opened another conversation meanwhile has left this one, and its error with it.
      if (error.name === "AbortError") return;
      this.busy = false;
      if (!this.sent) node.remove();
      throw error;
    } finally {
      this.page.changed();
    }
  }

  async create() {
    const { signal } = (this.listening = new AbortController());
    const about = await api.createConversation();
    signal.throwIfAborted(); // another conversation was opened meanwhile
    this.about = about;
    this.page.created(this.id);
  }

  async answer(request, approve, reason) {
    const item = { type: "mcp_approval_response", approval_request_id: request, approve };
    try {
      await this.send([reason ? { ...item, reason } : item], this.about.model, () =>
        this.thread.view(request)?.answered(approve, reason),
      );
    } catch (error) {
      if (error.code !== "approval_not_pending") throw error;
      announce("It was answered already");
      await this.open(this.id);
    }
  }

  async send(input, model, begun) {
    const body = JSON.stringify({ model, conversation: this.id, input, stream: true });
    const begin = { body, key: newKey() };
    keepPending(this.id, begin);
    this.listening ??= new AbortController();
    await this.follow(begin, this.listening, begun);
  }

  async follow(begin, here, begun = () => {}) {
    const { signal } = here;
    this.busy = true;
    this.sent = false;
    this.page.changed();
    try {
      for await (const event of told(begin, { signal, onLine: (error) => this.page.line(error) })) {
        if (event.type === "response.created") {
          this.sent = true;
          dropPending(this.id);
          begun(event.response.id);
        }
        this.apply(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      dropPending(this.id);
      throw error;
    } finally {
      if (!signal.aborted) this.ended();
    }
  }

  ended() {
    this.busy = false;
    this.cancelling = false;
    this.page.line(null);
    this.page.changed();
  }

  apply(event) {
    switch (event.type) {
      case "response.created":
      case "response.in_progress":
        this.about = { ...this.about, response: event.response.id, status: "running", model: event.response.model };
        break;
      case "response.output_item.added":
        this.begun(event.item);
        break;
      case "response.output_text.delta":
        this.thread.view(event.item_id)?.append(event.delta);
        return; // the journal has no pieces of text
      case "response.mcp_call_arguments.done":
        this.thread.view(event.item_id)?.argue(event.arguments);
        break;
      case "response.output_item.done":
        this.done(event.item);
        break;
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
        this.remarkOn(event.response);
        break;
      default:
        return;
    }
    this.page.heard(event);
    this.page.changed();
  }

  begun(item) {
    this.thread.put(item);
    if (item.type === "mcp_call") announce(`${item.name} is running`);
  }

  done(item) {
    const view = this.thread.put(item);
    if (item.type === "mcp_call") announce(`${item.name} ${item.status}`);
    if (item.type === "message" && item.status === "completed") announce(view.text);
    if (item.type === "mcp_approval_request") {
      announce(`${item.name} waits for your approval. Alt A goes there`);
    }
  }

  /** What is to be said about how a response ended, if anything is. */
  remarkOn(response) {
    const asks = response.output.some((item) => item.type === "mcp_approval_request");
    const waits = asks && response.status === "completed" && this.thread.asked;
    this.about = { ...this.about, response: response.id, status: waits ? "waiting" : response.status };
    const reason = WHY_INCOMPLETE[response.incomplete_details?.reason];
    switch (response.status) {
      case "failed":
        this.thread.remark(response.error?.message ?? "Run failed: no reason is recorded", "bad");
        break;
      case "cancelled":
        this.thread.remark("Stopped. What was done until then is done.");
        break;
      case "incomplete":
        this.thread.remark(`The answer ends early: ${reason ?? "no reason was given"}.`);
    }
    if (response.status !== "completed") announce(this.thread.list.lastElementChild?.textContent ?? "");
  }

  async cancel() {
    this.cancelling = true;
    this.page.changed();
    try {
      await api.cancelConversation(this.id);
    } catch (error) {
      this.cancelling = false;
      this.page.changed();
      throw error;
    }
  }

  /** Look again, after the page was away: another tab or another person may have gone on. */
  async refresh() {
    if (!this.id || this.busy) return;
    const { id, about } = this;
    const now = await api.readConversation(id);
    const moved = now.response !== about.response || UNDER_WAY.has(now.status);
    if (this.id === id && !this.busy && moved) await this.open(id);
  }
}
