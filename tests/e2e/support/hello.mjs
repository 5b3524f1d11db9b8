// TLS handshakes begun by hand, for what no client library still offers: RFC 5246, RFC 8446.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { within } from './server.mjs';

const u8 = (...numbers) => Buffer.from(numbers);
const u16 = (...numbers) => Buffer.from(numbers.flatMap((number) => [number >> 8, number & 0xff]));
/** The parts with their length before them, in one, two or three bytes. */
const sized = (bytes, ...parts) => {
  const body = Buffer.concat(parts);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length);
  return Buffer.concat([size.subarray(4 - bytes), body]);
};

export const GROUPS = [29, 23, 24]; // X25519, P-256, P-384
export const SIGNATURES = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601];

/** A ClientHello record. version: 0x0300 to 0x0304, the highest that is offered. */
export function hello({ version, suites, groups = GROUPS, signatures = SIGNATURES, compressions = [0], extensions = {} }) {
  const all = {
    10: sized(2, u16(...groups)),
    11: sized(1, u8(0)),
    13: sized(2, u16(...signatures)),
    23: u8(),
    65281: sized(1),
    ...version === 0x0304 && {
      43: sized(1, u16(0x0304)),
      51: sized(2, u16(29), sized(2, randomBytes(32))),
    },
    ...extensions,
  };
  const list = Object.entries(all).map(([type, body]) => Buffer.concat([u16(Number(type)), sized(2, body)]));
  const body = Buffer.concat([u16(Math.min(version, 0x0303)), randomBytes(32), sized(1, randomBytes(32)),
    sized(2, u16(...suites)), sized(1, u8(...compressions)),
    // SSL 3.0 knows no extensions.
    ...version > 0x0300 ? [sized(2, ...list)] : []]);
  return Buffer.concat([u8(22), u16(Math.min(version, 0x0301)), sized(2, u8(1), sized(3, body))]);
}

/** The hello of SSL 2.0 that asks for SSL 2.0. */
export function helloOfSsl2() {
  const kinds = Buffer.from('010080020080030080040080050080060040070 0c0'.replaceAll(' ', ''), 'hex');
  const body = Buffer.concat([u8(1), u16(0x0002), u16(kinds.length, 0, 16), kinds, randomBytes(16)]);
  return Buffer.concat([u16(0x8000 | body.length), body]);
}

/** What it is: {alert}, {version, suite, compression, extensions}, or null while it is not whole. */
function understand(bytes) {
  if (bytes.length < 5 || bytes.length < 5 + bytes.readUInt16BE(3)) return null;
  const body = bytes.subarray(5, 5 + bytes.readUInt16BE(3));
  if (bytes[0] === 21) return { alert: body[1] };
  if (bytes[0] !== 22 || body[0] !== 2) return { strange: bytes.toString('hex') };
  let at = 4 + 2 + 32;
  at += 1 + body[at];
  const answer = { version: body.readUInt16BE(4), suite: body.readUInt16BE(at), compression: body[at + 2], extensions: {} };
  for (at += 5; at + 4 <= 4 + body.readUIntBE(1, 3);) {
    const size = body.readUInt16BE(at + 2);
    answer.extensions[body.readUInt16BE(at)] = body.subarray(at + 4, at + 4 + size);
    at += 4 + size;
  }
  if (answer.extensions[43]) answer.version = answer.extensions[43].readUInt16BE();
  return answer;
}

/** Sends the bytes and returns what the server answers; {closed: true} when it ends without a word. */
export async function ask(port, bytes) {
  const socket = net.connect(port, '127.0.0.1');
  let heard = Buffer.alloc(0);
  const answered = new Promise((resolve) => {
    socket.on('data', (data) => {
      heard = Buffer.concat([heard, data]);
      const answer = understand(heard);
      if (answer) resolve(answer);
    });
    socket.on('error', () => {}); // `close` follows
    socket.on('close', () => resolve({ closed: true }));
  });
  try {
    await once(socket, 'connect');
    socket.write(bytes);
    return await within(10, 'the answer to a hello', answered);
  } finally {
    socket.destroy();
  }
}
