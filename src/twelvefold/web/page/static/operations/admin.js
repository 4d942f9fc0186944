// Requests to `/v1/admin`.
import { query, read } from "../api.js";

const PAGE_SIZE = 50;
const path = (...parts) => ["v1/admin", ...parts.map(encodeURIComponent)].join("/");
const list = (name, filter, after, signal) =>
  read(`${path(name)}?${query({ ...filter, limit: PAGE_SIZE, ...(after && { after }) })}`, { signal });

export const runs = (filter, after, signal) => list("runs", filter, after, signal);
