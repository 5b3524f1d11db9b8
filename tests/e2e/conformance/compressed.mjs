// RFC 7692: what is agreed on, compressed messages, and what a client can do wrong with them.
import assert from 'node:assert/strict';
import { constants, deflateRawSync } from 'node:zlib';
import { fixed, inflate, payloadOf, stored } from '../support/deflate.mjs';
import { BINARY, TEXT, close, closes, fragments, frame, gets, getsPong, head, inPieces, ping, pong, split } from '../support/peer.mjs';
import { closePayload } from '../support/raw.mjs';
import { content, random } from './frames.mjs';
import * as text from './text.mjs';

/** A message's payload, as zlib makes it. said: what it may refer back to. */
export function pack(data, { bits = 15, said, ...options } = {}) {
  const dictionary = said?.length ? { dictionary: said.subarray(-(2 ** bits)) } : {};
  // zlib has no window of 8 bits; that of 9 refers back 250 bytes at most.
  const windowBits = Math.max(9, bits);
  return deflateRawSync(data, { windowBits, finishFlush: constants.Z_SYNC_FLUSH, ...dictionary, ...options }).subarray(0, -4);
}

const message = (payload, opcode = TEXT) => frame(payload, { opcode, rsv: 4 });
const say = (data, opcode = TEXT) => [message(pack(data), opcode), gets(opcode, data)];
const bytes = (...values) => Buffer.from(values);

// --- offers

/** Text in which all is said again, at every distance up to some thousands. */
function repeating() {
  const next = random(7);
  const words = Array.from({ length: 80 }, () => next().toString(36)).join('');
  const again = [100, 280, 500].map((size) => words.slice(0, size).repeat(2)).join('');
  const apart = `${words.slice(0, 200)}${'-'.repeat(2500)}${words.slice(0, 200)}`;
  return [again, 'x', apart, again].map((each) => Buffer.from(each));
}
const conversation = repeating();

/** An answer's parameters; what RFC 7692 section 7.1 forbids for the offer is an error. */
function judge(answer, offered) {
  const [name, ...parameters] = answer.split(';').map((part) => part.trim());
  assert.equal(name, 'permessage-deflate');
  const found = {};
  for (const parameter of parameters) {
    const [key, value = true] = parameter.split('=');
    assert.ok(!(key in found), `${key} twice`);
    found[key] = value === true ? true : Number(value);
  }
  for (const [key, value] of Object.entries(found)) {
    if (key.endsWith('_takeover')) assert.equal(value, true, key);
    else assert.ok(/^(server|client)_max_window_bits$/.test(key) && value >= 8 && value <= 15, `${key}=${value}`);
  }
  if (offered.server_no_context_takeover) assert.ok(found.server_no_context_takeover, 'the server may take over');
  if (offered.server_max_window_bits) assert.ok(found.server_max_window_bits <= offered.server_max_window_bits, 'the server has too large a window');
  if (found.client_max_window_bits) {
    assert.ok('client_max_window_bits' in offered, 'the client was not asked');
    if (offered.client_max_window_bits !== true) assert.ok(found.client_max_window_bits <= offered.client_max_window_bits, 'larger than offered');
  }
  return found;
}

/** Talks as it was agreed on, with all that the client may refer back to. */
function talk(path, offer, offered) {
  const step = async (peer) => {
    const agreed = judge(await peer.open(path, offer) ?? 'nothing', offered);
    const bits = agreed.client_max_window_bits ?? 15;
    let said = Buffer.alloc(0);
    for (const data of conversation) {
      peer.write(message(pack(data, { bits, said })));
      const { opcode, payload, compressed } = await peer.next();
      assert.ok(opcode === TEXT && payload.equals(data), 'another message came back');
      // Else nothing that was agreed on would be seen.
      assert.ok(compressed || data.length < 100, 'it came back as large as it is');
      if (!agreed.client_no_context_takeover) said = Buffer.concat([said, data]);
    }
    peer.write(close(closePayload(1000)));
    await closes(1000)(peer);
  };
  step.last = true;
  return step;
}

const write = (offered) => ['permessage-deflate', ...Object.entries(offered)
  .map(([key, value]) => (value === true ? key : `${key}=${value}`))].join('; ');

