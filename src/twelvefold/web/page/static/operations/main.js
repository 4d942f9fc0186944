// The entry point of the operations page. The address has the view, what it shows, and its filters:
// `#runs?status=failed`, `#runs/resp_…`.
import { announce } from "../announce.js";
import { byId, h, put } from "../dom.js";
import { listenToErrors, showError, withErrors } from "../errors.js";
import { deleteKey, keepLoginOpen, key } from "../key.js";
import { listenToShortcuts } from "../shortcuts.js";
import * as admin from "./admin.js";
import { Budgets } from "./budgets.js";
import { Inbox } from "./inbox.js";
import { Keys } from "./keys.js";
import { Outbox } from "./outbox.js";
import { Run } from "./run.js";
import { Runs } from "./runs.js";
import { Usage } from "./usage.js";
import { Workers } from "./workers.js";

/** The views in the order of the navigation, each with its letter for Alt and the path that it needs. */
const VIEWS = {
  runs: { View: Runs, Detail: Run, key: "R", path: "runs" },
  inbox: { View: Inbox, key: "I", path: "inbox" },
  outbox: { View: Outbox, key: "O", path: "outbox" },
  workers: { View: Workers, key: "W", path: "workers" },
  usage: { View: Usage, key: "U", path: "usage" },
  keys: { View: Keys, key: "K", path: "keys" },
  budgets: { View: Budgets, key: "B", path: "budgets" },
};
const POLL_MS = 3000;
let paths = new Set();
let view = null;
let shown = {}; // the place that the view shows
let staleView = null; // the view whose last poll failed
let views = {}; // those whose path the server has

function placeOf(hash) {
  const [path, query = ""] = hash.slice(1).split("?");
  const [name, id = ""] = path.split("/");
  return { name: Object.hasOwn(views, name) ? name : "runs", id, query: Object.fromEntries(new URLSearchParams(query)) };
}

const page = {
  /** Set the heading, and the title of the window. */
  setTitle(...contents) {
    put(byId("title"), ...contents);
    document.title = `${byId("title").textContent} · Twelvefold`;
  },
  /** Put the values of the filters into the address, which applies them. */
  setQuery(values) {
    location.hash = `${shown.name}?${new URLSearchParams(values)}`;
  },
  showError,
  withErrors,
  /** Whether the server has a path below `v1/admin`. */
  has: (path) => paths.has(path),
};

async function openFromAddress() {
  const place = placeOf(location.hash);
  const isSame = view && place.name === shown.name && place.id === shown.id;
  shown = place;
  showError(null);
  if (!isSame) startView(place);
  const opened = view;
  byId("content").setAttribute("aria-busy", "true");
  try {
    await opened.open(place);
  } catch (error) {
    if (opened === view) showError(error);
  }
  if (opened === view) byId("content").removeAttribute("aria-busy");
}

function startView({ name, id }) {
  const isFirst = view === null;
  view?.close();
  const { View, Detail } = views[name];
  const Shown = id ? (Detail ?? View) : View;
  const element = h("div", { class: `view ${Shown.name.toLowerCase()}` });
  byId("content").replaceChildren(element);
  page.setTitle(Shown.title);
  view = new Shown(element, page);
  markCurrent(name);
  if (isFirst) return;
  byId("title").focus();
  announce(Shown.title);
}

function markCurrent(name) {
  byId("views").querySelector("[aria-current]")?.removeAttribute("aria-current");
  const link = byId("views").querySelector(`a[href="#${name}"]`);
  link.setAttribute("aria-current", "page");
  link.scrollIntoView({ block: "nearest", inline: "center" });
}

async function refresh() {
  await withErrors(view.read());
  announce("Refreshed");
}

/** Read a view that changes by itself again. An error is shown until a read succeeds. */
async function poll() {
  if (document.visibilityState !== "visible" || document.querySelector("dialog[open]") || !view?.isLive) return;
  const polled = view;
  try {
    await polled.read();
    if (polled === view && staleView === view) showError(null);
    staleView = null;
  } catch (error) {
    if (polled === view && staleView !== view) showError(error);
    staleView = polled;
  }
}

/** Show the views that the server has: during an upgrade an older release may serve the page. */
async function showNavigation() {
  paths = await admin.paths();
  views = Object.fromEntries(Object.entries(VIEWS).filter(([, { path }]) => paths.has(path)));
  const link = ([name, { View }]) => h("li", {}, h("a", { href: `#${name}` }, View.title));
  put(byId("views"), Object.entries(views).map(link));
  const letters = Object.values(views).map(({ View, key: letter }) => [letter, View.title]);
  const rows = [...letters, ["S", "Go to the first filter"], ["/", "Show this list"]];
  const row = ([letter, text]) => h("div", {}, h("dt", {}, h("kbd", {}, "Alt"), " ", h("kbd", {}, letter)), h("dd", {}, text));
  put(byId("shortcut-list"), rows.map(row));
}

function listen() {
  listenToErrors();
  addEventListener("hashchange", openFromAddress);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is that of the view
    byId("title").focus();
  });
  byId("refresh").addEventListener("click", refresh);
  byId("show-shortcuts").addEventListener("click", () => byId("shortcuts").showModal());
  byId("log-out").addEventListener("click", () => {
    deleteKey();
    location.reload();
  });
  listenToShortcuts({
    ...Object.fromEntries(Object.entries(views).map(([name, one]) => [`Key${one.key}`, () => (location.hash = name)])),
    KeyS: () => byId("content").querySelector(".filters :is(input, select)")?.focus(),
    Slash: () => byId("shortcuts").showModal(),
  });
}

async function start() {
  keepLoginOpen();
  await withErrors(showNavigation());
  listen();
  await openFromAddress();
  byId("log-out").hidden = !key();
  setInterval(poll, POLL_MS);
}

await start();
