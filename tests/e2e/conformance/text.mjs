// RFC 6455 section 8.1: text is UTF-8 (RFC 3629). The table follows that of Markus Kuhn's decoder
// stress test: the first and the last sequence of each length, and all that must not be one.
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { BINARY, TEXT, close, closes, fragments, frame, gets, getsPong, head, inPieces, ping, split } from '../support/peer.mjs';

const of = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const hex = (...bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

export const valid = [
  '', '41', 'ce ba e1 bd b9 cf 83 ce bc ce b5',
  // first and last of each length
  '00', '7f', 'c2 80', 'df bf', 'e0 a0 80', 'ef bf bf', 'f0 90 80 80', 'f4 8f bf bf',
  // around the surrogates, and U+FFFD
  'ed 9f bf', 'ee 80 80', 'ef bf bd',
  // U+FFFE, U+FDD0 and U+FDEF, and the last two of each plane are characters, though of no use
  'ef bf be', 'ef b7 90', 'ef b7 af',
  ...range(0, 15).flatMap((plane) => {
    const start = [0xf0 + (plane + 1 >> 2), 0x8f + (((plane + 1) & 3) << 4), 0xbf];
    return [hex(...start, 0xbe), hex(...start, 0xbf)];
  }),
  // the first and the last of each row of table 3-7 in Unicode's section 3.9
  'e1 80 80', 'ec bf bf', 'ed 80 80', 'f0 bf bf bf', 'f1 80 80 80', 'f3 bf bf bf', 'f4 80 80 80', 'e0 bf bf', 'ef 80 80',
  // a byte order mark, a combining mark alone, four lengths side by side
  'ef bb bf', 'cc 88', '24 c2 a2 e2 82 ac f0 90 8d 88',
].map(of);

const starts = [...range(0xc0, 0xdf), ...range(0xe0, 0xef), ...range(0xf0, 0xf7), ...range(0xf8, 0xfb), 0xfc, 0xfd];

export const invalid = [
  // lone continuations: each, and up to seven
  ...range(0x80, 0xbf).map((byte) => hex(byte)),
  ...range(2, 7).map((count) => hex(...range(0x80, 0x7f + count))), hex(...range(0x80, 0xbf)),
  // lone starts, with a space behind each
  ...starts.map((byte) => hex(byte, 0x20)),
  // the last continuation is missing, of the first and the last of each length
  'c0 20', 'e0 80 20', 'f0 80 80 20', 'f8 80 80 80 20', 'fc 80 80 80 80 20',
  'df 20', 'ef bf 20', 'f7 bf bf 20', 'fb bf bf bf 20', 'fd bf bf bf bf 20', 'e0 a0 20', 'f0 90 80 20', 'f4 8f bf 20', 'f0 90 20', 'f4 20',
  'e2 82 e2 82 ac', 'f0 9f 98 f0 9f 98 80', 'c3 c3 a9',
  'c0 e0 80 f0 80 80 f8 80 80 80 fc 80 80 80 80 df ef bf f7 bf bf fb bf bf bf fd bf bf bf bf',
  // never a byte of UTF-8
  'fe', 'ff', 'fe fe ff ff',
  // longer than it must be: a slash, the largest, NUL
  'c0 af', 'e0 80 af', 'f0 80 80 af', 'f8 80 80 80 af', 'fc 80 80 80 80 af',
  'c1 bf', 'e0 9f bf', 'f0 8f bf bf', 'f8 87 bf bf bf', 'fc 83 bf bf bf bf',
  'c0 80', 'e0 80 80', 'f0 80 80 80', 'f8 80 80 80 80', 'fc 80 80 80 80 80',
  // surrogates: the second byte tells; the table's, alone and in pairs
  ...range(0xa0, 0xbf).map((byte) => hex(0xed, byte, 0x80)),
  'ed a0 80', 'ed ad bf', 'ed ae 80', 'ed af bf', 'ed b0 80', 'ed be 80', 'ed bf bf',
  ...['ed a0 80', 'ed ad bf', 'ed ae 80', 'ed af bf'].flatMap((high) => [`${high} ed b0 80`, `${high} ed bf bf`]),
  // above U+10FFFF, and what five and six bytes would be
  'f4 90 80 80', 'f4 bf bf bf', 'f5 80 80 80', 'f7 bf bf bf', 'f8 88 80 80 80', 'fb bf bf bf bf', 'fc 84 80 80 80 80', 'fd bf bf bf bf bf',
  // good text around it
  'ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64', 'e1 bd b9 f4 90 80 80 e1 bd b9',
].map(of);

/** Text that ends inside of a character. */
const unfinished = ['c2', 'df', 'e0', 'e0 a0', 'e2 82', 'ed', 'ed 9f', 'ef bf', 'f0', 'f0 90', 'f0 90 80', 'f4 8f bf', '41 f0 9f 98'].map(of);

/** Table 3-7 of Unicode's section 3.9: what may stand second behind a start, and how many follow it. */
function row(start) {
  if (start < 0x80) return [0];
  if (start < 0xc2 || start > 0xf4) return null;
  if (start < 0xe0) return [1, 0x80, 0xbf];
  if (start < 0xf0) return [2, start === 0xe0 ? 0xa0 : 0x80, start === 0xed ? 0x9f : 0xbf];
  return [3, start === 0xf0 ? 0x90 : 0x80, start === 0xf4 ? 0x8f : 0xbf];
}

/** Where it is wrong for the first time; -1: nowhere, though it may end too early. */
export function wrongAt(bytes) {
  for (let at = 0; at < bytes.length;) {
    const found = row(bytes[at]);
    if (found === null) return at;
    let [more, least, most] = found;
    for (at++; more > 0 && at < bytes.length; more--, at++) {
      if (bytes[at] < least || bytes[at] > most) return at;
      [least, most] = [0x80, 0xbf];
    }
  }
  return -1;
}

for (const bytes of valid) assert.ok(isUtf8(bytes) && wrongAt(bytes) === -1, bytes.toString('hex'));
for (const bytes of invalid) assert.ok(!isUtf8(bytes) && wrongAt(bytes) >= 0, bytes.toString('hex'));
for (const bytes of unfinished) assert.ok(!isUtf8(bytes) && wrongAt(bytes) === -1, bytes.toString('hex'));

const octets = (bytes) => (bytes.length ? split(bytes, 1) : [bytes]);
const surroundings = [['', ''], ['sixteen bytes of ASCII and more: ', ' and behind it as well, sixteen and more'], ['κ', 'ό']];

function validCases(bytes) {
  const what = `<${bytes.toString('hex')}>`;
  const cases = [[`${what} octet by octet`, inPieces(frame(bytes), 1), gets(TEXT, bytes)],
    [`${what}, each octet a fragment`, Buffer.concat(fragments(TEXT, octets(bytes))), gets(TEXT, bytes)]];
  for (const [before, behind] of surroundings) {
    const whole = Buffer.concat([Buffer.from(before), bytes, Buffer.from(behind)]);
    const start = Buffer.byteLength(before);
    cases.push([`${what} in ${whole.length} bytes`, frame(whole), gets(TEXT, whole)]);
    for (let at = start; at <= start + bytes.length; at++) {
      const [first, second] = [whole.subarray(0, at), whole.subarray(at)];
      cases.push([`${what} cut into fragments at ${at} of ${whole.length}`, ...fragments(TEXT, [first, second]), gets(TEXT, whole)]);
      cases.push([`${what} cut into packets at ${at} of ${whole.length}`, inPieces(frame(whole), 6 + at), gets(TEXT, whole)]);
    }
  }
  return cases;
}

/** Refused by its first wrong byte, before there is more; and not by what stands before that. */
function invalidCases(bytes) {
  const what = `<${bytes.toString('hex')}>`;
  const at = wrongAt(bytes);
  const wrong = bytes.subarray(at, at + 1);
  const cases = [[`${what} octet by octet`, inPieces(frame(bytes), 1), closes(1007)],
    [`${what}, each octet a fragment`, Buffer.concat(fragments(TEXT, octets(bytes))), closes(1007)],
    [`${what} in a frame that has not come whole`, frame(Buffer.concat([bytes.subarray(0, at + 1), Buffer.alloc(400)])).subarray(0, 8 + at + 1), closes(1007)]];
  for (const [before, behind] of surroundings.slice(0, 2)) {
    const right = Buffer.concat([Buffer.from(before), bytes.subarray(0, at)]);
    const whole = Buffer.concat([Buffer.from(before), bytes, Buffer.from(behind)]);
    cases.push([`${what} in ${whole.length} bytes`, frame(whole), closes(1007)]);
    cases.push([`${what} by its byte ${at} in ${whole.length} bytes`, frame(right, { fin: false }), ping('not yet'), getsPong('not yet'),
      frame(wrong, { opcode: 0, fin: false }), closes(1007)]);
  }
  cases.push([`${what} is binary`, frame(bytes, { opcode: BINARY }), gets(BINARY, bytes)]);
  cases.push([`${what} in a ping`, ping(bytes.subarray(0, 125)), getsPong(bytes.subarray(0, 125))]);
  cases.push([`${what} as a reason`, close(Buffer.concat([of('03 e8'), bytes.subarray(0, 123)])), closes(1007)]);
  return cases;
}

function unfinishedCases(bytes) {
  const what = `<${bytes.toString('hex')}>`;
  return [
    [`${what} is all`, frame(bytes), closes(1007)],
    [`${what} is all, octet by octet`, inPieces(frame(bytes), 1), closes(1007)],
    [`${what} is all, and an empty fragment behind it`, frame(bytes, { fin: false }), ping(), getsPong(), frame('', { opcode: 0 }), closes(1007)],
    [`${what} and the next message`, frame(bytes, { fin: false }), frame('x', { opcode: 0, fin: false }), closes(1007)],
    [`${what} ends a reason`, close(Buffer.concat([of('03 e8'), bytes])), closes(1007)],
  ];
}

/** All characters there are, a message for each 4,096. */
export function everyCharacter() {
  const cases = [];
  for (let first = 0; first < 0x110000; first += 0x1000) {
    if (first >= 0xd800 && first < 0xe000) continue;
    const text = Buffer.from(String.fromCodePoint(...range(first, first + 0xfff).filter((code) => code < 0xd800 || code > 0xdfff)));
    cases.push([`the characters from ${first.toString(16)}`, frame(text), gets(TEXT, text)]);
  }
  return cases;
}

export const sequences = () => [
  ...valid.flatMap(validCases), ...invalid.flatMap(invalidCases), ...unfinished.flatMap(unfinishedCases),
  ['a wrong byte far behind a length of 100,000', head({ length: 100000 }), frame(Buffer.from([0x41, 0xff])).subarray(2), closes(1007)],
];
