// The API key of this browser tab, in its session storage.
import { byId, put } from "./dom.js";

const NAME = "twelvefold.key";
let pendingLogin = null;

export const key = () => sessionStorage.getItem(NAME) ?? "";

export function deleteKey() {
  sessionStorage.removeItem(NAME);
}

/** Show the login dialog with the server's error; concurrent callers share one dialog. */
export function requestKey(error) {
  pendingLogin ??= showLogin(error).finally(() => {
    pendingLogin = null;
  });
  return pendingLogin;
}

function showLogin(error) {
  const dialog = byId("login");
  const field = byId("key");
  put(byId("login-error"), key() ? error : "");
  field.value = "";
  if (!dialog.open) dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    byId("login-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(NAME, field.value.trim());
        dialog.close();
        resolve();
      },
      { once: true },
    );
  });
}

/** Prevent Escape from closing the login dialog: without a key the page shows nothing. */
export function keepLoginOpen() {
  byId("login").addEventListener("cancel", (event) => event.preventDefault());
}
