// DEFLATE (RFC 1951) by hand: blocks that no compressor would make, and a reader that tells how far
// back what it reads refers.
const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const DISTANCES = [1];
for (let code = 1; code < 30; code++) DISTANCES.push(DISTANCES[code - 1] + (1 << Math.max(0, (code - 1 >> 1) - 1)));
const lengthExtra = (code) => (code < 8 || code === 28 ? 0 : (code >> 2) - 1);
const distanceExtra = (code) => Math.max(0, (code >> 1) - 1);
const LENGTHS_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

class Writer {
  bytes = [];
  #hold = 0;
  #count = 0;

  /** Bits of a number, the lowest first. */
  put(value, count) {
    for (let bit = 0; bit < count; bit++) {
      this.#hold |= (value >> bit & 1) << this.#count;
      if (++this.#count === 8) this.align();
    }
  }

  /** Bits of a Huffman code, the highest first. */
  code(value, count) {
    for (let bit = count - 1; bit >= 0; bit--) this.put(value >> bit & 1, 1);
  }

  align() {
    if (this.#count > 0) this.bytes.push(this.#hold);
    this.#hold = this.#count = 0;
  }

  symbol(value) {
    if (value < 144) this.code(0x30 + value, 8);
    else if (value < 256) this.code(0x190 + value - 144, 9);
    else if (value < 280) this.code(value - 256, 7);
    else this.code(0xc0 + value - 280, 8);
  }

  match([length, distance]) {
    const long = LENGTHS.findLastIndex((least) => least <= length);
    const far = DISTANCES.findLastIndex((least) => least <= distance);
    this.symbol(257 + long);
    this.put(length - LENGTHS[long], lengthExtra(long));
    this.code(far, 5);
    this.put(distance - DISTANCES[far], distanceExtra(far));
  }
}

/** A block with fixed codes; of numbers, which are bytes, and [length, distance]. */
export const fixed = (tokens, last = false) => (writer) => {
  writer.put(last ? 1 : 0, 1);
  writer.put(1, 2);
  for (const token of tokens) {
    if (Array.isArray(token)) writer.match(token);
    else writer.symbol(token);
  }
  writer.symbol(256);
  if (last) writer.align();
};

/** A block that is not compressed. */
export const stored = (data, last = false) => (writer) => {
  writer.put(last ? 1 : 0, 1);
  writer.put(0, 2);
  writer.align();
  writer.put(data.length, 16);
  writer.put(data.length ^ 0xffff, 16);
  writer.bytes.push(...data);
};

/** A message's payload of these blocks, as RFC 7692 section 7.2.1 has it end. */
export function payloadOf(...blocks) {
  const writer = new Writer();
  for (const block of blocks) block(writer);
  writer.put(0, 3);
  writer.align();
  return Buffer.from(writer.bytes);
}

class Reader {
  #at = 0;
  #bit = 0;

  constructor(bytes) { this.bytes = bytes; }

  take(count) {
    let value = 0;
    for (let bit = 0; bit < count; bit++) {
      if (this.#at >= this.bytes.length) throw new Error('it is cut short');
      value |= (this.bytes[this.#at] >> this.#bit & 1) << bit;
      if (++this.#bit === 8) { this.#bit = 0; this.#at++; }
    }
    return value;
  }

  align() { if (this.#bit > 0) { this.#bit = 0; this.#at++; } }

  get over() { return this.#at >= this.bytes.length; }
}

/** A decoder of canonical codes from their lengths (RFC 1951 section 3.2.2). */
function decoder(lengths) {
  const codes = new Map();
  let code = 0;
  for (let length = 1; length <= 15; length++) {
    lengths.forEach((each, symbol) => { if (each === length) codes.set(length << 16 | code++, symbol); });
    code <<= 1;
  }
  return (reader) => {
    let read = 0;
    for (let length = 1; length <= 15; length++) {
      read = read << 1 | reader.take(1);
      const symbol = codes.get(length << 16 | read);
      if (symbol !== undefined) return symbol;
    }
    throw new Error('no such code');
  };
}

const FIXED = [
  decoder(Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8))),
  decoder(Array(30).fill(5)),
];

function readCodes(reader) {
  const [literals, distances, counts] = [reader.take(5) + 257, reader.take(5) + 1, reader.take(4) + 4];
  const first = Array(19).fill(0);
  for (let at = 0; at < counts; at++) first[LENGTHS_ORDER[at]] = reader.take(3);
  const decode = decoder(first);
  const lengths = [];
  while (lengths.length < literals + distances) {
    const symbol = decode(reader);
    if (symbol < 16) lengths.push(symbol);
    else if (symbol === 16) lengths.push(...Array(3 + reader.take(2)).fill(lengths.at(-1)));
    else lengths.push(...Array(symbol === 17 ? 3 + reader.take(3) : 11 + reader.take(7)).fill(0));
  }
  return [decoder(lengths.slice(0, literals)), decoder(lengths.slice(literals))];
}

/** A message from its payload; `said` may be referred back to. farthest: how far back it refers. */
export function inflate(payload, said = Buffer.alloc(0)) {
  if (payload.length === 0) return { data: payload, farthest: 0 }; // no block at all
  const reader = new Reader(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]));
  const out = [...said];
  let farthest = 0;
  while (!reader.over) {
    const last = reader.take(1);
    const kind = reader.take(2);
    if (kind === 3) throw new Error('no such block');
    if (kind === 0) {
      reader.align();
      const size = reader.take(16);
      if ((reader.take(16) ^ size) !== 0xffff) throw new Error('a stored block is broken');
      for (let at = 0; at < size; at++) out.push(reader.take(8));
    } else {
      const [literal, distance] = kind === 1 ? FIXED : readCodes(reader);
      for (let symbol; (symbol = literal(reader)) !== 256;) {
        if (symbol < 256) {
          out.push(symbol);
          continue;
        }
        const length = LENGTHS[symbol - 257] + reader.take(lengthExtra(symbol - 257));
        const code = distance(reader);
        const back = DISTANCES[code] + reader.take(distanceExtra(code));
        if (back > out.length) throw new Error('it refers back too far');
        farthest = Math.max(farthest, back);
        for (let at = 0; at < length; at++) out.push(out[out.length - back]);
      }
    }
    if (last) reader.align();
  }
  return { data: Buffer.from(out.slice(said.length)), farthest };
}
