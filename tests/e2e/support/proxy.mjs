// A network that can break: a TCP proxy to the server, which may be cut or go silent.
import net from 'node:net';
import { once } from 'node:events';

export class Proxy {
  #pairs = new Set();
  #server;
  #silent = false;
  #refuses = false;

  /** Listens on a port that the kernel chooses. */
  static async to(port) {
    const proxy = new Proxy();
    proxy.#server = net.createServer((near) => proxy.#join(near, port));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port() { return this.#server.address().port; }

  /** Ends all connections with a reset and refuses new ones until mend(). */
  cut() {
    this.#refuses = true;
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Neither side hears anything of the other any more, not even its end. */
  silence() {
    this.#silent = true;
    for (const { near, far } of this.#pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  /** New connections go through again; silenced ones stay silent. */
  mend() {
    this.#refuses = false;
    this.#silent = false;
  }

  close() {
    this.#server.close();
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  #join(near, port) {
    if (this.#refuses) {
      near.resetAndDestroy();
      return;
    }
    const pair = { near, far: net.connect(port, '127.0.0.1') };
    this.#pairs.add(pair);
    for (const [one, other] of [[pair.near, pair.far], [pair.far, pair.near]]) {
      one.on('error', () => {});
      one.on('close', () => {
        this.#pairs.delete(pair);
        if (!this.#silent) other.destroy();
      });
      if (!this.#silent) one.pipe(other);
    }
  }
}
