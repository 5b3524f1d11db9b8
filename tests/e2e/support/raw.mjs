// A plain TCP client that writes bytes as they are, for what a well-behaved client never sends.
import net from 'node:net';
import { randomBytes } from 'node:crypto';
import { within } from './server.mjs';

export class Raw {
  #bytes = Buffer.alloc(0);
  #ended = false;
  #tell = () => {};

  constructor(port) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (data) => { this.#bytes = Buffer.concat([this.#bytes, data]); this.#tell(); });
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => { this.#ended = true; this.#tell(); });
    }
    this.socket.on('error', () => {}); // a reset is an end like another
  }

  write(data) { this.socket.write(data); return this; }
  destroy() { this.socket.destroy(); }

  /** Waits until parse(bytes) returns a size: that many bytes are taken and returned. */
  #take(what, parse) {
    return within(10, what, new Promise((resolve, reject) => {
      this.#tell = () => {
        const size = parse(this.#bytes);
        if (size >= 0 && size <= this.#bytes.length) {
          this.#tell = () => {};
          const taken = this.#bytes.subarray(0, size);
          this.#bytes = this.#bytes.subarray(size);
          resolve(taken);
        } else if (this.#ended) {
          reject(new Error(`the connection ended before ${what}; it held ${JSON.stringify(this.#bytes.toString('latin1'))}`));
        }
      };
      this.#tell();
    }));
  }

  /** The next response: {status, headers (lower case), body}. */
  async response() {
    const head = (await this.#take('a response', (bytes) => {
      const end = bytes.indexOf('\r\n\r\n');
      return end < 0 ? -1 : end + 4;
    })).toString('latin1');
    const [line, ...fields] = head.trimEnd().split('\r\n');
    const headers = Object.fromEntries(fields.map((field) => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }));
    const size = Number(headers['content-length'] ?? 0);
    const body = size ? (await this.#take('the body', () => size)).toString() : '';
    return { status: Number(line.split(' ')[1]), headers, body };
  }

  /** The next frame: {fin, opcode, payload}. A server's frames are not masked. */
  async frame() {
    const sizes = (bytes) => {
      if (bytes.length < 2) return null;
      const short = bytes[1] & 0x7f;
      if (short < 126) return { head: 2, payload: short };
      if (short === 126) return bytes.length < 4 ? null : { head: 4, payload: bytes.readUInt16BE(2) };
      return bytes.length < 10 ? null : { head: 10, payload: Number(bytes.readBigUInt64BE(2)) };
    };
    const frame = await this.#take('a frame', (bytes) => {
      const found = sizes(bytes);
      return found ? found.head + found.payload : -1;
    });
    if (frame[1] & 0x80) throw new Error('the server masked a frame');
    return { fin: Boolean(frame[0] & 0x80), opcode: frame[0] & 0x0f, payload: frame.subarray(sizes(frame).head) };
  }

  /** Waits for the end of the stream. */
  ended() {
    return within(10, 'the end of the connection', new Promise((resolve) => {
      this.#tell = () => { if (this.#ended) resolve(); };
      this.#tell();
    }));
  }
}

/** A client's frame: options {opcode, fin, masked, rsv}. */
export function frame(payload, { opcode = 1, fin = true, masked = true, rsv = 0 } = {}) {
  const data = Buffer.from(payload);
  const flag = masked ? 0x80 : 0;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  let head;
  if (data.length < 126) {
    head = Buffer.from([first, flag | data.length]);
  } else if (data.length < 65536) {
    head = Buffer.from([first, flag | 126, data.length >> 8, data.length & 0xff]);
  } else {
    head = Buffer.alloc(10);
    head[0] = first;
    head[1] = flag | 127;
    head.writeBigUInt64BE(BigInt(data.length), 2);
  }
  if (!masked) return Buffer.concat([head, data]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, data.map((byte, index) => byte ^ mask[index % 4])]);
}

/** The text of a handshake; `changes` replace header fields, undefined leaves one out. */
export function handshake(path, changes = {}, method = 'GET') {
  const fields = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...changes,
  };
  const lines = Object.entries(fields).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** The code and reason of a close frame. */
export function closeOf(found) {
  if (found.opcode !== 8) throw new Error(`a frame with opcode ${found.opcode} instead of a close`);
  if (found.payload.length === 0) return { code: 1005, reason: '' };
  return { code: found.payload.readUInt16BE(0), reason: found.payload.subarray(2).toString() };
}

/** The payload of a close frame. */
export function closePayload(code, reason = '') {
  const text = Buffer.from(reason);
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  text.copy(payload, 2);
  return payload;
}
