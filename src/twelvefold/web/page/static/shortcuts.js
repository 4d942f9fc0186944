// Keys: all with Alt, so that none is in the way of typing or of a screen reader's own.

/** `acts` by the key's place on the keyboard, which Alt does not change as it does the character. */
export function listenToKeys(acts) {
  document.addEventListener("keydown", (event) => {
    const plain = event.code === "Escape" && !event.altKey;
    const withAlt = event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const act = plain || withAlt ? acts[event.code] : null;
    if (!act || event.isComposing || document.querySelector("dialog[open]")) return;
    if (act(event) !== false) event.preventDefault();
  });
}
