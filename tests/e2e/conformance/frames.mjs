// RFC 6455 section 5: headers, lengths, masks, fragments, control frames, limits. Each function makes
// cases, [what, ...steps].
import { BINARY, TEXT, close, closes, fragments, frame, gets, getsPong, head, inPieces, ping, pong, split } from '../support/peer.mjs';

const KEY = Buffer.from([1, 2, 3, 4]);
const empty = Buffer.concat([Buffer.from([0x80]), KEY]); // the rest of an empty frame behind its first byte
const kinds = [[TEXT, 'text'], [BINARY, 'binary']];

/** Numbers from 0 up to 2^32, the same for the same seed. */
export function random(seed) {
  let state = seed + 0x9e3779b9;
  return () => {
    state = Math.imul(state ^ state >>> 16, 0x21f0aaad);
    state = Math.imul(state ^ state >>> 15, 0x735a2d97) + 0x6d2b79f5;
    return (state ^ state >>> 15) >>> 0;
  };
}

/** So many bytes: text with characters of every length, or noise. */
export function content(opcode, size) {
  if (opcode === BINARY) {
    const next = random(size);
    const noise = Buffer.alloc(size);
    for (let at = 0; at < size; at++) noise[at] = next() & 0xff;
    return noise;
  }
  const words = Buffer.from('Grüße, κόσμε; 世界 🌊. '.repeat(Math.ceil(size / 31)));
  let end = size;
  while (end > 0 && end < words.length && (words[end] & 0xc0) === 0x80) end--;
  return Buffer.concat([words.subarray(0, end), Buffer.alloc(size - end, '~')]);
}

// --- sizes

export function sizes(limit) {
  const cases = [];
  for (const [opcode, kind] of kinds) {
    for (const size of [0, 1, 2, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 65537, limit - 1, limit]) {
      const payload = content(opcode, size);
      const bytes = frame(payload, { opcode });
      const back = gets(opcode, payload);
      cases.push([`${kind} of ${size}`, bytes, back]);
      cases.push([`${kind} of ${size}, the header octet by octet`, inPieces(bytes.subarray(0, 14), 1), bytes.subarray(14), back]);
      for (const piece of [1, 7, 64, 997]) {
        if (size / piece < 1000) cases.push([`${kind} of ${size} in pieces of ${piece}`, inPieces(bytes, piece), back]);
      }
    }
  }
  return cases;
}

/** Some 80,000 packets: for one cell of the matrix. */
export function choppedSizes() {
  return [[TEXT, 65536, 1], [BINARY, 65537, 7], [TEXT, 65535, 64]].map(([opcode, size, piece]) => {
    const payload = content(opcode, size);
    return [`${size} in pieces of ${piece}`, inPieces(frame(payload, { opcode }), piece), gets(opcode, payload)];
  });
}

export function masks() {
  const payload = content(TEXT, 71);
  const cases = [[0, 0, 0, 0], [255, 255, 255, 255], [0, 0, 0, 1], [128, 0, 0, 0], [1, 2, 3, 4]].map((mask) =>
    [`the mask ${mask}`, frame(payload, { mask: Buffer.from(mask) }), gets(TEXT, payload)]);
  const bytes = frame(payload, { mask: Buffer.from([0x5a, 0xc3, 0x0f, 0x99]) });
  for (let at = 1; at < bytes.length; at++) {
    cases.push([`a frame cut at ${at}`, inPieces(bytes.subarray(0, at), at), inPieces(bytes.subarray(at), bytes.length), gets(TEXT, payload)]);
  }
  for (const opcode of [0, 1, 2, 8, 9, 10]) {
    for (const size of [0, 1, 125, 126, 70000]) {
      // The second byte is enough.
      const before = opcode === 0 ? [frame('x', { fin: false })] : [];
      cases.push([`opcode ${opcode} of ${size} without a mask`, ...before, head({ opcode, length: size, masked: false }).subarray(0, 2), closes(1002)]);
    }
  }
  cases.push(['a frame without a mask behind one with', frame('a'), gets(TEXT, 'a'), frame('b', { masked: false }), closes(1002)]);
  return cases;
}

