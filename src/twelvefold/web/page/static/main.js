// The page's entry point: connects its parts. The address has the open conversation: `#conv_…`.
import * as api from "./api.js";
import { announce } from "./announce.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, h, put } from "./dom.js";
import { listenToErrors, sentence, showError, withErrors } from "./errors.js";
import { escape } from "./escape.js";
import { Family } from "./family.js";
import { Journal } from "./journal.js";
import { deleteKey, keepLoginOpen, key } from "./key.js";
import { ConversationList } from "./list.js";
import { OpenQuestions } from "./open_questions.js";
import { initPanels, isNarrow, showPanel, toggleJournal } from "./panels.js";
import { Question } from "./question.js";
import { listenToShortcuts } from "./shortcuts.js";
import { reconnectNow } from "./stream.js";
import { Thread } from "./thread.js";

const family = new Family({
  onEntries: (entries, child) => {
    thread.applyEntries(entries, child);
    if (childJournal.id === child.id) showChildJournal(child.id);
    render();
  },
});
const thread = new Thread(byId("thread"), byId("scroller"), byId("scroll-to-end"), {
  answer,
  addRuns: (entry) => family.add(entry),
});
const list = new ConversationList({
  list: byId("conversations"),
  more: byId("load-more"),
  empty: byId("no-conversations"),
});
const journal = new Journal(
  { list: byId("entries"), totals: byId("totals"), empty: byId("no-entries") },
  { fork, onEntries: applyEntries },
);
const childJournal = new Journal(
  { list: byId("child-entries"), totals: byId("child-totals"), empty: byId("no-child-entries") },
  { fork: null, onEntries: () => {} },
);
const conversation = new Conversation(thread, {
  onChange: render,
  onEvent,
  onConnection: showConnection,
  onCreated: (id) => {
    history.pushState(null, "", `#${id}`);
    journal.show(id);
    list.select(id);
    family.clear(id);
  },
  onAnswered: () => family.refresh(),
  onReload: () => {
    family.clear(conversation.id);
    journal.show(null);
    journal.show(conversation.id);
  },
});
const composer = new Composer(
  {
    form: byId("composer"),
    field: byId("message"),
    button: byId("send"),
    hint: byId("hint"),
    attachments: { list: byId("attachments"), input: byId("files"), button: byId("attach"), target: byId("chat") },
  },
  { send: sendMessage, stop, onError: showError },
);

const questions = new OpenQuestions({
  isOwn: (id) => list.has(id),
  onAnswered: () => conversation.refresh().catch(() => {}),
});

/** The models of the server by name, each with `accepts` and `examples`. */
const modelsByName = new Map();

// Actions of the user

async function sendMessage(text, parts = []) {
  showError(null);
  try {
    await conversation.sendMessage(text, parts, byId("model").value);
  } catch (error) {
    showError(error);
    if (!conversation.isSent) composer.restore(text, parts);
    // Another client has continued the conversation: show its response.
    if (error.status === 409) conversation.refresh().catch(() => {});
  } finally {
    readList().catch(showError);
  }
}

/** Answer a request or a question. Its form shows the problems of the answer itself. */
async function answer(item) {
  showError(null);
  try {
    await conversation.answer(item);
  } catch (error) {
    if (error.status !== 400) showError(error);
    throw error;
  }
}

async function stop() {
  if (conversation.isBusy && conversation.id) await withErrors(conversation.cancel());
}

async function fork(position) {
  const created = await withErrors(api.forkConversation(conversation.id, position));
  location.hash = created.id;
  showPanel("chat");
  announce(`New conversation, forked from step ${position}`);
  byId("message").focus();
}

function startNew() {
  if (location.hash) location.hash = "";
  else openFromAddress();
  showPanel("chat");
  byId("message").focus();
}

async function deleteConversation() {
  if (!confirm("Delete this conversation? The effects of its tools remain.")) return;
  await withErrors(api.deleteConversation(conversation.id));
  startNew();
  await readList();
}

async function openFromAddress() {
  showError(null);
  showConnection(null);
  const [id, child = null] = location.hash ? location.hash.slice(1).split("/") : [null];
  showChildJournal(child);
  if (id !== null && id === conversation.id) return;
  family.clear(id);
  journal.show(id);
  list.select(id);
  if (!id) return conversation.startNew();
  try {
    await conversation.open(id);
    await readList();
  } catch (error) {
    if (error.status === 404) conversation.startNew();
    showError(error);
  }
}

/** Show the journal of a run that the conversation has started; null shows the conversation's. */
function showChildJournal(id) {
  byId("own-journal").hidden = id !== null;
  byId("child-journal").hidden = id === null;
  byId("totals").hidden = id !== null;
  byId("child-totals").hidden = id === null;
  byId("journal-back").hidden = id === null;
  byId("journal-back").href = `#${location.hash.slice(1).split("/")[0]}`;
  put(byId("journal-title"), id === null ? "Journal" : `Journal of ${family.name(id) || "a sub-workflow"}`);
  childJournal.show(id);
}

