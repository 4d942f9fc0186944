// Dialogs: a confirmation, optionally with fields, and a secret that is shown once.
import { h } from "../dom.js";

/**
 * Ask for a confirmation. Returns a promise of the values of the fields by name, or of null if the
 * user cancels. `fields` are elements with controls.
 */
export function confirmAction({ title, text, confirm, fields = [] }) {
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "dialog-title" }, title),
    text ? h("p", {}, text) : null,
    fields,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary", value: "yes" }, confirm), h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  );
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  return show(dialog, () => (dialog.returnValue === "yes" ? valuesOf(form) : null));
}

/** Show a secret until the user closes the dialog. It is nowhere else on the page. */
export function showSecret({ title, text, secret }) {
  const field = h("input", { type: "text", readonly: true, value: secret, "aria-label": title, class: "secret" });
  const copied = h("span", { role: "status", class: "muted" });
  const copy = async () => {
    field.select();
    await navigator.clipboard.writeText(secret).catch(() => document.execCommand("copy"));
    copied.replaceChildren("Copied.");
  };
  const buttons = h("div", { class: "buttons" }, h("button", { type: "button", onclick: copy }, "Copy"), h("button", { class: "primary" }, "Done"), copied);
  const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), h("p", {}, text), field, buttons);
  return show(h("dialog", { "aria-labelledby": "dialog-title" }, form), () => null);
}

function show(dialog, resultOf) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(resultOf());
    });
  });
}

/** Return the values of a form by name; several checked boxes of a name are a list. */
function valuesOf(form) {
  const values = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") values[control.name] = [...(values[control.name] ?? []), ...(control.checked ? [control.value] : [])];
    else if (control.type !== "radio" || control.checked) values[control.name] = control.value.trim();
  }
  return values;
}
