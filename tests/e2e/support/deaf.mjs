// A client that sends as fast as the socket takes it and reads nothing until it is told to.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import { handshake } from './raw.mjs';
import { slowness, within } from './server.mjs';

/** How long a socket may take nothing before it counts as full. */
const PATIENCE_MS = 10000;
/** How often to look what the kernel still holds: a look is dear where there are many sockets. */
const LOOK_MS = 5;

export class Deaf {
  #rest = Buffer.alloc(0);
  #ended = false;
  #told = () => {};

  /** What it has heard, each frame: {opcode, payload, compressed}. */
  frames = [];

  constructor({ port, secure = false }) {
    const options = { port, host: '127.0.0.1', allowHalfOpen: true, rejectUnauthorized: false };
    this.socket = secure ? tls.connect(options) : net.connect(options);
    for (const event of ['end', 'close']) this.socket.on(event, () => { this.#ended = true; this.#told(); });
    this.socket.on('error', () => {}); // a reset is an end like another
  }

  /** Opens a WebSocket, and from then on reads nothing. */
  async open(path, offer) {
    await within(10, 'the connection', once(this.socket, 'connect'));
    this.socket.write(handshake(path, { 'Sec-WebSocket-Extensions': offer }));
    const [head] = await within(10, 'the handshake', once(this.socket, 'data'));
    this.socket.pause();
    assert.match(head.toString('latin1'), /^HTTP\/1\.1 101 [^]*\r\n\r\n$/);
    assert.equal(head.includes('permessage-deflate'), offer !== undefined);
    return this;
  }

  destroy() { this.socket.destroy(); }

  /**
   * Writes these bytes again and again until so many are written, the socket has taken none for so
   * long, or it has ended. Returns how many were written.
   */
  async push(bytes, size, patience = PATIENCE_MS) {
    let pushed = 0;
    while (pushed < size && !this.socket.destroyed) {
      pushed += bytes.length;
      if (!this.socket.write(bytes) && !await this.#drained(patience)) break;
      await turn(); // others are served between two writes
    }
    return pushed;
  }

  #drained(patience) {
    return new Promise((resolve) => {
      const done = (taken) => {
        clearTimeout(timer);
        this.socket.off('drain', onDrain).off('close', onClose);
        resolve(taken);
      };
      const onDrain = () => done(true);
      const onClose = () => done(false);
      const timer = setTimeout(() => done(false), patience * slowness);
      this.socket.on('drain', onDrain).on('close', onClose);
    });
  }

  /** Waits until the other side has read all that was pushed. */
  async taken() {
    const port = this.socket.localPort.toString(16).toUpperCase().padStart(4, '0');
    let waiting;
    await within(20, 'reading what was pushed', (async () => {
      do {
        await pause(LOOK_MS);
        waiting = waitingOn(port);
      } while (waiting > 0 && !this.socket.destroyed && !this.#ended);
    })());
  }

  /** Reads from now on, until heard(frames) is true or the stream has ended. */
  async listen(heard = () => false) {
    if (this.socket.isPaused()) {
      this.socket.on('data', (data) => { this.#take(data); this.#told(); });
      this.socket.resume();
    }
    const done = new Promise((resolve, reject) => {
      this.#told = () => {
        try {
          if (this.#ended || heard(this.frames)) resolve();
        } catch (error) {
          reject(error);
        }
      };
      this.#told();
    });
    await within(20, 'hearing the last of it', done).catch((error) => {
      const bytes = this.frames.reduce((sum, { payload }) => sum + payload.length, 0);
      error.message += `: ${this.frames.length} frames with ${bytes} bytes were heard`;
      throw error;
    });
    return this.frames;
  }

  #take(data) {
    let bytes = this.#rest.length ? Buffer.concat([this.#rest, data]) : data;
    for (let size; (size = sizeOf(bytes)) <= bytes.length; bytes = bytes.subarray(size)) {
      const head = bytes[1] < 126 ? 2 : bytes[1] === 126 ? 4 : 10;
      this.frames.push({
        opcode: bytes[0] & 15, payload: bytes.subarray(head, size), compressed: (bytes[0] & 0x40) !== 0,
      });
    }
    this.#rest = bytes;
  }
}

/** Bytes that the kernel holds on their way from that port, which no other connection has. */
function waitingOn(port) {
  let bytes = 0;
  for (const line of fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1, -1)) {
    const [, local, remote, , queues] = line.trim().split(/\s+/);
    const [sends, receives] = queues.split(':');
    if (local.endsWith(`:${port}`)) bytes += parseInt(sends, 16);
    if (remote.endsWith(`:${port}`)) bytes += parseInt(receives, 16);
  }
  return bytes;
}

/** Of the frame that begins there; Infinity when its head is not there yet. */
function sizeOf(bytes) {
  if (bytes.length < 2) return Infinity;
  assert.ok(bytes[0] & 0x80 && !(bytes[1] & 0x80), 'a fragment or a masked frame');
  if (bytes[1] < 126) return 2 + bytes[1];
  if (bytes[1] === 126) return bytes.length < 4 ? Infinity : 4 + bytes.readUInt16BE(2);
  return bytes.length < 10 ? Infinity : 10 + Number(bytes.readBigUInt64BE(2));
}