/** Every combination of the four parameters. For peers that have not opened yet. */
export function offers(paths) {
  const bits = [8, 9, 10, 11, 12, 13, 14, 15];
  const flags = [{}, { server_no_context_takeover: true }, { client_no_context_takeover: true },
    { server_no_context_takeover: true, client_no_context_takeover: true }];
  const ours = [{}, ...bits.map((value) => ({ server_max_window_bits: value }))];
  const theirs = [{}, { client_max_window_bits: true }, ...bits.map((value) => ({ client_max_window_bits: value }))];
  return paths.flatMap((path) => flags.flatMap((flag) => ours.flatMap((our) => theirs.map((their) => {
    const offered = { ...flag, ...our, ...their };
    return [`${path} ${write(offered)}`, talk(path, write(offered), offered)];
  }))));
}

/** Offers that must be declined: the connection opens without compression. And the next is taken. */
export function wrongOffers() {
  const values = ['7', '16', '0', '-9', '+9', '08', '010', '9.0', '1e1', '"', '""', '"9', '', '999999999999999999999', 'nine'];
  const wrong = [
    ...values.flatMap((value) => [`server_max_window_bits=${value}`, `client_max_window_bits=${value}`]),
    'server_max_window_bits', 'server_no_context_takeover=1', 'client_no_context_takeover=true', 'unknown', 'unknown=1',
    'server_no_context_takeover; server_no_context_takeover', 'client_max_window_bits=9; client_max_window_bits=9',
  ].map((parameter) => `permessage-deflate; ${parameter}`);
  const strange = ['permessage-deflat', 'x-webkit-deflate-frame', 'permessage-bzip2', 'permessage-deflate permessage-deflate', ';', ',', '=', 'permessage-deflate;', '@'];
  const declined = (offer) => {
    const step = async (peer) => {
      assert.equal(await peer.open('/echo/', offer), undefined);
      peer.write(message(pack('hi')));
      await closes(1002)(peer);
    };
    step.last = true;
    return step;
  };
  return [
    ...[...wrong, ...strange].map((offer) => [`declined: ${offer}`, declined(offer)]),
    ...[...wrong, ...strange].filter((offer) => (offer.split('"').length & 1) === 1)
      .map((offer) => [`the next: ${offer}`, talk('/echo/', `${offer}, permessage-deflate`, {})]),
  ];
}

// --- messages, where nothing is taken over

const HELLO = bytes(0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00); // RFC 7692 section 7.2.3.1
const letters = (word) => [...Buffer.from(word)];

const forms = [
  ['the example of one block', HELLO, 'Hello'],
  ['the example of a stored block', bytes(0, 5, 0, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0), 'Hello'],
  ['the example of a last block', bytes(0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0), 'Hello'],
  ['the example of two blocks', bytes(0xf2, 0x48, 5, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0), 'Hello'],
  ['no payload', bytes(), ''],
  ['an empty message', bytes(0), ''],
  ['an empty fixed block', payloadOf(fixed([])), ''],
  ['an empty last block', payloadOf(fixed([], true)), ''],
  ['an empty stored last block', payloadOf(stored([], true)), ''],
  ['stored blocks and fixed ones', payloadOf(stored(letters('ab')), fixed(letters('cd')), stored([]), stored(letters('ef')), fixed([])), 'abcdef'],
  ['last blocks', payloadOf(fixed(letters('ab'), true), stored(letters('cd'), true), fixed(letters('ef'), true)), 'abcdef'],
  ['a block that refers back over a last one', payloadOf(fixed(letters('abc'), true), fixed([[6, 3]])), 'abcabcabc'],
  ['1,000 empty stored blocks', payloadOf(...Array(1000).fill(stored([])), fixed(letters('x'))), 'x'],
  ['1,000 empty last blocks', payloadOf(...Array(1000).fill(fixed([], true)), fixed(letters('x'))), 'x'],
  ['1,000 blocks of a byte', payloadOf(...Array(1000).fill(fixed(letters('x')))), 'x'.repeat(1000)],
  ['the longest match', payloadOf(fixed([...letters('x'), [258, 1]])), 'x'.repeat(259)],
];
for (const [what, payload, said] of forms) assert.equal(inflate(payload).data.toString(), said, what);

