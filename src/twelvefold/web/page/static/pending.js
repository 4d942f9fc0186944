// A request that was sent and not yet confirmed: kept, so that a reload sends it again under the
// same Idempotency-Key, which does it once.

const name = (conversation) => `twelvefold.pending.${conversation}`;

/** A key as random as an id. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function keepPending(conversation, begin) {
  sessionStorage.setItem(name(conversation), JSON.stringify(begin));
}

export function dropPending(conversation) {
  sessionStorage.removeItem(name(conversation));
}

/** `{ body, key }` of what may not have reached the server, or null. */
export function pending(conversation) {
  const kept = sessionStorage.getItem(name(conversation));
  return kept ? JSON.parse(kept) : null;
}
