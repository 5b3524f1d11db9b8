// A room of chat.v1 that a test holds in its hand: what is kept in it, and what its page is told.
import assert from 'node:assert/strict';

const PERSON = { ann: 'aaaaaaaaaaaaaaaa', me: 'eeeeeeeeeeeeeeee' };

export class FakeRoom {
  /** Kept messages, the oldest first. */
  kept = [];
  epoch = '00000000000000e1';
  /** Whether the room keeps anything. */
  keeps = true;
  /** Whether connections are let in. */
  up = true;
  /** Whether they are told who they are. */
  welcomes = true;
  /** Of each connection the `since` that it came with. */
  places = [];
  /** What the page has said, each time. */
  says = [];
  /** What becomes of what the page says: said, lost (and the connection with it), or an answer. */
  fate = () => 'said';
  #last = 0;
  #socket = null;

  /** Stands in for the server of all chats of the page. */
  static async on(page) {
    const room = new FakeRoom();
    await page.routeWebSocket(/\/ws\/chat\//, (socket) => room.#enter(socket));
    return room;
  }

  /** Somebody says it; heard by the page when it is connected. Returns the message. */
  said(text, { id = PERSON.ann, from = 'Ann', ref } = {}) {
    this.#last += 1;
    const message = { type: 'said', id, from, time: new Date().toISOString(), text, ...ref && { ref },
      ...this.keeps && { at: this.#last } };
    if (this.keeps) this.kept.push(message);
    this.send(message);
    return message;
  }

  send(message) { this.#socket?.send(JSON.stringify(message)); }

  /** The connection breaks. */
  async drop() {
    const socket = this.#socket;
    this.#socket = null;
    await socket?.close({ code: 1011 });
  }

  /** All that was kept is gone, and the numbers begin anew. */
  forget(epoch) {
    Object.assign(this, { epoch, kept: [] });
    this.#last = 0;
  }

  #enter(socket) {
    if (!this.up) {
      socket.close({ code: 1011 });
      return;
    }
    const query = new URL(socket.url()).searchParams;
    this.#socket = socket;
    this.places.push(query.get('since'));
    socket.onMessage((text) => { if (this.#socket === socket) this.#hear(JSON.parse(text)); });
    if (this.keeps) this.#tellPast(query.get('since'));
    if (!this.welcomes) return;
    this.send({ type: 'welcome', id: PERSON.me, nick: query.get('nick'), room: 'fake', greeting: '',
      limits: { nick: 40, text: 4000, rate: 20, seconds: 10 } });
  }

  #tellPast(since) {
    const [epoch, offset] = since?.split(':') ?? [];
    const first = this.kept[0]?.at ?? this.#last + 1;
    const recovered = epoch === this.epoch && Number(offset) <= this.#last && first <= Number(offset) + 1;
    const messages = recovered ? this.kept.filter(({ at }) => at > Number(offset)) : this.kept.slice(-50);
    this.send({ type: 'history', epoch: this.epoch, offset: this.#last, count: messages.length,
      ...since && { recovered } });
    for (const message of messages) this.send(message);
  }

  #hear({ type, text, ref }) {
    if (type === 'who') {
      this.send({ type: 'who', people: [{ id: PERSON.me, nick: 'me', windows: 1 }], unnamed: 0, connections: 1 });
    }
    if (type !== 'say') return;
    assert.match(ref, /^[A-Za-z0-9_-]{1,40}$/);
    this.says.push({ text, ref });
    const fate = this.fate(ref);
    const known = this.kept.find((message) => message.ref === ref);
    if (fate === 'lost') this.drop();
    else if (fate !== 'said') this.send(fate);
    else if (known) this.send({ type: 'kept', ref, at: known.at });
    else this.said(text, { id: PERSON.me, from: 'me', ref });
  }

  /** The page's own message is kept, and no word of it gets through. */
  keepQuietly(text, ref) {
    const socket = this.#socket;
    this.#socket = null;
    this.said(text, { id: PERSON.me, from: 'me', ref });
    this.#socket = socket;
  }
}
