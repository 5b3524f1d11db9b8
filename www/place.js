// Where one is among the messages that the server keeps of a room, so that each is shown once, and
// what was missed can be asked for. An epoch is one count of them; in another nothing is known.

const WORDED = /^([0-9a-f]{16}):(\d{1,15})$/;

export class Place {
  #epoch = '';
  #shown = 0;                 // the last that was shown
  #heard = 0;                 // the last that came
  #count = 0;                 // kept ones that the server has announced…
  #coming = 0;                // …and how many of them have yet to come

  /** Whether the server keeps anything. */
  get known() { return this.#epoch !== ''; }

  /** "<epoch>:<offset>", which the server understands; '' before it said anything. */
  get since() { return this.known ? `${this.#epoch}:${this.#heard}` : ''; }

  /** Before all of this count. */
  get start() { return `${this.#epoch}:0`; }

  /** Whether what comes is from before one came. */
  get replays() { return this.#coming > 0; }

  /** Whether it is the first of that. */
  get begins() { return this.replays && this.#coming === this.#count; }

  /** `history` has come. Says what it is: first, all (since then), part (something is missing) or
      other (of another count, in which nothing that was said before is known). */
  begin({ epoch, offset, count, recovered }) {
    const kind = !this.known ? 'first' : recovered ? 'all' : epoch === this.#epoch ? 'part' : 'other';
    if (epoch !== this.#epoch) this.#shown = this.#heard = 0;
    this.#epoch = epoch;
    this.#count = count;
    this.#coming = count;
    if (count === 0) this.#heard = offset;
    return kind;
  }

  /** `said` has come. Whether it is to be shown: each is once. */
  hears({ at }) {
    if (this.#coming > 0) this.#coming -= 1;
    if (typeof at !== 'number') return true;
    this.#heard = at;
    if (at <= this.#shown) return false;
    this.#shown = at;
    return true;
  }

  /** Whether a place that was kept as text is one of this count and before that message. */
  isBefore(text, { at }) { return typeof at === 'number' && this.#offsetOf(text) < at; }

  /** Whether nothing can be missing between such a place and what begins with that offset. */
  reaches(text, first) { return first <= this.#offsetOf(text) + 1; }

  /** NaN in another count. */
  #offsetOf(text) {
    const [, epoch, offset] = WORDED.exec(text) ?? [];
    return epoch === this.#epoch ? Number(offset) : NaN;
  }
}
