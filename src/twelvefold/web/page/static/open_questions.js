// The questions that wait for this key's principal, also those of other principals' runs, in a dialog.
import * as api from "./api.js";
import { byId, h, put, quoted } from "./dom.js";
import { sentence } from "./errors.js";
import { shortTime } from "./format.js";
import { Question } from "./question.js";

/** Return the newest questions: none from a server of an older release, which has no such list. */
async function newestQuestions() {
  try {
    return await api.questions();
  } catch (error) {
    if (error.status !== 404) throw error;
    return { data: [], has_more: false };
  }
}

export class OpenQuestions {
  /**
   * `isOwn(id)` tells whether a conversation can be opened here; `onAnswered(question)` is called
   * after an answer.
   */
  constructor({ isOwn, onAnswered }) {
    this.isOwn = isOwn;
    this.onAnswered = onAnswered;
    this.dialog = byId("questions");
    this.list = byId("open-questions");
    this.more = byId("more-questions");
    this.problem = byId("questions-problem");
    this.cards = new Map();
    this.reads = 0;
    this.more.addEventListener("click", () => this.read([...this.cards.keys()].at(-1)));
    this.list.addEventListener("click", (event) => event.target.closest("a") && this.dialog.close());
  }

  async open() {
    this.dialog.showModal();
    await this.read();
    this.focusNext();
  }

  /** Show how many questions wait. The dialog does so itself while it is open. */
  async count() {
    if (this.dialog.open) return;
    const number = (this.reads += 1);
    const { data, has_more: hasMore } = await newestQuestions();
    // Another read that began later may have ended before.
    if (number === this.reads) this.showCount(data.length, hasMore);
  }

  /** Read the newest questions, or the page after the question `after`. */
  async read(after = null) {
    this.reads += 1;
    try {
      this.show(await api.questions(after), after);
      this.showProblem("");
    } catch (error) {
      this.showProblem(sentence(error.message));
    }
  }

  /** Show a page. A form that is shown already stays, with what was typed. */
  show({ data, has_more: hasMore }, after) {
    const shown = new Map(after ? this.cards : []);
    for (const question of data) shown.set(question.id, this.cards.get(question.id) ?? this.card(question));
    this.cards = shown;
    for (const [at, { node }] of [...shown.values()].entries()) {
      if (this.list.children[at] !== node) this.list.insertBefore(node, this.list.children[at] ?? null);
    }
    while (this.list.children.length > shown.size) this.list.lastElementChild.remove();
    this.more.hidden = !hasMore;
    byId("no-questions").hidden = shown.size > 0;
    this.showCount(this.openForms.length, hasMore);
  }

  card(question) {
    const { id, schema, workflow, conversation } = question;
    // The conversation may show the same question: its ids differ from those of this form.
    const item = { call_id: `open-${id}`, arguments: JSON.stringify({ question: question.question, schema }) };
    const form = new Question(item, (given) => this.answer(question, form, given.output));
    form.showUntil(question.expires_at);
    const link = this.isOwn(conversation) ? [" · ", h("a", { href: `#${conversation}` }, "Conversation")] : [];
    const about = [quoted(workflow), " · ", h("time", {}, shortTime(question.asked_at)), ...link];
    return { form, node: h("li", {}, h("p", { class: "about muted" }, about), form.group) };
  }

  async answer(question, form, output) {
    this.showProblem("");
    try {
      await api.answerQuestion(question.id, output);
    } catch (error) {
      if (error.status !== 400) this.showProblem(sentence(error.message));
      throw error;
    }
    form.closeWith({ output });
    this.showCount(this.openForms.length, !this.more.hidden);
    this.focusNext();
    this.onAnswered(question);
  }

  get openForms() {
    return [...this.cards.values()].map(({ form }) => form).filter((form) => form.isOpen);
  }

  focusNext() {
    const [form] = this.openForms;
    if (form) form.focus();
    else byId("close-questions").focus();
  }

  showProblem(text) {
    this.problem.hidden = !text;
    put(this.problem, text);
  }

  showCount(count, hasMore) {
    byId("show-questions").hidden = !count;
    put(byId("show-questions"), `Questions (${count}${hasMore ? "+" : ""})`);
  }
}
