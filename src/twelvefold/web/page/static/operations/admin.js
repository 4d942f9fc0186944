// Requests to `/v1/admin`.
import { query, read, request, write } from "../api.js";

const PAGE_SIZE = 50;
const JOURNAL_PAGE_SIZE = 500;
const path = (...parts) => ["v1/admin", ...parts.map(encodeURIComponent)].join("/");
const list = (name, filter, after, signal) =>
  read(`${path(name)}?${query({ ...filter, limit: PAGE_SIZE, ...(after && { after }) })}`, { signal });

/** Return the paths that the server has, without `v1/admin/`. */
export async function paths() {
  const described = await read("openapi.json");
  return new Set(Object.keys(described.paths).map((one) => one.replace("/v1/admin/", "")));
}

export const runs = (filter, after, signal) => list("runs", filter, after, signal);
export const run = (id, signal) => read(path("runs", id), { signal });
export const changeRun = (id, action, values) => write(path("runs", id, action), values);
export const exportRun = async (id) => (await request("GET", path("runs", id, "export"))).blob();

/** Return the entries of a run's journal after a position. */
export async function journal(id, position, signal) {
  const entries = [];
  for (;;) {
    const page = await read(`${path("runs", id, "journal")}?${query({ after: position, limit: JOURNAL_PAGE_SIZE })}`, { signal });
    entries.push(...page.data);
    if (!page.has_more) return entries;
    position = page.last;
  }
}

export const usage = async (filter, signal) => (await read(`${path("usage")}?${query(filter)}`, { signal })).data;
export const workers = async (signal) => (await read(path("workers"), { signal })).data;
export const inbox = (after, signal) => list("inbox", {}, after, signal);

/** Answer an open call. `output` is JSON text, so that its numbers keep their digits. */
export const answerCall = (id, output) =>
  request("POST", path("inbox", "answers"), { body: `{"call_id":${JSON.stringify(id)},"output":${output}}` });

export const outbox = (filter, after, signal) => list("outbox", filter, after, signal);
export const retryMessage = (id) => write(path("outbox", id, "retry"));
export const keys = (after, signal) => list("keys", {}, after, signal);
export const createKey = (values) => write(path("keys"), values);
export const rotateKey = (id, values) => write(path("keys", id, "rotate"), values);
export const revokeKey = async (id) => (await request("DELETE", path("keys", id))).json();
export const budgets = (after, signal) => list("budgets", {}, after, signal);
export const setBudget = async (values) => (await request("PUT", path("budgets"), { body: JSON.stringify(values) })).json();
export const removeBudget = async (id) => (await request("DELETE", path("budgets", id))).json();