export function messages(limit) {
  const cases = [];
  for (const [what, payload, said] of forms) {
    cases.push([what, message(payload), gets(TEXT, said)]);
    if (payload.length < 200) cases.push([`${what}, octet by octet`, inPieces(message(payload), 1), gets(TEXT, said)]);
    for (let at = 0; at <= Math.min(payload.length, 16); at++) {
      cases.push([`${what}, in fragments cut at ${at}`, ...fragments(TEXT, [payload.subarray(0, at), payload.subarray(at)], { rsv: 4 }), gets(TEXT, said)]);
    }
  }
  for (const opcode of [TEXT, BINARY]) {
    for (const size of [0, 1, 125, 126, 1000, 65535, 65536, 65537, limit - 1, limit]) {
      const data = content(opcode, size);
      for (const options of [{ level: 1 }, { level: 9 }, { strategy: constants.Z_HUFFMAN_ONLY }, { bits: 9 }]) {
        const payload = pack(data, options);
        cases.push([`${size} with ${JSON.stringify(options)}`, message(payload, opcode), gets(opcode, data)]);
        cases.push([`${size} with ${JSON.stringify(options)} in fragments`,
          Buffer.concat(fragments(opcode, split(payload.length ? payload : bytes(0), 997), { rsv: 4 })), gets(opcode, data)]);
      }
    }
    const data = content(opcode, 400);
    cases.push([`each octet of ${opcode} a fragment, a ping between each two`,
      ...fragments(opcode, split(pack(data), 1), { rsv: 4 }).flatMap((one, at) => [ping(`${at}`), getsPong(`${at}`), pong(), one]), gets(opcode, data)]);
    cases.push([`compressed and not, in turn, ${opcode}`, ...say(data, opcode), frame(data, { opcode }), gets(opcode, data),
      ...fragments(opcode, split(data, 100)), gets(opcode, data), ...say(data, opcode)]);
  }
  return cases;
}

export function faults(limit) {
  const begin = frame(HELLO.subarray(0, 3), { fin: false, rsv: 4 });
  const cases = [];
  for (const rsv of [1, 2, 3, 4, 5, 6, 7]) {
    cases.push([`RSV ${rsv} on a continuation`, begin, Buffer.from([0x80 | rsv << 4]), closes(1002)]);
    cases.push([`RSV ${rsv} on a continuation of what is not compressed`, frame('a', { fin: false }), Buffer.from([rsv << 4]), closes(1002)]);
    for (const opcode of [8, 9, 10]) cases.push([`RSV ${rsv} on ${opcode} inside a message`, begin, Buffer.from([0x80 | rsv << 4 | opcode]), closes(1002)]);
    if (rsv !== 4) cases.push([`RSV ${rsv} on a message`, Buffer.from([0x81 | rsv << 4]), closes(1002)]);
  }
  cases.push(['a compressed message inside another', begin, message(HELLO), closes(1002)]);
  for (const [what, payload] of broken) {
    for (const opcode of [TEXT, BINARY]) {
      cases.push([what, message(payload, opcode), closes(1007)]);
      if (payload.length > 1) cases.push([`${what}, in fragments`, ...say('before'), ...fragments(opcode, split(payload, 2), { rsv: 4 }), closes(1007)]);
    }
  }
  for (const data of text.invalid) {
    cases.push([`<${data.toString('hex')}> compressed`, message(pack(data)), closes(1007)]);
    cases.push([`<${data.toString('hex')}> in blocks of a byte`, message(payloadOf(...split(data, 1).map((byte) => stored(byte)))), closes(1007)]);
    cases.push([`<${data.toString('hex')}> compressed as binary`, ...say(data, BINARY)]);
  }
  for (const data of text.valid) {
    cases.push([`<${data.toString('hex')}> compressed`, ...say(data)]);
    cases.push([`<${data.toString('hex')}> in blocks of a byte`, message(payloadOf(...split(data, 1).map((byte) => stored(byte)))), gets(TEXT, data)]);
  }
  const tooLong = Buffer.alloc(limit + 1);
  return [...cases, ...cut(), ...noise(),
    ['a byte above the limit', message(pack(tooLong), BINARY), closes(1009)],
    ['a byte above the limit in stored blocks', message(payloadOf(...split(tooLong, 60000).map((piece) => stored(piece))), BINARY), closes(1009)],
    ['a payload of twice the limit', head({ rsv: 4, length: 2 * limit }), closes(1009)],
    ['a payload of 2^63 - 1', head({ rsv: 4, length: 2n ** 63n - 1n }), closes(1009)],
    ['a continuation of twice the limit', begin, head({ opcode: 0, length: 2 * limit }), closes(1009)],
    ['not compressed and above the limit', head({ length: limit + 1 }), closes(1009)],
  ];
}

