// RFC 6455 sections 5.5.1 and 7: how a connection closes.
import { BINARY, TEXT, close, closes, frame, gets, getsPong, hangsUp, head, inPieces, meanwhile, ping, pong } from '../support/peer.mjs';
import { closePayload } from '../support/raw.mjs';
import { content } from './frames.mjs';

// Section 7.4 and IANA's registry; what stands in no frame; what nobody has defined.
const CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999];
const WRONG_CODES = [0, 1, 255, 256, 500, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1100, 1999, 2000, 2001, 2500, 2999, 5000, 5001, 9999, 32768, 65535];

export function closings() {
  const cases = [
    ['no body', close(), closes(null)],
    ['no body, octet by octet', inPieces(close(), 1), closes(null)],
    ['a body of one byte', close('\x03'), closes(1002)],
    ['a length of 126', head({ opcode: 8, length: 126 }).subarray(0, 2), closes(1002)],
    ['a reason of 124 bytes', close(closePayload(1000, 'x'.repeat(124))), closes(1002)],
    ['a fragment', frame(closePayload(1000), { opcode: 8, fin: false }), closes(1002)],
  ];
  for (const code of CODES) {
    cases.push([`code ${code}`, close(closePayload(code)), closes(code, '')]);
    cases.push([`code ${code} with a reason`, close(closePayload(code, 'au revoir')), closes(code)]);
  }
  for (const code of WRONG_CODES) {
    cases.push([`code ${code}`, close(closePayload(code)), closes(1002)]);
    cases.push([`code ${code} with a reason`, close(closePayload(code, 'au revoir')), closes(1002)]);
  }
  for (const reason of ['x', 'x'.repeat(123), '€'.repeat(41), '🌊', '\0', '😀'.repeat(30)]) {
    cases.push([`a reason of ${Buffer.byteLength(reason)} bytes`, close(closePayload(3000, reason)), closes(3000)]);
    cases.push([`a reason of ${Buffer.byteLength(reason)} bytes, octet by octet`, inPieces(close(closePayload(3000, reason)), 1), closes(3000)]);
  }
  return [...cases, ...behind(), ...inside()];
}

/** Nothing that comes behind a close frame, or a fault, is answered. */
function behind() {
  const bye = close(closePayload(1000));
  const fault = frame('x', { rsv: 2 });
  const large = Array(8).fill(frame(content(BINARY, 16000), { opcode: BINARY }));
  const cases = [
    ['a second close', Buffer.concat([bye, close(closePayload(1001))]), closes(1000)],
    ['a message behind it', Buffer.concat([bye, frame('late')]), closes(1000)],
    ['a ping behind it', Buffer.concat([bye, ping('late')]), closes(1000)],
    ['a fault behind it', Buffer.concat([bye, fault]), closes(1000)],
    ['half a frame behind it', Buffer.concat([bye, frame('late').subarray(0, 7)]), closes(1000)],
    ['noise behind it', Buffer.concat([bye, content(BINARY, 500)]), closes(1000)],
    ['messages before it', Buffer.concat([frame('one'), frame('two'), bye]), gets(TEXT, 'one'), gets(TEXT, 'two'), closes(1000)],
    ['a close behind a fault', Buffer.concat([fault, bye]), closes(1002)],
    ['a message behind a fault', Buffer.concat([fault, frame('late')]), closes(1002)],
    ['a ping, a while behind a fault', fault, meanwhile, ping('late'), frame('late'), meanwhile, closes(1002)],
    ['a second fault', Buffer.concat([fault, fault]), closes(1002)],
    // The client must be able to read why, however much it had on its way.
    ['much behind a fault', fault, ...large, closes(1002)],
    ['much behind text that is none', frame(Buffer.from([0xff])), ...large, closes(1007)],
    ['much behind a header that promises more', head({ opcode: BINARY, length: 2 ** 31 }), ...large, closes(1009)],
  ];
  return cases;
}

function inside() {
  const bye = close(closePayload(4000, 'inside'));
  return [
    ['inside a message', frame('never told', { fin: false }), bye, closes(4000)],
    ['inside a message, behind a continuation', frame('a', { fin: false }), frame('b', { opcode: 0, fin: false }), ping(), getsPong(), bye, closes(4000)],
    ['inside text that has no end yet', frame(Buffer.from([0xe2, 0x82]), { fin: false }), bye, closes(4000)],
    ['with a fault in it inside a message', frame('a', { fin: false }), close('\x03'), closes(1002)],
    ['inside a message, and the rest of it behind', Buffer.concat([frame('a', { fin: false }), bye, frame('b', { opcode: 0 })]), closes(4000)],
  ];
}

/** The server has said that it closes: nothing is answered any more, and no fault brings another close. */
export function serverClosings() {
  const asked = [async (peer) => { await peer.open('/probe/closing/'); }, frame('close 4001 go away'), gets(8, closePayload(4001, 'go away'))];
  return [
    ['the answer', close(closePayload(4001))],
    ['an answer with another code', close(closePayload(1000))],
    ['an answer without a code', close()],
    ['an answer octet by octet', inPieces(close(closePayload(4001, 'yes')), 1)],
    ['a ping, and later the answer', ping('late'), meanwhile, close(closePayload(4001))],
    ['a message, and later the answer', frame('late'), meanwhile, close(closePayload(4001))],
    ['a message and a ping, then the answer', Buffer.concat([frame('late'), ping('late'), pong(), close(closePayload(4001))])],
    ['a message in fragments, then the answer', Buffer.concat([frame('a', { fin: false }), ping(), frame('b', { opcode: 0 }), close()])],
    ['the answer inside a message', Buffer.concat([frame('a', { fin: false }), close()])],
    ['a fault', frame('x', { rsv: 2 })],
    ['a fault, then the answer', Buffer.concat([frame('x', { masked: false }), close()])],
    ['text that is none', frame(Buffer.from([0xff]))],
    ['an answer with a fault', close('\x03')],
    ['too much', head({ length: 2 ** 40 })],
  ].map(([what, ...steps]) => [what, ...asked, ...steps, hangsUp()]);
}
