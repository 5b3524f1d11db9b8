// permessage-deflate (RFC 7692) as clients meet it: `ws` with every parameter, Chromium, and a
// client that breaks the rules.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync, inflateRawSync, constants } from 'node:zlib';
import { connect } from './support/client.mjs';
import { closeOf, frame, handshake, Raw } from './support/raw.mjs';
import { start } from './support/server.mjs';
import { launchBrowser } from './support/site.mjs';

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: /plain/, consumer: echo, limits: {message: 1m, queue: 4m}}
      - match: /keeps/
        consumer: echo
        limits: {message: 1m, queue: 4m}
        compress-messages: {takeover: ON, threshold: 0, level: 6}
      - match: /large/
        consumer: echo
        limits: {message: 1m, queue: 4m}
        compress-messages: {takeover: ON, window-bits: 15, threshold: 1}
      - match: /small/
        consumer: echo
        limits: {message: 1m, queue: 4m}
        compress-messages: {window-bits: 9, threshold: 0}
      - {match: /off/, consumer: echo, limits: {message: 1m, queue: 4m}, compress-messages: OFF}
      - {match: /little/, consumer: echo, limits: {message: 1k}}
      - match: /room/(?P<group>\\w+)/
        consumer: relay
        compress-messages: {threshold: 100}
      - match: /keeping/(?P<group>\\w+)/
        consumer: relay
        compress-messages: {takeover: ON, threshold: 0}
    paths:
      /: {status: ON}
