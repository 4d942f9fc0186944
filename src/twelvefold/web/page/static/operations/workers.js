// The processes that work on the database, by their heartbeats.
import { h, put } from "../dom.js";
import { formatCount } from "../format.js";
import * as admin from "./admin.js";
import { agoElement, timeElement } from "./parts.js";
import { dataTable } from "./table.js";
import { View } from "./view.js";

/** A process without a heartbeat for this long has probably ended. */
const SILENT_S = 60;
const COLUMNS = [
  { label: "Process", isHeader: true, cell: (one) => [h("bdi", {}, one.host), one.pid ? h("span", { class: "muted" }, ` ${one.pid}`) : null] },
  { label: "Kind", cell: (one) => one.kind },
  { label: "Release", cell: (one) => h("bdi", {}, one.release) },
  { label: "Runs in hand", isNumber: true, cell: (one) => formatCount(one.runs) },
  { label: "Started", cell: (one) => timeElement(one.started_at) },
  { label: "Last heartbeat", cell: heartbeat },
];

function heartbeat({ heartbeat_at: at, heartbeat_age_s: ageS }) {
  return [agoElement(at, ageS), ageS > SILENT_S ? h("p", { class: "reason" }, "Silent: it has probably ended.") : null];
}

export class Workers extends View {
  static title = "Workers";
  isLive = true;

  async open() {
    await this.read();
  }

  read() {
    return this.load((signal) => admin.workers(signal), (rows) => {
      put(this.element, rows.length ? dataTable("Processes, the last to start first", COLUMNS, rows) : h("p", { class: "muted" }, "No process is recorded."));
    });
  }
}
