// The conversations of this key's principal, newest first.
import * as api from "./api.js";
import { aside, h } from "./dom.js";
import { whenShort } from "./format.js";

const WORDS = {
  queued: "waits for a worker",
  running: "running",
  waiting: "waits for approval",
  failed: "failed",
  incomplete: "ended early",
  cancelled: "stopped",
};

export class List {
  constructor({ list, more, empty }) {
    this.list = list;
    this.more = more;
    this.empty = empty;
    this.rows = [];
    this.current = null;
    more.addEventListener("click", () => this.read(this.rows.at(-1)?.id));
  }

  /** Read the newest again, or what comes after one that is shown. */
  async read(after = null) {
    const page = await api.conversations(after);
    if (after) this.rows.push(...page.data);
    else this.rows = [...page.data, ...this.older(page)];
    if (after || this.rows.length === page.data.length) this.more.hidden = !page.has_more;
    this.show();
  }

  /** What was read on request before, and stays below the newest. */
  older(page) {
    const last = this.rows.findIndex(({ id }) => id === page.data.at(-1)?.id);
    return page.has_more && last >= 0 ? this.rows.slice(last + 1) : [];
  }

  mark(id) {
    this.current = id;
    this.show();
  }

  title(id) {
    return this.rows.find((row) => row.id === id)?.title ?? "";
  }

  show() {
    const spoken = this.rows.filter((row) => row.title || row.id === this.current);
    this.empty.hidden = spoken.length > 0;
    const focused = document.activeElement?.closest?.("#conversations a")?.hash;
    this.list.replaceChildren(...spoken.map((row) => this.row(row)));
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  row(row) {
    const word = WORDS[row.status];
    const status = word ? [h("span", { class: "dot", "data-status": row.status }), h("span", {}, word)] : [];
    const forked = row.forked_from ? h("span", {}, `fork of step ${row.forked_from.position}`) : null;
    const current = row.id === this.current;
    return h(
      "li",
      {},
      h(
        "a",
        { href: `#${row.id}`, "aria-current": current ? "page" : null },
        h("span", { class: "name" }, row.title || "New conversation"),
        h("span", { class: "under" }, h("time", {}, whenShort(row.created_at)), ...status, forked, current ? aside("open") : null),
      ),
    );
  }
}
