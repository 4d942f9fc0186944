// One response from its first event to its last, over as many connections as that takes.
import { ApiError, request } from "./api.js";
import { events } from "./sse.js";

const LAST = new Set(["response.completed", "response.incomplete", "response.failed"]);
const PAUSES_MS = [0, 250, 500, 1000, 2000, 4000];

/**
 * The events of a response, each once and in order.
 *
 * `begin` is how it starts: `{ body, key }` of a request to be sent, which is sent again under
 * the same key until the server has begun, or `{ id }` of a response that is under way.
 * `onLine(error)` hears of each lost connection, and `onLine(null)` when it is back.
 */
export async function* told(begin, { signal, onLine }) {
  const place = { id: begin.id ?? null, number: -1 };
  let over = false;
  for (let losses = 0; !over; ) {
    try {
      const answer = await asked(begin, place, signal);
      for await (const event of events(answer)) {
        if (losses) onLine(null);
        losses = 0;
        if (event.type === "response.created") place.id = event.response.id;
        if (event.sequence_number <= place.number) continue;
        place.number = event.sequence_number;
        yield event;
        // Read on to the end all the same, so that the connection can be used again.
        over = LAST.has(event.type);
      }
      if (over) return;
    } catch (error) {
      if (over) return;
      if (signal.aborted || isFinal(error)) throw error;
      await lost(error, losses, { signal, onLine });
      losses += 1;
      continue;
    }
    // The server ended the stream and not the response: it is about to stop.
    await lost(new ApiError(0, "the server has ended the stream"), losses, { signal, onLine });
    losses += 1;
  }
}

function asked({ body, key }, { id, number }, signal) {
  if (id === null) {
    return request("POST", "v1/responses", { body, headers: { "idempotency-key": key }, signal });
  }
  return request("GET", `v1/responses/${id}?stream=true&starting_after=${number}`, { signal });
}

const isFinal = (error) => error instanceof ApiError && !error.passes;

async function lost(error, losses, { signal, onLine }) {
  const pause = PAUSES_MS[Math.min(losses, PAUSES_MS.length - 1)];
  // One lost connection is no news to anybody if the next one holds.
  if (losses) onLine(error);
  await sleep(Math.max(pause, (error.waitS ?? 0) * 1000), signal);
}

/** Waits, but not longer than until the network is back or somebody wants it at once. */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const end = (settle) => () => {
      clearTimeout(timer);
      ended.abort();
      settle(signal.reason);
    };
    const timer = setTimeout(end(resolve), ms);
    addEventListener("online", end(resolve), { signal: ended.signal });
    addEventListener("twelvefold:retry", end(resolve), { signal: ended.signal });
    signal.addEventListener("abort", end(reject), { signal: ended.signal });
  });
}

/** Every stream that waits tries again now. */
export const retryNow = () => dispatchEvent(new Event("twelvefold:retry"));
