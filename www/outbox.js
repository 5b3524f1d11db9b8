// What somebody has said and the server has not confirmed: in order, one on its way at a time.

const MOST = 20;
const CONFIRM = 8000;         // without an answer for so long it is doubted, and after that again given up

// The server reads no JSON with half a pair or U+0000 in it, and could not say whose it was.
const UNSAYABLE = /[\0\p{Surrogate}]/gu;

/** So many random bytes, in hexadecimal. */
export const drawn = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)),
  (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Entries are {ref, text, state} with the states waiting, sending, slowed (with `until`), unsure (the
    connection went while it was under way, to a server that keeps each ref once: it is sent again as
    soon as that is known to remember), and two that somebody must decide about: unknown (the same
    elsewhere, or no answer came) and refused (with `error`). */
export class Outbox {
  entries = [];
  /** Whether a message may be sent twice and is kept once. */
  safe = false;
  #timer = 0;
  #send;
  #changed;
  #silent;

  /** send(message) says whether it went; changed() after each change; silent() when a message got
      no answer for long. */
  constructor({ send, changed, silent }) {
    this.#send = send;
    this.#changed = changed;
    this.#silent = silent;
  }

  /** Whether there was room for it. */
  add(text, ref = drawn(12)) {
    if (this.entries.length >= MOST) return false;
    this.entries.push({ ref, text: text.replace(UNSAYABLE, '\u{fffd}'), state: 'waiting' });
    this.pump();
    return true;
  }

  /** What an earlier page had here; what was under way then is unsure. */
  restore(entries) {
    const left = { sending: 'unsure', slowed: 'waiting' };
    this.entries = entries.slice(0, MOST)
      .map(({ ref, text, state, error }) => ({ ref, text, state: left[state] ?? state, error }));
    this.#changed();
  }

  /** Sends the next one when it may go. */
  pump() {
    const next = this.entries.find(({ state }) => state !== 'unknown' && state !== 'refused');
    const due = next?.state === 'waiting' || (next?.state === 'slowed' && next.until <= performance.now());
    if (due) {
      // What does not go now waits for the pump() of the next connection.
      if (this.#send({ type: 'say', text: next.text, ref: next.ref })) {
        next.state = 'sending';
        this.#after(CONFIRM, () => this.#doubt());
      }
    } else if (next?.state === 'slowed') {
      this.#after(next.until - performance.now(), () => this.pump());
    }
    this.#changed();
  }

  /** The server has it. Whether it was one of ours. */
  said(ref) {
    const found = this.entries.some((entry) => entry.ref === ref);
    if (found) this.#remove(ref);
    return found;
  }

  /** The server refused it. Whether it was one of ours. */
  refused({ ref, code, retry_ms: wait }) {
    const entry = this.entries.find((other) => other.ref === ref);
    if (!entry) return false;
    this.#unwatch(entry);
    if (code === 'flood') Object.assign(entry, { state: 'slowed', until: performance.now() + (wait ?? 1000) });
    else Object.assign(entry, { state: 'refused', error: code });
    this.pump();
    return true;
  }

  /** The connection has gone; what was under way may or may not have arrived. */
  lost() {
    clearTimeout(this.#timer);
    this.#giveUp(this.safe ? 'unsure' : 'unknown');
    this.#changed();
  }

  /** There is a connection again, to a server that remembers what was sent, or does not. */
  back(remembers) {
    for (const entry of this.entries) {
      if (entry.state === 'unsure') entry.state = remembers ? 'waiting' : 'unknown';
    }
    this.pump();
  }

  /** Sends it again, behind the others; as a new message where it would be kept twice. */
  again(ref) {
    const entry = this.entries.find((other) => other.ref === ref);
    this.#remove(ref);
    if (entry) this.add(entry.text, this.safe ? ref : undefined);
  }

  discard(ref) { this.#remove(ref); }

  clear() {
    clearTimeout(this.#timer);
    this.entries = [];
    this.#changed();
  }

  #remove(ref) {
    this.#unwatch(this.entries.find((entry) => entry.ref === ref));
    this.entries = this.entries.filter((entry) => entry.ref !== ref);
    this.pump();
  }

  /** The timer is of the one that is on its way or slowed; the others have none. */
  #unwatch(entry) {
    if (entry?.state === 'sending' || entry?.state === 'slowed') clearTimeout(this.#timer);
  }

  /** A connection that lives without an answer to this one must not hold up the others. */
  #doubt() {
    this.#after(CONFIRM, () => {
      this.#giveUp();
      this.pump();
    });
    this.#silent();
  }

  #giveUp(state = 'unknown') {
    for (const entry of this.entries) if (entry.state === 'sending') entry.state = state;
  }

  #after(wait, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, wait);
  }
}