// --- the first byte: FIN, RSV1 to 3, opcode

/** Whether it may start a frame; RSV1 only where compression was agreed on, and on a first frame. */
function isFirst(byte, inside, deflates) {
  const [fin, rsv, opcode] = [byte >> 7, byte >> 4 & 7, byte & 15];
  if (rsv !== 0 && !(rsv === 4 && deflates && (opcode === 1 || opcode === 2))) return false;
  if (opcode === 0) return inside;
  if (opcode === 1 || opcode === 2) return !inside;
  return fin === 1 && opcode >= 8 && opcode <= 10;
}

/** What an empty frame with that first byte brings, to the end of a message that it leaves open. */
function outcome(byte, inside) {
  const opcode = byte & 15;
  if (opcode === 8) return [closes(null)];
  const message = inside ? gets(TEXT, 'ab') : gets(opcode, '');
  const finish = frame('', { opcode: 0 });
  if (opcode < 8) return byte >> 7 ? [message] : [finish, message];
  return [...opcode === 9 ? [getsPong()] : [], ...inside ? [finish, message] : []];
}

/** Every first byte; one that is wrong is refused when nothing but it has come. */
export function firstBytes(deflates) {
  const cases = [];
  for (const inside of [false, true]) {
    for (let byte = 0; byte < 256; byte++) {
      const what = `first byte ${byte.toString(16)} ${inside ? 'inside' : 'outside'} a message`;
      const start = [...inside ? [frame('ab', { fin: false })] : [], Buffer.from([byte])];
      cases.push(isFirst(byte, inside, deflates) ? [what, ...start, empty, ...outcome(byte, inside)]
        : [what, ...start, closes(1002)]);
    }
  }
  return cases;
}

// --- lengths

export function lengths(limit) {
  const cases = [];
  for (const [form, length] of [[2, 0], [2, 1], [2, 125], [8, 0], [8, 1], [8, 125], [8, 126], [8, 65535]]) {
    for (const opcode of [1, 2, 9, 8, 10]) {
      cases.push([`opcode ${opcode}, ${length} written in ${form} bytes`, head({ opcode, form, length }), closes(1002)]);
    }
    cases.push([`a continuation, ${length} written in ${form} bytes`, frame('x', { fin: false }), head({ opcode: 0, form, length }), closes(1002)]);
  }
  for (const opcode of [8, 9, 10]) {
    for (const length of [126, 127, 65535, 65536]) {
      cases.push([`a control frame ${opcode} of ${length}`, head({ opcode, length }).subarray(0, 2), closes(1002)]);
    }
  }
  // RFC 6455 section 5.2: the highest bit must be 0.
  for (const length of [2n ** 63n, 2n ** 64n - 1n, 2n ** 63n + 5n]) {
    for (const [opcode] of kinds) cases.push([`a length of ${length}`, head({ opcode, length }), closes(1002)]);
  }
  for (const length of [limit + 1, limit + 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5, 2n ** 53n, 2n ** 63n - 1n]) {
    for (const [opcode, kind] of kinds) {
      // From the length alone: no mask, no payload.
      cases.push([`${kind} of ${length}`, head({ opcode, length }), closes(1009)]);
      cases.push([`a first fragment, ${kind} of ${length}`, head({ opcode, length, fin: false }), closes(1009)]);
      cases.push([`a continuation of ${length}`, frame('', { opcode, fin: false }), head({ opcode: 0, length, fin: false }), closes(1009)]);
    }
  }
  for (const [opcode, kind] of kinds) {
    const whole = content(opcode, limit);
    const half = limit >> 1;
    cases.push(
      [`${kind} of the limit in fragments`, ...fragments(opcode, split(whole, 40000)), gets(opcode, whole)],
      [`${kind} of the limit and empty fragments`, ...fragments(opcode, ['', whole, '', '']), gets(opcode, whole)],
      [`a fragment that makes ${kind} too long by one`, frame(content(opcode, half), { opcode, fin: false }), ping(), getsPong(),
        head({ opcode: 0, length: limit - half + 1 }), closes(1009)],
      [`a byte behind the limit of ${kind}`, frame(whole, { opcode, fin: false }), ping('full'), getsPong('full'),
        head({ opcode: 0, length: 1, fin: false }), closes(1009)],
    );
  }
  return cases;
}

