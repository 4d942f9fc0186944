// The panels: three side by side, or one at a time on a narrow screen. The journal can be hidden.
import { byId } from "./dom.js";

const root = document.documentElement;
const NAME = "twelvefold.journal";

/** Show a panel on a narrow screen: `list`, `chat` or `journal`. */
export function showPanel(panel) {
  root.dataset.panel = panel;
  if (panel === "journal") setJournal(true);
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.setAttribute("aria-pressed", String(tab.dataset.panel === panel));
  }
}

export const isNarrow = () => getComputedStyle(byId("tabs")).display !== "none";

function setJournal(shown) {
  root.dataset.journal = shown ? "shown" : "hidden";
  byId("journal-toggle").setAttribute("aria-pressed", String(shown));
}

export function toggleJournal() {
  const shown = root.dataset.journal === "hidden";
  localStorage.setItem(NAME, shown ? "shown" : "hidden");
  setJournal(shown);
}

export function initPanels() {
  setJournal(localStorage.getItem(NAME) !== "hidden");
  byId("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("button");
    if (tab) showPanel(tab.dataset.panel);
  });
  byId("journal-toggle").addEventListener("click", toggleJournal);
  showPanel("chat");
}
