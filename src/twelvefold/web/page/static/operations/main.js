// The entry point of the operations page. The address has the view, what it shows, and its filters:
// `#runs?status=failed`, `#runs/resp_…`.
import { announce } from "../announce.js";
import { byId, h, put } from "../dom.js";
import { listenToErrors, showError, withErrors } from "../errors.js";
import { deleteKey, keepLoginOpen, key } from "../key.js";
import { listenToShortcuts } from "../shortcuts.js";
import { Runs } from "./runs.js";

/** The views in the order of the navigation; `key` is the letter that opens it with Alt. */
const VIEWS = {
  runs: { View: Runs, key: "R" },
};
const POLL_MS = 3000;
const SHORTCUTS = [
  ...Object.values(VIEWS).map(({ View, key: letter }) => [letter, View.title]),
  ["S", "Go to the first filter"],
  ["/", "Show this list"],
];
let view = null;
let shown = {}; // the place that the view shows

function placeOf(hash) {
  const [path, query = ""] = hash.slice(1).split("?");
  const [name, id = ""] = path.split("/");
  return { name: Object.hasOwn(VIEWS, name) ? name : "runs", id, query: Object.fromEntries(new URLSearchParams(query)) };
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

function startView({ name }) {
  const isFirst = view === null;
  view?.close();
  const Shown = VIEWS[name].View;
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

/** Read a view that changes by itself again. */
async function poll() {
  if (document.visibilityState !== "visible" || document.querySelector("dialog[open]") || !view?.isLive) return;
  await view.read().catch(() => {});
}

function showNavigation() {
  const link = ([name, { View }]) => h("li", {}, h("a", { href: `#${name}` }, View.title));
  put(byId("views"), Object.entries(VIEWS).map(link));
  const row = ([letter, text]) => h("div", {}, h("dt", {}, h("kbd", {}, "Alt"), " ", h("kbd", {}, letter)), h("dd", {}, text));
  put(byId("shortcut-list"), SHORTCUTS.map(row));
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
    ...Object.fromEntries(Object.entries(VIEWS).map(([name, one]) => [`Key${one.key}`, () => (location.hash = name)])),
    KeyS: () => byId("content").querySelector(".filters :is(input, select)")?.focus(),
    Slash: () => byId("shortcuts").showModal(),
  });
}

async function start() {
  keepLoginOpen();
  showNavigation();
  listen();
  await openFromAddress();
  byId("log-out").hidden = !key();
  setInterval(poll, POLL_MS);
}

await start();