`;

const BOTH = 'server_no_context_takeover; client_no_context_takeover';

let server;
before(async () => { server = await start(configuration); });

/** Text of so many bytes that compresses as chat does; the same for the same seed. */
function text(size, seed = 1) {
  const words = ['who ', 'hears ', 'what ', '{"type":"message","text":"', '"},', 'the room '];
  let out = '';
  for (let n = seed; out.length < size; n = (n * 1103515245 + 12345) % 2147483648) {
    out += words[(n >> 8) % words.length] + (n % 3 === 0 ? n.toString(36) : '');
  }
  return out.slice(0, size);
}

/** A message as a client's payload. */
const pack = (data, options) =>
  deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH, ...options }).subarray(0, -4);

const unpack = (payload) =>
  inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH });

async function opened(path, offer = 'permessage-deflate') {
  const client = new Raw(server.port);
  client.write(handshake(path, { 'Sec-WebSocket-Extensions': offer }));
  const response = await client.response();
  assert.equal(response.status, 101);
  return { client, answer: response.headers['sec-websocket-extensions'] };
}

async function closedWith(client) {
  const found = closeOf(await client.frame());
  client.destroy();
  return found.code;
}

describe('the handshake', () => {
  const offers = [
    ['/plain/', 'permessage-deflate; client_max_window_bits', `permessage-deflate; ${BOTH}`],
    ['/plain/', 'permessage-deflate; server_max_window_bits=10', `permessage-deflate; ${BOTH}; server_max_window_bits=10`],
    ['/plain/', 'permessage-deflate; server_max_window_bits=77, permessage-deflate', `permessage-deflate; ${BOTH}`],
    ['/plain/', 'permessage-deflate; x=y', undefined],
    ['/plain/', '"', undefined],
    ['/plain/', 'bzip, snappy', undefined],
    ['/off/', 'permessage-deflate', undefined],
    ['/keeps/', 'permessage-deflate; client_max_window_bits', 'permessage-deflate; client_max_window_bits=12'],
    ['/keeps/', 'permessage-deflate', 'permessage-deflate; client_no_context_takeover'],
    ['/large/', 'permessage-deflate', 'permessage-deflate'],
  ];
  for (const [path, offer, answer] of offers) {
    test(`${path} answers ${offer}`, async () => {
      const found = await opened(path, offer);
      found.client.destroy();
      assert.equal(found.answer, answer);
    });
  }

  test('several fields are one list', async () => {
    const found = await opened('/plain/',
      'foo; bar\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9, permessage-deflate');
    found.client.destroy();
    assert.equal(found.answer, `permessage-deflate; ${BOTH}; server_max_window_bits=9`);
  });
});

const variants = [
  true,
  { threshold: 0 },
  { threshold: 0, serverNoContextTakeover: true },
  { threshold: 0, clientNoContextTakeover: true },
  { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  { threshold: 0, serverMaxWindowBits: 9 },
  { threshold: 0, serverMaxWindowBits: 12, clientMaxWindowBits: 10 },
  { threshold: 0, clientMaxWindowBits: 9, serverNoContextTakeover: true, serverMaxWindowBits: 15 },
];
const sizes = [0, 1, 125, 126, 700, 1024, 5000, 40000, 65536, 300000, 900, 800, 20000];

for (const path of ['/plain/', '/keeps/', '/large/', '/small/', '/off/']) {
  describe(`echo of ${path}`, () => {
    for (const perMessageDeflate of variants) {
      test(`with ${JSON.stringify(perMessageDeflate)}`, async () => {
        const client = await connect(server.wsUrl(path), [], { perMessageDeflate });
        assert.equal(client.socket.extensions.includes('permessage-deflate'), path !== '/off/');
        for (const size of sizes) {
          client.send(text(size, size + 1));
          client.send(Buffer.from(text(size, 7)));
          // A message in three frames.
          client.socket.send(text(size), { fin: false });
          client.socket.send('…', { fin: false });
          client.socket.send('.', { fin: true });
        }
        for (const size of sizes) {
          assert.ok(await client.next(20) === text(size, size + 1), `text of ${size}`);
          assert.ok(Buffer.from(text(size, 7)).equals(await client.next(20)), `binary of ${size}`);
          assert.ok(await client.next(20) === `${text(size)}….`, `fragments of ${size}`);
        }
        assert.equal((await client.close()).code, 1000);
      });
    }
  });
}

test('members with different settings hear the same, in the same order', async () => {
  const members = await Promise.all([false, ...variants].flatMap((perMessageDeflate) =>
    ['/room/kitchen/', '/keeping/kitchen/'].map((path) => connect(server.wsUrl(path), [], { perMessageDeflate }))));
  await Promise.all(members.map(async (member, index) => {
    member.send(`hello ${index}`);
    while (await member.next(20) !== `hello ${index}`);
  }));
  const said = sizes.filter((size) => size < 60000).map((size) => `said ${text(size, size)}`);
  for (const message of said) members[3].send(message);
  await Promise.all(members.map(async (member, index) => {
    const heard = [];
    while (heard.length < said.length) {
      const message = await member.next(20);
      if (message.startsWith('said ')) heard.push(message);
    }
    assert.ok(heard.every((message, place) => message === said[place]), `member ${index}`);
  }));
  await Promise.all(members.map((member) => member.close()));
});

describe('frames', () => {
  test('an echo is compressed from the threshold on, and smaller', async () => {
    const { client } = await opened('/plain/');
    client.write(frame(pack(text(1023)), { rsv: 4 })).write(frame(pack(text(4000)), { rsv: 4 }));
    const short = await client.frame();
    assert.equal(short.payload.toString(), text(1023));
    const long = await client.frame();
    assert.ok(long.payload.length < 2000);
    assert.equal(unpack(long.payload).toString(), text(4000));
    client.destroy();
  });

  test('a message that was said before costs little where its context is kept', async () => {
    const { client } = await opened('/keeps/', 'permessage-deflate; client_max_window_bits');
    const seen = [];
    for (let i = 0; i < 2; i++) {
      client.write(frame(text(1000)));
      seen.push((await client.frame()).payload.length);
    }
    assert.ok(seen[1] * 4 < seen[0], `${seen}`);
    client.destroy();
  });

  const bad = [
    ['RSV1 that was not agreed on', '/off/', frame(pack('hi'), { rsv: 4 }), 1002],
    ['RSV2', '/plain/', frame(pack('hi'), { rsv: 2 }), 1002],
    ['RSV1 and RSV3', '/plain/', frame(pack('hi'), { rsv: 5 }), 1002],
    ['RSV1 on a ping', '/plain/', frame('', { rsv: 4, opcode: 9 }), 1002],
    ['RSV1 on a continuation', '/plain/',
      Buffer.concat([frame(pack('hi'), { rsv: 4, fin: false }), frame('', { rsv: 4, opcode: 0 })]), 1002],
    ['what is not compressed', '/plain/', frame('not compressed', { rsv: 4 }), 1007],
    ['a message cut short', '/plain/', frame(pack(text(900)).subarray(0, -20), { rsv: 4 }), 1007],
    ['compressed text that is not UTF-8', '/plain/', frame(pack(Buffer.from([0xff])), { rsv: 4 }), 1007],
    ['one byte over the limit', '/little/', frame(pack(Buffer.alloc(1025)), { rsv: 4, opcode: 2 }), 1009],
    ['a bomb of 50 MB', '/plain/', frame(pack(Buffer.alloc(50 << 20)), { rsv: 4, opcode: 2 }), 1009],
    ['a payload that is too large itself', '/little/', frame(Buffer.alloc(1217), { rsv: 4 }), 1009],
  ];
  for (const [what, path, bytes, code] of bad) {
    test(`${what} is ${code}`, async () => {
      const { client } = await opened(path);
      client.write(bytes);
      assert.equal(await closedWith(client), code);
    });
  }

  test('a message of the limit itself passes', async () => {
    const { client } = await opened('/little/');
    client.write(frame(pack(Buffer.alloc(1024)), { rsv: 4, opcode: 2 }));
    assert.equal(unpack((await client.frame()).payload).length, 1024);
    client.destroy();
  });
});

describe('Chromium', () => {
  let browser;
  before(async () => { browser = await launchBrowser(); });
  after(() => browser?.close());

  for (const path of ['/plain/', '/keeps/', '/large/', '/small/']) {
    test(`echo of ${path}`, async () => {
      const page = await browser.newPage();
      await page.goto(server.url('/'));
      const found = await page.evaluate(async ([url, messages]) => {
        const socket = new WebSocket(url);
        const heard = [];
        return new Promise((resolve, reject) => {
          socket.onopen = () => messages.forEach((message) => socket.send(message));
          socket.onmessage = ({ data }) => {
            heard.push(data);
            if (heard.length === messages.length) {
              socket.close(1000);
              resolve({ extensions: socket.extensions, same: heard.every((data, at) => data === messages[at]) });
            }
          };
          socket.onclose = ({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`));
        });
      }, [server.wsUrl(path), sizes.map((size) => text(size, size + 1))]);
      assert.ok(found.extensions.includes('permessage-deflate'), found.extensions);
      assert.ok(found.same);
      await page.close();
    });
  }
});