const broken = [
  ['a block of the fourth kind', bytes(0x06)],
  ['a last block of the fourth kind', bytes(0x07)],
  ['a block of the fourth kind behind another', bytes(0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x06, 0)],
  ['a stored block whose lengths disagree', bytes(0, 5, 0, 0xfa, 0xfe, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0)],
  ['a stored block that is cut short', bytes(0, 9, 0, 0xf6, 0xff, 0x48)],
  ['a stored block without its lengths', bytes(0, 5)],
  ['a match with nothing before it', payloadOf(fixed([[3, 1]]))],
  ['a match that begins before the message', payloadOf(fixed([65, [3, 2]]))],
  ['a match as far back as can be', payloadOf(fixed([65, [3, 32768]]))],
  ['the length symbols 286 and 287', payloadOf(fixed([65, 286])), payloadOf(fixed([65, 287]))],
  ['the distance symbol 30', payloadOf(fixed([65]), (writer) => { writer.put(2, 3); writer.symbol(65); writer.symbol(257); writer.code(30, 5); writer.symbol(256); })],
  ['the distance symbol 31', payloadOf(fixed([65]), (writer) => { writer.put(2, 3); writer.symbol(65); writer.symbol(257); writer.code(31, 5); writer.symbol(256); })],
  ['too many length symbols', bytes(0xfc, 0xff, 0xff, 0xff, 0xff)],
  ['codes that are over-subscribed', bytes(0x04, 0x00, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff)],
  ['codes without an end of block', bytes(0x04, 0xc0, 0x81, 0x08, 0, 0, 0, 0, 0x20, 0x7f, 0xeb, 0x0b, 0, 0)],
  ['a repeated length with none before it', bytes(0x04, 0xe0, 0x81, 0x08, 0, 0, 0, 0, 0)],
  ['text that is not compressed', Buffer.from('this is not compressed')],
  ['a zlib header', Buffer.concat([bytes(0x78, 0x9c), HELLO])],
  ['a gzip header', bytes(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 7, 0)],
];

/** A message that stops in the middle is no message, or what a client can inflate that stops there. */
function cut() {
  const payload = pack(content(TEXT, 90));
  return Array.from({ length: payload.length }, (_, size) => [`cut short at ${size} of ${payload.length}`, message(payload.subarray(0, size), BINARY), either(payload.subarray(0, size))]);
}

/** Noise is refused, or it is by chance what another decoder makes of it, too. */
function noise() {
  return Array.from({ length: 120 }, (_, seed) => {
    const next = random(seed);
    const payload = Buffer.from(Array.from({ length: 1 + next() % 60 }, () => next() & 0xff));
    return [`noise <${payload.toString('hex')}>`, message(payload, BINARY), either(payload)];
  });
}

function either(payload) {
  let said = null;
  try {
    said = inflate(payload).data;
  } catch {
    return closes(1007);
  }
  const step = async (peer) => {
    const found = await peer.next();
    if (found.opcode === BINARY) assert.ok(found.payload.equals(said), 'it was read as something else');
    else assert.ok(found.opcode === 8 && found.payload.readUInt16BE(0) === 1007, `opcode ${found.opcode}`);
  };
  step.last = true;
  return step;
}

