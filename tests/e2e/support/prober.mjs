// Somebody who connects and asks again and again, to see whether a server can be reached.
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const requestFor = (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;

/** Connects, asks, and resolves to how it ended: 'served', 'status 503', 'refused' where nobody
 * listens, 'lost' where the connection broke without an answer. */
export function probe(port, path = '/healthz') {
  return new Promise((resolve) => {
    let answer = '';
    let refused = false;
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.on('connect', () => socket.write(requestFor(path)));
    socket.on('data', (data) => { answer += data.toString('latin1'); });
    socket.on('error', (fault) => { refused ||= fault.code === 'ECONNREFUSED'; });
    socket.on('close', () => {
      const [, status] = answer.match(/^HTTP\/1\.1 (\d+)/) ?? [];
      if (refused) resolve('refused');
      else if (status === undefined) resolve('lost');
      else resolve(status === '200' ? 'served' : `status ${status}`);
    });
  });
}

/** Probes all the time, with some under way at once, so that those that a dead worker's queue holds
 * up do not hide the others. */
export class Prober {
  counts = {};
  #ends = [];
  #stopped = false;
  #done;

  constructor(port, { every = 10, most = 50, path = '/healthz' } = {}) {
    const under = new Set();
    this.#done = (async () => {
      while (!this.#stopped) {
        if (under.size < most) {
          const one = probe(port, path).then((how) => {
            under.delete(one);
            this.counts[how] = (this.counts[how] ?? 0) + 1;
            this.#ends.push({ how, at: performance.now() });
          });
          under.add(one);
        }
        await pause(every);
      }
      await Promise.all(under);
    })();
  }

  /** The longest time in milliseconds between two that were served, from the first one behind
   * `from`, which is a time of performance.now(). */
  longestGap(from = 0) {
    let last = from;
    let gap = 0;
    for (const { how, at } of this.#ends) {
      if (how !== 'served' || at < from) continue;
      if (last !== 0) gap = Math.max(gap, at - last);
      last = at;
    }
    return gap;
  }

  /** Waits for those that are under way; returns how many ended in which way. */
  async stop() {
    this.#stopped = true;
    await this.#done;
    return this.counts;
  }
}
