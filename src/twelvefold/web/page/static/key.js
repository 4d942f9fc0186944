// The API key of this browser tab: asked for when the server wants one, forgotten with the tab.
import { byId, put } from "./dom.js";

const NAME = "twelvefold.key";
let asking = null;

export const key = () => sessionStorage.getItem(NAME) ?? "";

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** Ask for a key until one is given; `why` is what the server said. Asked once for all callers. */
export function askForKey(why) {
  asking ??= ask(why).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(why) {
  const dialog = byId("login");
  const field = byId("key");
  put(byId("login-why"), key() ? why : "");
  field.value = "";
  if (!dialog.open) dialog.showModal();
  field.focus();
  return new Promise((given) => {
    byId("login-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(NAME, field.value.trim());
        dialog.close();
        given();
      },
      { once: true },
    );
  });
}

/** Without a key there is nothing to show, so Escape does not close the question. */
export function keepLoginOpen() {
  byId("login").addEventListener("cancel", (event) => event.preventDefault());
}
