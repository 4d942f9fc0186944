// A message: what a person said, as it was typed, or what the assistant says, as it comes.
import { aside, h, put } from "./dom.js";
import { showText } from "./text.js";

const SPEAKERS = { user: "You", system: "System", developer: "Developer" };

export class Message {
  constructor(item) {
    this.assistant = item.role === "assistant";
    this.text = "";
    this.body = h("div", { class: "text" });
    this.note = h("p", { class: "quiet" }, "Cut off here.");
    const speaker = SPEAKERS[item.role] ?? "Assistant";
    const attributes = { class: `message ${this.assistant ? "assistant" : "user"}` };
    this.node = h("li", attributes, aside(`${speaker}: `), this.body);
    this.put(item);
  }

  /** Take the item as it is now, in the place of all that came before. */
  put(item) {
    this.text = textOf(item.content);
    this.paint();
    const streams = item.status === "in_progress";
    this.node.classList.toggle("streams", streams);
    const cut = this.assistant && item.status === "incomplete";
    if (cut) this.node.append(this.note);
    else this.note.remove();
    this.node.classList.toggle("cut", cut);
  }

  append(delta) {
    this.text += delta;
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = 0;
    if (this.assistant) showText(this.body, this.text);
    else put(this.body, this.text); // as it was typed
  }
}

/** The text of an item's content, which is a string or a list of parts. */
export function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? part.refusal ?? `[${part.type}]`).join("\n");
}
