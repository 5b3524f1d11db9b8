// WebSocket clients whose messages and close are promises.
import WebSocket from 'ws';
import { once } from 'node:events';
import { within } from './server.mjs';

export class Client {
  #messages = [];
  #waiting = [];
  #closed;

  /** Opens nothing yet: await opened(). */
  constructor(url, protocols, options) {
    this.socket = new WebSocket(url, protocols, { perMessageDeflate: false, rejectUnauthorized: false, ...options });
    this.socket.on('message', (data, binary) => {
      const message = binary ? data : data.toString();
      const next = this.#waiting.shift();
      if (next) next(message);
      else this.#messages.push(message);
    });
    // A refused or broken connection is told by closed() and refused().
    this.socket.on('error', () => {});
    this.#closed = once(this.socket, 'close').then(([code, reason]) => ({ code, reason: reason.toString() }));
  }

  async opened() {
    await within(10, 'the handshake', Promise.race([once(this.socket, 'open'),
      this.#closed.then(() => { throw new Error('the handshake failed'); })]));
    return this;
  }

  send(data, options) { this.socket.send(data, options ?? {}); }

  /** The next message: a string, or a Buffer when it was binary. */
  next(seconds = 10) {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    return within(seconds, 'the next message', new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#closed.then(({ code }) => reject(new Error(`closed with ${code} instead of a message`)));
    }));
  }

  async take(count, seconds = 10) {
    const messages = [];
    while (messages.length < count) messages.push(await this.next(seconds));
    return messages;
  }

  /** The next JSON message of the type that fits; what comes before it is dropped. */
  async until(type, fits = () => true, seconds = 10) {
    for (;;) {
      const message = JSON.parse(await this.next(seconds));
      if (message.type === type && fits(message)) return message;
    }
  }

  /** What has come and nobody asked for. */
  get unread() { return this.#messages; }

  /** Waits for the close of the connection: {code, reason}. */
  closed(seconds = 10) { return within(seconds, 'the close', this.#closed); }

  async close(code = 1000, reason = '') {
    this.socket.close(code, reason);
    return this.closed();
  }
}

/** An open client. */
export function connect(url, protocols, options) {
  return new Client(url, protocols, options).opened();
}
