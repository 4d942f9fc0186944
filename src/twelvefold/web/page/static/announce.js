// What a screen reader is told: whole sentences as things happen, never each piece of a text.
import { byId, put } from "./dom.js";

const PAUSE_MS = 250;
const KEPT_MS = 8000;
let waiting = [];
let timer = 0;

/** Say something when the reader has a moment; what comes close together is said together. */
export function announce(text) {
  waiting.push(text);
  clearTimeout(timer);
  timer = setTimeout(() => {
    put(byId("announcer"), waiting.join(". "));
    waiting = [];
    // Whoever reads through the page should not find it all a second time at its end.
    timer = setTimeout(() => byId("announcer").replaceChildren(), KEPT_MS);
  }, PAUSE_MS);
}
