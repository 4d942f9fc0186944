// Keyboard shortcuts. All use Alt, which does not conflict with typing or with screen readers.

/** Call `actions[code]` for a key. `code` is its physical key, because Alt changes the character. */
export function listenToShortcuts(actions) {
  document.addEventListener("keydown", (event) => {
    const plain = event.code === "Escape" && !event.altKey;
    const withAlt = event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const action = plain || withAlt ? actions[event.code] : null;
    if (!action || event.isComposing || document.querySelector("dialog[open]")) return;
    if (action(event) !== false) event.preventDefault();
  });
}
