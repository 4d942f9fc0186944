// The conversations of this key's principal, newest first and each fork beside its origin.
import * as api from "./api.js";
import { h, visuallyHidden } from "./dom.js";
import { shortTime } from "./format.js";

const STATUS_LABELS = {
  queued: "Queued",
  running: "Running",
  waiting: "Waiting",
  failed: "Failed",
  incomplete: "Incomplete",
  cancelled: "Stopped",
};

export class ConversationList {
  constructor({ list, more, empty }) {
    this.list = list;
    this.more = more;
    this.empty = empty;
    this.rows = [];
    this.current = null;
    more.addEventListener("click", () => this.read(this.rows.at(-1)?.id));
  }

  /** Read the newest conversations, or the page after the conversation `after`. */
  async read(after = null) {
    const page = await api.conversations(after);
    if (after) this.rows.push(...page.data);
    else this.rows = [...page.data, ...this.rowsAfter(page)];
    if (after || this.rows.length === page.data.length) this.more.hidden = !page.has_more;
    this.render();
  }

  /** Return the rows of later pages, which stay below the newest page. */
  rowsAfter(page) {
    const last = this.rows.findIndex(({ id }) => id === page.data.at(-1)?.id);
    return page.has_more && last >= 0 ? this.rows.slice(last + 1) : [];
  }

  select(id) {
    this.current = id;
    this.render();
  }

  has(id) {
    return this.rows.some((row) => row.id === id);
  }

  title(id) {
    return this.rows.find((row) => row.id === id)?.title ?? "";
  }

  render() {
    // A conversation without a title has no message yet.
    const visible = this.rows.filter((row) => row.title || row.id === this.current);
    this.empty.hidden = visible.length > 0;
    const focused = document.activeElement?.closest?.("#conversations a")?.hash;
    this.list.replaceChildren(...visible.map((row) => this.row(row)));
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  row(row) {
    const label = STATUS_LABELS[row.status];
    const status = label ? [h("span", { class: "dot", "data-status": row.status }), h("span", {}, label)] : [];
    const fork = row.forked_from ? h("span", {}, `Fork from step ${row.forked_from.position}`) : null;
    const current = row.id === this.current;
    const open = current ? visuallyHidden("open") : null;
    return h(
      "li",
      {},
      h(
        "a",
        { href: `#${row.id}`, "aria-current": current ? "page" : null },
        h("span", { class: "name" }, row.title || "New conversation"),
        h("span", { class: "meta" }, h("time", {}, shortTime(row.created_at)), ...status, fork, open),
      ),
    );
  }
}
