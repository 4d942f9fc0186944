// The scale of a timeline: the share of the width at which a time is. A pause, in which a run only
// waits or is queued, is shortened if it would leave no room for the rest.

/** A pause is at most this share of the time in which something runs. */
const MAX_PAUSE = 0.25;

/** A piecewise linear scale from times in seconds to 0…1. */
export class Scale {
  /** `spans` have `kind`, `from` and `to`. */
  constructor(spans) {
    this.pieces = piecesOf(spans);
    const busy = sum(this.pieces.filter((piece) => piece.isBusy));
    const longest = busy * MAX_PAUSE;
    let end = 0;
    for (const piece of this.pieces) {
      const length = piece.to - piece.from;
      piece.isShortened = !piece.isBusy && busy > 0 && length > longest;
      piece.start = end;
      piece.end = end += piece.isShortened ? longest : length;
    }
    this.length = end || 1;
  }

  get shortened() {
    return this.pieces.filter((piece) => piece.isShortened);
  }

  isShortenedAt(place) {
    const time = this.timeAt(place);
    return this.shortened.some(({ from, to }) => from < time && time < to);
  }

  /** Return the place of a time, 0…1. */
  at(time) {
    const piece = this.pieces.find(({ to }) => time <= to) ?? this.pieces.at(-1);
    if (!piece) return 0;
    const share = piece.to > piece.from ? (Math.max(time, piece.from) - piece.from) / (piece.to - piece.from) : 0;
    return Math.min(1, (piece.start + Math.min(1, share) * (piece.end - piece.start)) / this.length);
  }

  /** Return the time of a place, 0…1. */
  timeAt(place) {
    const target = place * this.length;
    const piece = this.pieces.find(({ end }) => target <= end) ?? this.pieces.at(-1);
    if (!piece) return 0;
    const share = piece.end > piece.start ? (target - piece.start) / (piece.end - piece.start) : 0;
    return piece.from + share * (piece.to - piece.from);
  }
}

const sum = (pieces) => pieces.reduce((total, { from, to }) => total + to - from, 0);
const isBusyKind = ({ kind }) => kind === "model" || kind === "tool";

/** Return the intervals between all starts and ends; an interval is busy if a model or a tool runs in it. */
function piecesOf(spans) {
  const times = [...new Set(spans.flatMap(({ from, to }) => [from, to]))].sort((one, other) => one - other);
  const busy = spans.filter(isBusyKind);
  return times.slice(1).map((to, at) => {
    const from = times[at];
    return { from, to, isBusy: busy.some((span) => span.from < to && span.to > from) };
  });
}