// --- control frames

/** Pongs come in the pings' order; those that another has overtaken need not come (section 5.5.3). */
const pongsUpTo = (count) => async (peer) => {
  for (let last = -1; last < count - 1;) {
    const { opcode, payload } = await peer.next();
    const number = Number(payload.toString());
    if (opcode !== 10 || !(number > last && number < count)) throw new Error(`opcode ${opcode} "${payload}" came behind pong ${last}`);
    last = number;
  }
};

export function controls() {
  const cases = [];
  for (let size = 0; size <= 125; size++) {
    cases.push([`a ping of ${size}`, ping(content(BINARY, size)), getsPong(content(BINARY, size))]);
    cases.push([`a pong of ${size} that nobody asked for`, pong(content(BINARY, size))]);
  }
  const long = content(BINARY, 125);
  cases.push(
    ['a ping octet by octet', inPieces(ping(long), 1), getsPong(long)],
    ['a pong octet by octet', inPieces(pong(long), 1)],
    ['pings', ...Array.from({ length: 10 }, (_, at) => [ping(`${at}`), getsPong(`${at}`)]).flat()],
    ['many pings at once', Buffer.concat(Array.from({ length: 2000 }, (_, at) => ping(`${at}`))), pongsUpTo(2000)],
    ['many pings in pieces', inPieces(Buffer.concat(Array.from({ length: 300 }, (_, at) => ping(`${at}`))), 5), pongsUpTo(300)],
    ['many pongs at once', Buffer.concat(Array.from({ length: 2000 }, () => pong('x')))],
    ['a ping in two pieces between fragments', frame('a', { fin: false }), inPieces(ping('between'), 3), getsPong('between'),
      frame('b', { opcode: 0 }), gets(TEXT, 'ab')],
    ['a ping of 126 inside a message', frame('a', { fin: false }), head({ opcode: 9, length: 126 }), closes(1002)],
    ['a ping that is a fragment inside a message', frame('a', { fin: false }), frame('', { opcode: 9, fin: false }), closes(1002)],
    ['messages, then a ping of 126', frame('a'), frame('b'), head({ opcode: 9, length: 126 }), gets(TEXT, 'a'), gets(TEXT, 'b'), closes(1002)],
  );
  return cases;
}

// --- fragmentation

const T = (payload, fin = true) => frame(payload, { fin });
const B = (payload, fin = true) => frame(payload, { opcode: BINARY, fin });
const C = (payload, fin = true) => frame(payload, { opcode: 0, fin });

