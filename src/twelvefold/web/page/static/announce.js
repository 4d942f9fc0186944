// Announcements for screen readers: sentences, never the pieces of a streamed text.
import { byId, put } from "./dom.js";

const BATCH_MS = 250;
const CLEAR_AFTER_MS = 8000;
let queue = [];
let timer = 0;

/** Announce a sentence. Sentences within 250 ms are announced together. */
export function announce(text) {
  queue.push(text);
  clearTimeout(timer);
  timer = setTimeout(() => {
    put(byId("announcer"), queue.join(". "));
    queue = [];
    // Cleared, so that a screen reader that reads the page from top to bottom does not repeat it.
    timer = setTimeout(() => byId("announcer").replaceChildren(), CLEAR_AFTER_MS);
  }, BATCH_MS);
}
