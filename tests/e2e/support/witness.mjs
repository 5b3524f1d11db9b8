// A client of the keeper consumer that drops and comes back at random, and writes down what it
// heard; and the comparison of that with what the server kept.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { within } from './server.mjs';

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** What was heard without a gap: of one epoch, from one offset on. */
class Stretch {
  constructor(epoch, from) {
    this.epoch = epoch;
    this.from = from; // the offset before its first message
    this.heard = []; // {offset, text}
  }

  get offset() { return this.heard.at(-1)?.offset ?? this.from; }
}

export class Witness {
  stretches = [];
  told = 0; // how often something could not be resumed
  repeats = 0; // said again, because no answer had come
  kept = new Map(); // key: offset, of what the server said is kept
  #waiting = new Map(); // key: text, of what it has not answered
  #socket;
  #number = 0;
  #ended = false;

  constructor(name, url) {
    this.name = name;
    this.url = url;
  }

  get said() { return this.#number; }

  get heard() { return this.stretches.reduce((sum, { heard }) => sum + heard.length, 0); }

  get position() {
    const last = this.stretches.at(-1);
    return last && `${last.epoch}:${last.offset}`;
  }

  /** Connects until it works; resolves with the `joined` that it was told, null when that failed. */
  #connect() {
    return new Promise((resolve) => {
      const since = this.position ? `&since=${this.position}` : '';
      const socket = new WebSocket(`${this.url}?last=20${since}`, { perMessageDeflate: false });
      this.#socket = socket;
      socket.on('error', () => {});
      socket.on('close', () => resolve(null));
      socket.on('message', (data) => {
        const text = data.toString();
        if (text.startsWith('@')) this.#hear(text);
        else if (text.startsWith('joined')) resolve(this.#join(text, since !== ''));
        else if (text.startsWith('kept')) this.#answer(text);
      });
    });
  }

  #join(text, asked) {
    const [, recovered, position, count] = text.split(' ');
    const [epoch, offset] = position.split(':');
    if (recovered === '1') return text;
    if (Number(`0x${epoch}`) === 0) { // the store is not there just now
      this.#socket.terminate();
      return null;
    }
    if (asked) this.told++;
    this.stretches.push(new Stretch(epoch, Number(count) === 0 ? Number(offset) : null));
    return text;
  }

  #hear(message) {
    const offset = Number(message.slice(1, 17));
    const stretch = this.stretches.at(-1);
    stretch.from ??= offset - 1;
    assert.ok(offset > stretch.offset, `${this.name}: ${offset} behind ${stretch.offset}`);
    stretch.heard.push({ offset, text: message.slice(18) });
  }

  #answer(text) {
    const [, key, outcome, position] = text.split(' ');
    if (outcome === 'kept' || outcome === 'repeated') {
      this.kept.set(key, Number(position.split(':')[1]));
      this.#waiting.delete(key);
    } else {
      this.#waiting.set(key, this.#waiting.get(key)); // said again when it comes back
    }
  }

  #say() {
    const key = `${this.name}-${++this.#number}`;
    this.#waiting.set(key, key);
    this.#socket.send(`keep ${key} ${key}`);
  }

  #sayAgain() {
    for (const [key, text] of this.#waiting) {
      this.repeats++;
      this.#socket.send(`keep ${key} ${text}`);
    }
  }

  /** One life on the network: comes, says and hears a while, reads slowly at times, and drops. */
  async #live(random) {
    if (await this.#connect() === null) {
      await later(20 + random() * 100);
      return;
    }
    this.#sayAgain();
    const socket = this.#socket;
    for (let left = 1 + random() * 12; left > 0 && !this.#ended; left--) {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (random() < 0.4) this.#say();
      if (random() < 0.05) socket.pause();
      await later(random() * 150);
      if (random() < 0.5) socket.resume();
    }
    socket.resume();
    if (random() < 0.5) socket.terminate();
    else socket.close();
    // What is on its way still counts: the next life asks for all behind what was heard by then.
    await new Promise((resolve) => { socket.once('close', resolve); if (socket.readyState === WebSocket.CLOSED) resolve(); });
  }

  async live(random) {
    while (!this.#ended) await this.#live(random);
  }

  end() { this.#ended = true; }

  /** A last time, until it has heard all and everything that it said is answered. */
  async catchUp(offset, seconds = 30) {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      assert.ok(Date.now() < deadline, `${this.name} does not catch up: ${this.position} of ${offset}`);
      if (await this.#connect() === null) continue;
      this.#sayAgain();
      while (this.#socket.readyState === WebSocket.OPEN && Date.now() < deadline) {
        if (this.#waiting.size === 0 && this.stretches.at(-1).offset >= offset()) {
          this.#socket.terminate();
          return;
        }
        await later(20);
      }
    }
  }
}

/** All that the server keeps of a room, [{offset, text}], and its epoch. */
export async function historyOf(url) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const messages = [];
  let position;
  await within(30, 'the history', new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (data) => {
      const text = data.toString();
      if (text.startsWith('joined')) socket.send('read 0:0 10000');
      if (text.startsWith('history')) position = text.split(' ')[2];
      if (text.startsWith('@')) messages.push({ offset: Number(text.slice(1, 17)), text: text.slice(18) });
      const last = Number(position?.split(':')[1] ?? -1);
      if (last === 0 || messages.at(-1)?.offset === last) resolve();
    });
  }));
  socket.terminate();
  return { epoch: position.split(':')[0], messages };
}

/**
 * Each stretch is a part of the history without a hole. `mayLose`: what was heard last before a
 * client was told of a gap may be gone.
 */
export function compare(witness, { epoch, messages }, mayLose) {
  const places = new Map(messages.map(({ offset }, at) => [offset, at]));
  for (const stretch of witness.stretches) {
    if (stretch.epoch !== epoch) continue;
    const isLast = stretch === witness.stretches.at(-1);
    let at;
    for (const [number, { offset, text }] of stretch.heard.entries()) {
      const place = places.get(offset);
      if (place === undefined && mayLose && !isLast) break;
      assert.notEqual(place, undefined, `${witness.name} heard ${text} at ${offset}, which is not kept`);
      assert.equal(messages[place].text, text, `${witness.name} heard another message at ${offset}`);
      if (number > 0) assert.equal(place, at + 1, `${witness.name} missed what is before ${offset}`);
      at = place;
    }
  }
}
