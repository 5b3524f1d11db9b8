// Where one is among the messages that the server keeps of a room, so that each is shown once, and
// what was missed can be asked for. An epoch is one count of them; in another nothing is known.

const WORDED = /^([0-9a-f]{16}):(\d{1,15})$/;

export class Place {
  #epoch = '';
  #shown = 0;                 // the last that was shown
  #heard = 0;                 // the last that came
  #coming = 0;                // kept ones that the server has announced

  /** Whether the server keeps anything. */
  get known() { return this.#epoch !== ''; }

  /** "<epoch>:<offset>", which the server understands; '' before it said anything. */
  get since() { return this.known ? `${this.#epoch}:${this.#heard}` : ''; }

  /** Whether what comes is from before one came. */
  get replays() { return this.#coming > 0; }

  /** `history` has come. Says what it is: first, all (since then), part (something is missing) or
      other (of another count, in which nothing that was said before is known). */
  begin({ epoch, offset, count, recovered }) {
    const kind = !this.known ? 'first' : recovered ? 'all' : epoch === this.#epoch ? 'part' : 'other';
    if (epoch !== this.#epoch) this.#shown = 0;
    this.#epoch = epoch;
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
  isBefore(text, { at }) {
    const [, epoch, offset] = WORDED.exec(text) ?? [];
    return epoch === this.#epoch && typeof at === 'number' && Number(offset) < at;
  }
}
