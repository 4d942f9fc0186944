// What an operator can do with a run. Each action is confirmed first.
import { h } from "../dom.js";
import { withErrors } from "../errors.js";
import * as admin from "./admin.js";
import { confirmAction } from "./dialog.js";

/** Open calls have forms of their own, so that an answer or an outcome needs no button here. */
const ACTIONS = {
  retry: { label: "Retry", title: "Retry this run?", text: "The same input runs again, as a new run of this conversation. The effects of this run remain." },
  cancel: { label: "Cancel run", title: "Cancel this run?", text: "It ends after the step in progress. The effects of completed steps remain." },
  fork: { label: "Fork", title: "Fork this conversation?", text: "A new conversation of the same principal continues from the end of this run. This one does not change." },
};

/** Return the buttons of a run; `act(action, values)` sends one of its actions. */
export function actionButtons(run, act) {
  const known = run.actions.filter((action) => action in ACTIONS);
  const buttons = known.map((action) => h("button", { type: "button", onclick: () => confirmed(action, act) }, ACTIONS[action].label));
  return [...buttons, h("button", { type: "button", onclick: () => withErrors(download(run.id)) }, "Export")];
}

/** Ask, and send the action if the user confirms. */
export async function confirmed(action, act, values = {}) {
  const { label, title, text } = ACTIONS[action];
  if (await confirmAction({ title, text, confirm: label })) await act(action, values);
}

/** Save the conversation of a run as a file. */
async function download(id) {
  const url = URL.createObjectURL(await admin.exportRun(id));
  h("a", { href: url, download: `${id}.jsonl` }).click();
  URL.revokeObjectURL(url);
}