export function fragmentation() {
  const cases = [];
  for (const [opcode, kind] of kinds) {
    const long = content(opcode, 1000);
    for (const pieces of [['', ''], ['', '', '', ''], ['a', ''], ['', 'a'], ['', 'a', ''], ['a', '', 'b'], ['', '', 'ab', '', '', 'c', ''], ['a', 'b', 'c', 'd']]) {
      const whole = pieces.join('');
      const frames = fragments(opcode, pieces);
      cases.push([`${kind} in fragments ${JSON.stringify(pieces)}`, ...frames, gets(opcode, whole)]);
      cases.push([`${kind} in fragments ${JSON.stringify(pieces)}, octet by octet`, inPieces(Buffer.concat(frames), 1), gets(opcode, whole)]);
      cases.push([`${kind} in fragments ${JSON.stringify(pieces)}, pings between`,
        ...frames.flatMap((one, at) => [ping(`before ${at}`), getsPong(`before ${at}`), pong(), one]), gets(opcode, whole)]);
    }
    for (const size of [1, 7, 64, 126, 997]) {
      const frames = fragments(opcode, split(long, size));
      cases.push([`${kind} in fragments of ${size}`, Buffer.concat(frames), gets(opcode, long)]);
      cases.push([`${kind} in fragments of ${size} and pieces of 13`, inPieces(Buffer.concat(frames), 13), gets(opcode, long)]);
    }
    const large = content(opcode, 65537);
    cases.push([`${kind} in fragments of 65,536`, ...fragments(opcode, split(large, 65536)), gets(opcode, large)]);
    cases.push([`${kind} in 1,000 fragments, a pong between each two`,
      Buffer.concat(fragments(opcode, split(long, 1)).flatMap((one) => [one, pong('?')])), gets(opcode, long)]);
    cases.push([`${kind} in 1,000 empty fragments`, Buffer.concat(fragments(opcode, Array(1000).fill(''))), gets(opcode, '')]);
    cases.push([`${kind} in fragments twice`, ...[1, 2].flatMap(() => [...fragments(opcode, ['x', 'y'])]), gets(opcode, 'xy'), gets(opcode, 'xy')]);
  }
  const many = Array.from({ length: 3000 }, (_, at) => `message ${at}`);
  cases.push(['3,000 messages at once', Buffer.concat(many.map((each) => T(each))), ...many.map((each) => gets(TEXT, each))]);
  cases.push(['messages before a fault are answered, none behind it', Buffer.concat([T('one'), B('two'), C('three'), T('four')]),
    gets(TEXT, 'one'), gets(BINARY, 'two'), closes(1002)]);
  return cases;
}

const letters = { T: T('T'), t: T('t', false), B: B('B'), b: B('b', false), C: C('C'), c: C('c', false), P: ping('P'), O: pong('O'), X: close() };

/** The steps of frames in that order: what the rules have come of it. null: it is over before the end. */
function stepsOf(word) {
  const steps = [];
  let message = null;
  let over = false;
  for (const letter of word) {
    if (over) return null;
    const isStart = 'TtBb'.includes(letter);
    const isData = isStart || letter === 'C' || letter === 'c';
    steps.push(letters[letter]);
    if (letter === 'P') steps.push(getsPong('P'));
    over = letter === 'X' || (isData && isStart !== (message === null));
    if (over) steps.push(closes(letter === 'X' ? null : 1002));
    if (over || !isData) continue;
    message = { opcode: isStart ? (letter.toUpperCase() === 'T' ? TEXT : BINARY) : message.opcode, text: (message?.text ?? '') + letter };
    if (letter !== letter.toUpperCase()) continue;
    steps.push(gets(message.opcode, message.text));
    message = null;
  }
  if (message !== null && !over) steps.push(C('.'), gets(message.opcode, `${message.text}.`));
  return steps;
}

/** Every order of so many frames of every kind. */
export function orders(length) {
  let words = [''];
  for (let at = 0; at < length; at++) words = words.flatMap((word) => Object.keys(letters).map((letter) => word + letter));
  return words.map((word) => [word, stepsOf(word)]).filter(([, steps]) => steps !== null)
    .map(([word, steps]) => [`the frames ${word}`, ...steps]);
}

// --- all together

/** A stream of random messages in random fragments and pieces; the same for the same seed. */
export function stream(seed) {
  const next = random(seed);
  const pick = (below) => next() % below;
  const bytes = [];
  const told = [];
  for (let count = 0; count < 40; count++) {
    const opcode = 1 + pick(2);
    const payload = content(opcode, pick(4) === 0 ? pick(3000) : pick(140));
    const frames = fragments(opcode, pick(2) ? [payload] : split(payload, 1 + pick(payload.length + 1)).concat(pick(2) ? [''] : []));
    for (const one of frames.length ? frames : [frame('', { opcode })]) {
      bytes.push(one);
      if (pick(4) === 0) bytes.push(pong(content(BINARY, pick(126))));
    }
    told.push(gets(opcode, payload));
  }
  return [`stream ${seed}`, inPieces(Buffer.concat(bytes), 1 + pick(500)), ...told];
}