/** Pass entries of the conversation's journal to its thread. */
function applyEntries(entries) {
  const before = thread.waitingText;
  thread.applyEntries(entries);
  if (thread.waitingText && thread.waitingText !== before) announce(thread.waitingText);
  render();
}

// State of the page

async function readList() {
  await list.read();
  render(); // the list has the title
  await questions.count();
}

function composerState({ isStopping, isBusy, isWaiting }) {
  if (isStopping) return "stopping";
  if (isBusy) return "busy";
  return isWaiting ? "waiting" : "ready";
}

/** Return which form has to be answered first, "" if there is none. */
function hintText() {
  const form = thread.openForm;
  if (!form || !(conversation.isBusy || conversation.isWaiting)) return "";
  return form instanceof Question ? "Answer the question above first." : "Allow or deny the request above first.";
}

function workingText() {
  if (thread.openForm) return "Waiting for your answer";
  return thread.waitingText || "Working";
}

function render() {
  const { isBusy, resource, id } = conversation;
  composer.setState(composerState(conversation), hintText());
  byId("attach").hidden = !modelsByName.get(resource?.model || byId("model").value)?.accepts.length;
  thread.isStreaming = isBusy;
  byId("welcome").hidden = !thread.isEmpty || isBusy || id !== null;
  byId("working").hidden = !isBusy || thread.list.querySelector(".streaming") !== null;
  put(byId("working-text"), workingText());
  byId("working").classList.toggle("waits", workingText() !== "Working");
  byId("scroller").setAttribute("aria-busy", String(isBusy));
  const title = (id && (list.title(id) || resource?.title)) || "New conversation";
  put(byId("title"), title);
  document.title = id ? `${escape(title)} · Twelvefold` : "Twelvefold";
  byId("delete").hidden = !id || isBusy;
}

/** Read the journal, and the list when a response begins or ends. */
function onEvent(event) {
  journal.scheduleRead();
  if (event.type.startsWith("response.c") || event.type.startsWith("response.f")) readList().catch(() => {});
  thread.followEnd();
}

/** Show that the connection is lost; null hides it. */
function showConnection(error) {
  byId("connection").hidden = !error;
  put(byId("connection-text"), error ? `${sentence(error.message)} Nothing is lost. Reconnecting.` : "");
}

async function showModels() {
  const models = await api.models();
  const names = models.map((model) => model.id);
  models.forEach((model) => modelsByName.set(model.id, model));
  byId("model").replaceChildren(...names.map((name) => h("option", { value: name }, escape(name))));
  byId("model-choice").hidden = names.length < 2;
  byId("model").addEventListener("change", () => (showExamples(), render()));
  showExamples();
}

function showExamples() {
  const { examples } = modelsByName.get(byId("model").value);
  byId("examples").replaceChildren(
    ...examples.map((text) => h("li", {}, h("button", { type: "button", onclick: () => sendMessage(text) }, text))),
  );
  byId("examples-title").hidden = !examples.length;
}

function listen() {
  listenToErrors();
  addEventListener("hashchange", openFromAddress);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    readList().catch(() => {});
    conversation.refresh().catch(() => {});
  });
  byId("thread").addEventListener("expired", () => conversation.refresh().catch(() => {}));
  byId("thread").addEventListener("click", (event) => {
    if (event.target.closest(".tree a")) showPanel("journal");
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is that of the conversation
    byId("message").focus();
  });
  byId("new").addEventListener("click", startNew);
  byId("delete").addEventListener("click", deleteConversation);
  byId("retry").addEventListener("click", reconnectNow);
  byId("show-questions").addEventListener("click", () => questions.open());
  byId("show-shortcuts").addEventListener("click", () => byId("shortcuts").showModal());
  byId("log-out").addEventListener("click", () => {
    deleteKey();
    location.reload();
  });
  byId("conversations").addEventListener("click", (event) => {
    if (!event.target.closest("a")) return;
    showPanel("chat");
    if (isNarrow()) byId("scroller").focus();
  });
  listenToShortcuts({
    KeyN: startNew,
    KeyL: () => focusPanel("list", "#conversations a[aria-current]", "#conversations a", "#new"),
    KeyC: () => focusPanel("chat", "#message"),
    KeyJ: () => (isNarrow() ? focusPanel("journal", "#entries summary") : toggleJournal()),
    KeyQ: () => void questions.open(),
    KeyA: () => (showPanel("chat"), thread.openForm?.focus()),
    Slash: () => byId("shortcuts").showModal(),
    Escape: () => (conversation.isBusy ? void stop() : false),
  });
}

/** Show a panel and focus the first of these selectors that has an element. */
function focusPanel(panel, ...selectors) {
  showPanel(panel);
  selectors.map((selector) => document.querySelector(selector)).find((element) => element)?.focus();
}

async function showOperations() {
  byId("operations").hidden = !(await api.isOperator());
}

async function start() {
  initPanels();
  keepLoginOpen();
  listen();
  await withErrors(showModels());
  byId("log-out").hidden = !key();
  await Promise.all([withErrors(readList()), openFromAddress(), showOperations()]);
}

await start();
