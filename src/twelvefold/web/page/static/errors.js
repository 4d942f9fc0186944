// The error that a page shows, in its element `error`.
import { ApiError } from "./api.js";
import { byId, put } from "./dom.js";

/** Show an error; null hides it. */
export function showError(error) {
  byId("error").hidden = !error;
  put(byId("error-text"), error ? sentence(error.message) : "");
}

export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** Show the error of a promise, and throw it. */
export async function withErrors(promise) {
  showError(null);
  try {
    return await promise;
  } catch (error) {
    showError(error);
    throw error;
  }
}

export function listenToErrors() {
  byId("dismiss").addEventListener("click", () => showError(null));
  // The page has shown this error, so the console does not report it again.
  addEventListener("unhandledrejection", (event) => event.reason instanceof ApiError && event.preventDefault());
}