/** A few kilobytes that would become far more than the limit. */
export function bombs() {
  const of = (size, byte) => pack(Buffer.alloc(size, byte));
  const cases = [];
  for (const [size, byte] of [[200 << 10, 0], [1 << 20, 0x61], [4 << 20, 0], [32 << 20, 0], [32 << 20, 0x61]]) {
    const payload = of(size, byte);
    for (const opcode of [TEXT, BINARY]) {
      cases.push([`${size} as ${payload.length}`, message(payload, opcode), closes(1009)]);
      cases.push([`${size} as ${payload.length} in fragments`, Buffer.concat(fragments(opcode, split(payload, 997), { rsv: 4 })), closes(1009)]);
    }
  }
  const last = payloadOf(...Array(200).fill(fixed([65, ...Array(20).fill([258, 1])], true)));
  cases.push([`${200 * 5161} as ${last.length} of last blocks`, message(last), closes(1009)]);
  return Array(4).fill(cases).flat();
}

// --- what is taken over: for peers that have not opened yet

function dialogue(path, offer, ...steps) {
  const step = async (peer) => {
    await peer.open(path, offer);
    for (const each of steps) {
      if (Buffer.isBuffer(each)) peer.write(each);
      else await each(peer);
    }
    if (!steps.at(-1).last) await peer.rest();
  };
  step.last = true;
  return step;
}

export function takeovers() {
  const cases = [];
  for (let bits = 8; bits <= 15; bits++) {
    const size = 2 ** bits;
    const data = content(BINARY, size);
    const more = content(BINARY, 100);
    const offer = `permessage-deflate; client_max_window_bits=${bits}`;
    const back = (...matches) => message(payloadOf(fixed(matches)), BINARY);
    // The farthest that was agreed on, also when what was said has moved on.
    cases.push([`${size} bytes back`, dialogue('/large/', offer,
      message(payloadOf(stored(data)), BINARY), gets(BINARY, data),
      back([100, size]), gets(BINARY, data.subarray(0, 100)),
      message(payloadOf(stored(more)), BINARY), gets(BINARY, more),
      back([10, 100], [5, size]), gets(BINARY, Buffer.concat([more.subarray(0, 10), data.subarray(210, 215)])))]);
  }
  const abc = [message(payloadOf(fixed(letters('abc')))), gets(TEXT, 'abc')];
  const offer = 'permessage-deflate; client_max_window_bits';
  for (const path of ['/large/', '/keeps/']) {
    cases.push(
      [`${path} what was not compressed is not referred to`, dialogue(path, offer, ...abc, frame('xyz'), gets(TEXT, 'xyz'), message(payloadOf(fixed([[3, 3]]))), gets(TEXT, 'abc'))],
      [`${path} a last block`, dialogue(path, offer, message(payloadOf(fixed(letters('abc'), true))), gets(TEXT, 'abc'), message(payloadOf(fixed([[6, 3]]))), gets(TEXT, 'abcabc'))],
      [`${path} an empty message between`, dialogue(path, offer, ...abc, message(bytes(0)), gets(TEXT, ''), message(payloadOf(fixed([[3, 3]]))), gets(TEXT, 'abc'))],
      [`${path} no payload between`, dialogue(path, offer, ...abc, message(bytes()), gets(TEXT, ''), message(payloadOf(fixed([[3, 3]]))), gets(TEXT, 'abc'))],
      [`${path} in fragments`, dialogue(path, offer, ...abc, ...fragments(TEXT, split(payloadOf(fixed([[3, 3], [258, 6]])), 1), { rsv: 4 }), gets(TEXT, 'abc'.repeat(87)))],
      [`${path} a byte more than was said`, dialogue(path, offer, ...abc, message(payloadOf(fixed([[3, 4]]))), closes(1007))],
      [`${path} a character begun in the last message`, dialogue(path, offer, message(payloadOf(stored([0xe2, 0x82, 0xac]))), gets(TEXT, '€'),
        message(payloadOf(fixed([[3, 3], [3, 2]]))), closes(1007))],
    );
  }
  cases.push(
    ['nothing is referred to where nothing is taken over', dialogue('/echo/', offer, ...abc, message(payloadOf(fixed([[3, 3]]))), closes(1007))],
    ['the client said that it would not', dialogue('/large/', 'permessage-deflate; client_no_context_takeover', ...abc, message(payloadOf(fixed([[3, 3]]))), closes(1007))],
  );
  return cases;
}
