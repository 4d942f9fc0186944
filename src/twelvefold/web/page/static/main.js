// The page: its parts brought together. `#conv_…` in the address says what is open.
import * as api from "./api.js";
import { announce } from "./announce.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, h, put } from "./dom.js";
import { escape } from "./escape.js";
import { wishesFor } from "./examples.js";
import { Journal } from "./journal.js";
import { forgetKey, keepLoginOpen, key } from "./key.js";
import { List } from "./list.js";
import { isNarrow, openPanels, showPanel, toggleJournal } from "./panels.js";
import { listenToKeys } from "./shortcuts.js";
import { retryNow } from "./stream.js";
import { Thread } from "./thread.js";

const answer = (request, yes, reason) => guarded(conversation.answer(request, yes, reason));
const thread = new Thread(byId("thread"), byId("scroller"), byId("latest"), answer);
const list = new List({ list: byId("conversations"), more: byId("older"), empty: byId("no-conversations") });
const journal = new Journal(
  { list: byId("entries"), totals: byId("totals"), empty: byId("no-entries") },
  { fork, onEntries: (entries) => thread.note(entries) },
);
const conversation = new Conversation(thread, {
  changed: show,
  heard,
  line: showLine,
  created: (id) => {
    history.pushState(null, "", `#${id}`);
    journal.show(id);
    list.mark(id);
  },
});
const composer = new Composer(
  { form: byId("composer"), field: byId("say"), button: byId("send"), hint: byId("hint") },
  { send: say, stop },
);

// What a person does

async function say(text) {
  showError(null);
  try {
    await conversation.say(text, byId("model").value);
  } catch (error) {
    showError(error);
    if (!conversation.sent) composer.giveBack(text);
    // Another tab or person was quicker: show what they are about.
    if (error.status === 409) conversation.refresh().catch(() => {});
  } finally {
    readList().catch(showError);
  }
}

async function stop() {
  if (conversation.busy && conversation.id) await guarded(conversation.cancel());
}

async function fork(position) {
  const made = await guarded(api.forkConversation(conversation.id, position));
  location.hash = made.id;
  showPanel("chat");
  announce(`A new conversation that goes on from step ${position}`);
  byId("say").focus();
}

function startNew() {
  if (location.hash) location.hash = "";
  else openFromAddress();
  showPanel("chat");
  byId("say").focus();
}

async function remove() {
  if (!confirm("Delete this conversation? What it has done stays done.")) return;
  await guarded(api.deleteConversation(conversation.id));
  startNew();
  await readList();
}

async function openFromAddress() {
  showError(null);
  showLine(null);
  const id = location.hash.slice(1) || null;
  journal.show(id);
  list.mark(id);
  if (!id) return conversation.startNew();
  try {
    await conversation.open(id);
    await readList();
  } catch (error) {
    if (error.status === 404) conversation.startNew();
    showError(error);
  }
}

// What the page shows

async function readList() {
  await list.read();
  show(); // the title may have come with it
}

function show() {
  const { busy, cancelling, waits, about, id } = conversation;
  const state = cancelling ? "stopping" : busy ? "busy" : waits ? "waits" : "ready";
  composer.show(state);
  thread.live = busy;
  byId("welcome").hidden = !thread.empty || busy || id !== null;
  byId("working").hidden = !busy || thread.list.querySelector(".streams") !== null;
  byId("scroller").setAttribute("aria-busy", String(busy));
  const title = id ? list.title(id) || about?.title || "New conversation" : "New conversation";
  put(byId("title"), title);
  document.title = id ? `${escape(title)} · Twelvefold` : "Twelvefold";
  byId("delete").hidden = !id || busy;
}

function heard(event) {
  journal.look();
  if (event.type.startsWith("response.c") || event.type.startsWith("response.f")) readList().catch(() => {});
  thread.follow();
}

/** Say what is wrong, null for nothing. */
function showError(error) {
  byId("error").hidden = !error;
  put(byId("error-text"), error ? sentence(error.message) : "");
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** Say that the connection is lost, null when it is there. */
function showLine(error) {
  byId("line").hidden = !error;
  put(byId("line-text"), error ? `${sentence(error.message)} Nothing is lost; trying again.` : "");
}

async function guarded(doing) {
  showError(null);
  try {
    return await doing;
  } catch (error) {
    showError(error);
    throw error;
  }
}

async function showModels() {
  const names = (await api.models()).map((model) => model.id);
  byId("model").replaceChildren(...names.map((name) => h("option", { value: name }, escape(name))));
  byId("model-choice").hidden = names.length < 2;
  byId("model").addEventListener("change", showWishes);
  showWishes();
}

function showWishes() {
  const wishes = wishesFor(byId("model").value);
  byId("wishes").replaceChildren(
    ...wishes.map((wish) => h("li", {}, h("button", { type: "button", onclick: () => say(wish) }, wish))),
  );
  byId("wishes-title").hidden = !wishes.length;
}

function listen() {
  addEventListener("hashchange", openFromAddress);
  // An error that was shown where it happened needs no second line in the console.
  addEventListener("unhandledrejection", (event) => event.reason instanceof api.ApiError && event.preventDefault());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    readList().catch(() => {});
    conversation.refresh().catch(() => {});
  });
  byId("new").addEventListener("click", startNew);
  byId("delete").addEventListener("click", remove);
  byId("retry").addEventListener("click", retryNow);
  byId("dismiss").addEventListener("click", () => showError(null));
  byId("keys").addEventListener("click", () => byId("shortcuts").showModal());
  byId("forget").addEventListener("click", () => {
    forgetKey();
    location.reload();
  });
  byId("conversations").addEventListener("click", (event) => {
    if (!event.target.closest("a")) return;
    showPanel("chat");
    if (isNarrow()) byId("scroller").focus();
  });
  listenToKeys({
    KeyN: startNew,
    KeyL: () => focusPanel("list", "#conversations a[aria-current]", "#conversations a", "#new"),
    KeyC: () => focusPanel("chat", "#say"),
    KeyJ: () => (isNarrow() ? focusPanel("journal", "#entries summary") : toggleJournal()),
    KeyA: () => (showPanel("chat"), thread.asked?.focus()),
    Slash: () => byId("shortcuts").showModal(),
    Escape: () => (conversation.busy ? void stop() : false),
  });
}

/** Bring a panel to the front, and the focus to the first of these that is there. */
function focusPanel(panel, ...wanted) {
  showPanel(panel);
  wanted.map((one) => document.querySelector(one)).find((one) => one)?.focus();
}

async function begin() {
  openPanels();
  keepLoginOpen();
  listen();
  await guarded(showModels());
  byId("forget").hidden = !key();
  await Promise.all([guarded(readList()), openFromAddress()]);
}

await begin();
