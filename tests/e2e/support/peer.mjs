// A client that sends exactly the bytes it is given, over TCP or TLS, and holds all that comes back
// against RFC 6455 section 5; and the steps of which conformance cases are made.
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { setImmediate as turn } from 'node:timers/promises';
import { inflate } from './deflate.mjs';
import { handshake } from './raw.mjs';
import { within } from './server.mjs';

export const TEXT = 1;
export const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** Header and payload of a client's frame. `form`: bytes that the length takes, 0, 2 or 8. */
export function frame(payload, { opcode = TEXT, fin = true, rsv = 0, masked = true, form, mask } = {}) {
  const data = Buffer.from(payload);
  const first = head({ opcode, fin, rsv, masked, form, length: data.length });
  if (!masked) return Buffer.concat([first, data]);
  const key = mask ?? Buffer.from([0x37, 0xfa, 0x21, 0x3d + (data.length % 64)]);
  for (let at = 0; at < data.length; at++) data[at] ^= key[at & 3];
  return Buffer.concat([first, key, data]);
}

/** A header as far as the length, which may be a BigInt. */
export function head({ opcode = TEXT, fin = true, rsv = 0, masked = true, form, length }) {
  const size = form ?? (length < 126 ? 0 : length < 65536 ? 2 : 8);
  const bytes = Buffer.alloc(2 + size);
  bytes[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  bytes[1] = (masked ? 0x80 : 0) | (size === 0 ? Number(length) : size === 2 ? 126 : 127);
  if (size === 2) bytes.writeUInt16BE(Number(length), 2);
  if (size === 8) bytes.writeBigUInt64BE(BigInt(length), 2);
  return bytes;
}

/** A message's frames, one for each piece of its payload. */
export function fragments(opcode, pieces, { rsv = 0 } = {}) {
  return pieces.map((piece, at) => frame(piece,
    { opcode: at === 0 ? opcode : 0, rsv: at === 0 ? rsv : 0, fin: at === pieces.length - 1 }));
}

export const ping = (payload = '') => frame(payload, { opcode: PING });
export const pong = (payload = '') => frame(payload, { opcode: PONG });
export const close = (payload = '') => frame(payload, { opcode: CLOSE });

/** Splits into pieces of so many bytes. */
export function split(bytes, size) {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

/** What breaks the rules in a server's frame, or null. */
function fault({ first, second, length, opcode, size }, compresses) {
  const control = opcode >= 8;
  if (second & 0x80) return 'is masked';
  if (first & 0x30) return 'has RSV2 or RSV3';
  if (first & 0x40 && (!compresses || control)) return 'has RSV1';
  if (![TEXT, BINARY, CLOSE, PING, PONG].includes(opcode)) return `has opcode ${opcode}`;
  if (!(first & 0x80)) return 'is a fragment';
  if (control && length > 125) return 'is a control frame that is too long';
  if (length < (size === 2 ? 0 : size === 4 ? 126 : 65536)) return 'has a length not in its shortest form';
  return null;
}

export class Peer {
  #bytes = Buffer.alloc(0);
  #frames = [];
  #wrong = null;
  #closed = false;
  #ended = false;
  #headers = null;
  #tell = () => {};
  #pings = 0;
  #said = Buffer.alloc(0);
  #agreement = null;

  constructor({ port, secure = false }) {
    this.address = { port, secure };
    const options = { port, host: '127.0.0.1', allowHalfOpen: true, rejectUnauthorized: false };
    this.socket = secure ? tls.connect(options) : net.connect(options);
    this.socket.setNoDelay(true);
    this.socket.on('data', (data) => { this.#take(data); this.#tell(); });
    for (const event of ['end', 'close']) this.socket.on(event, () => { this.#ended = true; this.#tell(); });
    this.socket.on('error', () => {}); // a reset is an end like another
  }

  write(bytes) { this.socket.write(bytes); }
  destroy() { this.socket.destroy(); }

  /** Asks for the path and waits for the answer: {status, headers}. */
  async ask(text) {
    this.write(text);
    await this.#until('the answer to the handshake', () => this.#headers !== null || this.#ended);
    assert.ok(this.#headers, 'the connection ended without an answer');
    return this.#headers;
  }

  /** Opens a WebSocket. offer: the extensions; returns those of the answer. */
  async open(path, offer) {
    const { status, headers } = await this.ask(handshake(path, { 'Sec-WebSocket-Extensions': offer }));
    assert.equal(status, 101);
    this.agree(headers['sec-websocket-extensions']);
    return headers['sec-websocket-extensions'];
  }

  /** What the answer says of the server's compression. */
  agree(answer) {
    if (!answer) return;
    const bits = /server_max_window_bits=(\d+)/.exec(answer);
    this.#agreement = {
      bits: bits ? Number(bits[1]) : 15,
      takeover: !answer.includes('server_no_context_takeover'),
    };
  }

  #take(data) {
    this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, data]) : data;
    if (this.#headers === null && !this.#takeHead()) return;
    while (this.#wrong === null && this.#takeFrame());
  }

  #takeHead() {
    const end = this.#bytes.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const [line, ...fields] = this.#bytes.subarray(0, end).toString('latin1').split('\r\n');
    const headers = {};
    for (const field of fields) {
      const colon = field.indexOf(':');
      headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
    }
    this.#bytes = this.#bytes.subarray(end + 4);
    this.#headers = { status: Number(line.split(' ')[1]), headers };
    return this.#headers.status === 101;
  }

  #takeFrame() {
    const bytes = this.#bytes;
    if (bytes.length > 0 && this.#closed) this.#wrong = 'more than the close frame';
    if (bytes.length < 2) return false;
    const [first, second] = bytes;
    const short = second & 0x7f;
    const size = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < size) return false;
    const length = size === 2 ? short : size === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    const opcode = first & 0x0f;
    const wrong = fault({ first, second, length, opcode, size }, this.#agreement !== null);
    if (wrong) this.#wrong = `the server's frame ${wrong}`;
    if (wrong || bytes.length < size + length) return false;
    const payload = bytes.subarray(size, size + length);
    this.#bytes = bytes.subarray(size + length);
    this.#closed = opcode === CLOSE;
    this.#frames.push({ opcode, payload: first & 0x40 ? this.#unpack(payload) : payload, compressed: Boolean(first & 0x40) });
    return true;
  }

  /** Inflates as a client with just the window and the context that were agreed on. */
  #unpack(payload) {
    const { bits, takeover } = this.#agreement;
    try {
      const { data, farthest } = inflate(payload, this.#said);
      if (farthest > 2 ** bits) this.#wrong = `refers ${farthest} back where ${2 ** bits} were agreed on`;
      if (takeover) this.#said = Buffer.concat([this.#said, data]).subarray(-(2 ** bits));
      return data;
    } catch (error) {
      this.#wrong = `what the server compressed: ${error.message}`;
      return payload;
    }
  }

  #until(what, done) {
    return within(10, what, new Promise((resolve) => {
      this.#tell = () => { if (done()) resolve(); };
      this.#tell();
    }));
  }

  /** The next frame: {opcode, payload, compressed}. */
  async next() {
    if (!this.#frames.length) {
      await this.#until('a frame', () => this.#frames.length > 0 || this.#wrong !== null || this.#ended);
    }
    if (this.#wrong !== null) throw new Error(this.#wrong);
    if (!this.#frames.length) throw new Error('the connection ended instead of a frame');
    return this.#frames.shift();
  }

  /** Waits for the end of the stream, before which nothing more may come. */
  async end() {
    await this.#until('the end of the connection', () => this.#ended);
    if (this.#wrong !== null) throw new Error(this.#wrong);
    assert.equal(this.#frames.length + this.#bytes.length, 0, 'something came behind the close frame');
  }

  /** Nothing has come but what was asked for, and the connection lives. */
  async rest() {
    const payload = `still there? ${this.#pings++}`;
    this.write(ping(payload));
    await gets(PONG, payload)(this);
  }
}

// --- steps: bytes to send, or functions of the peer that wait for what comes of them

function show({ opcode, payload }) {
  if (opcode === CLOSE && payload.length >= 2) return `close ${payload.readUInt16BE(0)} "${payload.subarray(2)}"`;
  const some = payload.length > 40 ? `${payload.subarray(0, 40).toString('hex')}… (${payload.length} bytes)` : payload.toString('hex');
  return `opcode ${opcode} with <${some}>`;
}

/** Waits for this frame, which must be the next. */
export function gets(opcode, payload) {
  const expected = { opcode, payload: Buffer.from(payload) };
  return async (peer) => {
    const found = await peer.next();
    if (found.opcode !== opcode || !found.payload.equals(expected.payload)) {
      throw new Error(`${show(found)} came instead of ${show(expected)}`);
    }
  };
}

export const getsPong = (payload = '') => gets(PONG, payload);

/** The server closes with the code (null: with none; an array: one of those) and hangs up. */
export function closes(code, reason) {
  const codes = [code].flat();
  const step = async (peer) => {
    const found = await peer.next();
    const given = found.payload.length >= 2 ? found.payload.readUInt16BE(0) : null;
    if (found.opcode !== CLOSE || !codes.includes(given)) throw new Error(`${show(found)} came instead of close ${codes.join(' or ')}`);
    if (reason !== undefined) assert.equal(found.payload.subarray(2).toString(), reason);
    await peer.end();
  };
  step.last = true;
  return step;
}

/** The server hangs up and says nothing more. */
export function hangsUp() {
  const step = (peer) => peer.end();
  step.last = true;
  return step;
}

/** Time in which the server would have answered: another has been served. */
export async function meanwhile(peer) {
  const other = new Peer(peer.address);
  await other.open('/echo/');
  await other.rest();
  other.destroy();
}

/** Sends the bytes in pieces of their own, each in a packet (or TLS record) of its own. */
export function inPieces(bytes, size) {
  return async (peer) => {
    for (const piece of split(bytes, size)) {
      peer.write(piece);
      await turn();
    }
  };
}

async function play(peer, steps) {
  for (const step of steps) {
    if (Buffer.isBuffer(step)) peer.write(step);
    else await step(peer);
  }
}

/** Whether the case ends its connection. */
export const isLast = ([, ...steps]) => Boolean(steps.at(-1).last);

/** Plays cases one after the other on one connection, which they leave as they found it. */
async function playOnOne(cases, open, faults) {
  let peer = null;
  for (const [what, ...steps] of cases) {
    if (faults.length >= FAULTS) break;
    try {
      peer ??= await open();
      await play(peer, steps);
      await peer.rest();
    } catch (error) {
      faults.push(`${what}: ${error.message}`);
      peer?.destroy();
      peer = null;
    }
  }
  peer?.destroy();
}

async function playAlone(cases, open, faults) {
  for (const [what, ...steps] of cases) {
    if (faults.length >= FAULTS) return;
    let peer = null;
    try {
      peer = await open();
      await play(peer, steps);
    } catch (error) {
      faults.push(`${what}: ${error.message}`);
    } finally {
      peer?.destroy();
    }
  }
}

const LANES = 16;
const FAULTS = 16; // enough of them: each may have waited
const deal = (cases, lane, lanes) => cases.filter((_, at) => at % lanes === lane);

/**
 * Plays the cases, [what, ...steps] each, and throws what went wrong. One that ends with closes() has
 * a connection of its own, the others share a few.
 */
export async function playAll(cases, open) {
  const faults = [];
  const deadly = cases.filter(isLast);
  const others = cases.filter((one) => !isLast(one));
  const lanes = [];
  for (let lane = 0; lane < LANES; lane++) {
    lanes.push(playAlone(deal(deadly, lane, LANES), open, faults));
    if (lane < LANES / 4) lanes.push(playOnOne(deal(others, lane, LANES / 4), open, faults));
  }
  await Promise.all(lanes);
  if (faults.length) throw new Error(`${faults.length} of ${cases.length} cases:\n  ${faults.join('\n  ')}`);
}
