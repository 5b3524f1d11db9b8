// Clients that send at full rate, or are sent to, and never read: what they cost is bounded by their
// route's limits, others are served meanwhile, and nothing stays when they have gone.
//
// Memory is what the kernel counts as resident, at its highest. Each test has a program of its own,
// since one that has had a high tide would show the next one's as none.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { connect } from './support/client.mjs';
import { Deaf } from './support/deaf.mjs';
import { forgetPeak, peak, resident } from './support/memory.mjs';
import { head } from './support/peer.mjs';
import { closeOf } from './support/raw.mjs';
import { makeCertificate, slowness, start, temporaryFolder, within } from './support/server.mjs';

const KIB = 1024;
const MIB = 1024 * KIB;
const sanitized = slowness > 1;

const QUEUE = 1 * MIB;
const MESSAGE = 64 * KIB;

/** What a queued frame costs beside its bytes: its head, what malloc adds and rounds, its place in
 * a ring that doubles. A queue holds one frame for each 32 of its bytes, and 16. */
const FRAME = 48;
const framesOf = (size) => Math.min(QUEUE / 32 + 16, Math.ceil(QUEUE / size));

/** What a connection has beside its queue: a message that has not come as a whole; and with TLS the
 * write under way, encrypted, and what has been received of it. */
const roomOf = (secure) => MESSAGE + 16 * KIB + (secure ? 288 * KIB + 256 * KIB : 0);

/** What all connections of a thread share: input, output, compression; and malloc's own. */
const SHARED = 2 * MIB;

/** The most that a peer may cost to whom messages of so many bytes are sent. */
const capOf = (size, secure) => QUEUE + framesOf(size) * FRAME + roomOf(secure);

/** What may be under way from thread to thread. */
const UNDER_WAY = 64 * MIB;

/** Bytes that the kernel may keep between two sockets, which count for nobody. */
const KERNEL = 6 * MIB;

const configuration = (ring, threads) => `
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
num-threads: ${threads}
io-uring: ${ring}
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - {match: /echo/, consumer: echo, limits: {queue: 1m, message: 64k, close: 60s}}
      - match: /expands/
        consumer: echo
        limits: {queue: 1m, message: 64k, close: 60s}
        compress-messages: {threshold: 1m}
      - match: /keeps/
        consumer: echo
        limits: {queue: 1m, message: 64k, close: 60s}
        compress-messages: {takeover: ON}
      - {match: /impatient/, consumer: echo, limits: {queue: 1m, message: 64k, close: 1s}}
      - {match: /close/(?P<group>\\w+)/, consumer: losing, groups: shared, limits: {queue: 1m, close: 60s}}
      - match: /drop-oldest/(?P<group>\\w+)/
        consumer: losing
        groups: shared
        limits: {queue: 1m, on-full: drop-oldest}
      - match: /drop-newest/(?P<group>\\w+)/
        consumer: losing
        groups: shared
        limits: {queue: 1m, on-full: drop-newest}
`.replace(/match: (\/\S+\/)/g, "match: '$1'");

// --- what they send

/** A client's frame whose mask changes nothing. */
function frame(payload, options = {}) {
  const data = Buffer.from(payload);
  return Buffer.concat([head({ length: data.length, ...options }), Buffer.alloc(4), data]);
}

const pack = (data) => deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const packed = (data) => frame(pack(data), { rsv: 4 });
const PING = 9;
const PONG = 10;
const DEFLATE = 'permessage-deflate; client_max_window_bits';

/** name: path, message, the bytes that come back for it, what is offered. */
const floods = {
  'messages of a byte': ['/echo/', frame('x'), 3],
  // The most memory for the queue's bytes.
  'messages of 30 bytes': ['/echo/', frame('x'.repeat(30)), 32],
  'messages of 1,000 bytes': ['/echo/', frame('x'.repeat(1000)), 1004],
  'messages of 60,000 bytes': ['/echo/', frame('x'.repeat(60000)), 60004],
  'compressed messages': ['/echo/', packed(randomBytes(20000).toString('hex')), 22000, DEFLATE],
  'compressed messages, with takeover': ['/keeps/', packed(randomBytes(20000).toString('hex')), 22000, DEFLATE],
  'compressed messages that become a thousand times as large': ['/expands/', packed('x'.repeat(MESSAGE)), MESSAGE, DEFLATE],
};

/** A message several times, so that some 64 KiB are written at once. */
const many = (bytes, most = Infinity) =>
  Buffer.concat(Array(Math.min(most, Math.ceil(64 * KIB / bytes.length))).fill(bytes));

const mib = (bytes) => `${(bytes / MIB).toFixed(2)} MiB`;

// --- how it is measured

/** A program that has seen each kind of traffic once, so that what it makes at first is made. */
async function begin(ring, threads = 1) {
  const folder = temporaryFolder();
  makeCertificate(folder);
  const server = await start(configuration(ring, threads), folder);
  for (const scheme of ['ws', 'wss']) {
    for (const path of ['/echo/', '/keeps/', '/close/first/']) {
      const clients = await Promise.all(Array.from({ length: 4 * threads }, () =>
        connect(server.wsUrl(path, scheme), [], { perMessageDeflate: path !== '/close/first/' })));
      await Promise.all(clients.map(async (client) => {
        client.send('x'.repeat(60000));
        await client.next();
        await client.close();
      }));
    }
  }
  const base = resident(server.worker);
  forgetPeak(server.worker);
  return { server, base, growth: () => peak(server.worker) - base };
}

const open = (server, secure, path, offer) =>
  new Deaf({ port: Number(new URL(server.url('/', secure ? 'https' : 'http')).port), secure }).open(path, offer);

/** Does it, while another client is echoed one message after the other. Returns what came of it and
 * the longest that an echo took, in milliseconds. */
async function whileServing(server, work) {
  const client = await connect(server.wsUrl('/echo/'));
  let busy = true;
  const working = work.finally(() => { busy = false; });
  let slowest = 0;
  while (busy) {
    const sent = performance.now();
    client.send('are you there');
    assert.equal(await client.next(), 'are you there');
    slowest = Math.max(slowest, performance.now() - sent);
  }
  await client.close();
  return [await working, slowest];
}

/** Others wait for a turn of the loop, not for a queue. */
function checkServed(slowest, most = 2000) {
  assert.ok(slowest < most * slowness, `another client waited ${slowest.toFixed()} ms`);
}

/** A sanitizer keeps what was freed, and much beside what is in use. */
function checkGrowth(t, growth, cap, what) {
  t.diagnostic(`${what}: ${mib(growth)}, at most ${mib(cap)}`);
  if (!sanitized) assert.ok(growth <= cap, `${what} grew by ${mib(growth)} instead of ${mib(cap)}`);
}

/** What one was sent before the close, which must be there. */
function untilClose(frames, code, reason) {
  const last = frames.at(-1);
  assert.equal(last?.opcode, 8, `it was not closed after ${frames.length} frames`);
  assert.deepEqual(closeOf(last), { code, reason });
  assert.ok(frames.slice(0, -1).every(({ opcode }) => opcode < 8), 'a control frame came between');
  return frames.slice(0, -1);
}

const bytesOf = (frames) => frames.reduce((sum, { payload }) => sum + payload.length, 0);
const closed = (frames) => frames.at(-1)?.opcode === 8;


/** Answers come in order, so that what the others left behind has been cleared away. */
async function clearAway(server) {
  const client = await connect(server.wsUrl('/echo/'));
  for (let round = 0; round < 10; round++) {
    client.send('x');
    await client.next();
  }
  await client.close();
}

/** Peers push, all at once, while others are served. Then they read, and must have been closed when
 * their queues were full; or they go without. */
async function flood(server, peers, read) {
  const [all, slowest] = await whileServing(server, Promise.all(peers.map(async ({ secure, name }) => {
    const [path, message, back, offer] = floods[name];
    const times = Math.ceil((KERNEL + QUEUE) / back);
    const peer = await open(server, secure, path, offer);
    await peer.push(many(message, times), Math.min(times * message.length, 8 * MIB));
    await peer.taken();
    return peer;
  })));
  const heard = read ? await Promise.all(all.map((peer) => peer.listen(closed))) : [];
  for (const peer of all) peer.destroy();
  for (const frames of heard) {
    const size = bytesOf(untilClose(frames, 1013, 'send queue full'));
    assert.ok(size <= KERNEL + QUEUE, `${mib(size)} were sent to one who did not read`);
  }
  checkServed(slowest);
}

const capOfAll = (peers) => peers.reduce((sum, { secure, name }) => sum + capOf(floods[name][2], secure), SHARED);

/** Several times the same, and those before the last go without reading: what was in their queues
 * must be there for the next. */
async function floodAgain(t, ring, peers, rounds) {
  const { server, base, growth } = await begin(ring);
  for (let round = 1; round <= rounds; round++) {
    await flood(server, peers, round === rounds);
    await clearAway(server);
    checkGrowth(t, growth(), capOfAll(peers), `${peers.length} peers, round ${round}`);
    t.diagnostic(`and ${mib(resident(server.worker) - base)} when they had gone`);
  }
  await server.stop();
}

// --- groups

/** Messages of so many bytes that each begin with a number. */
const said = (number, size) => frame(String(number).padEnd(size));

/** Says so many numbered messages as fast as they are taken; returns how many the group refused. */
async function speak(speaker, count, size) {
  const most = Math.ceil(64 * KIB / size);
  for (let from = 0; from < count; from += most) {
    const some = Array.from({ length: Math.min(most, count - from) }, (_, at) => said(from + at, size));
    const bytes = Buffer.concat(some);
    await speaker.push(bytes, bytes.length);
  }
  speaker.socket.write(frame('', { opcode: PING }));
  const frames = await speaker.listen((heard) => heard.at(-1)?.opcode === PONG);
  return frames.length - 1;
}

/** The numbers that were heard, which must go up, and how many the member was told it missed. */
function heardBy(frames) {
  const numbers = [];
  let missed = 0;
  for (const { payload } of frames) {
    const text = payload.toString();
    if (text.startsWith('missed ')) missed += Number(text.slice(7));
    else numbers.push(Number(text));
  }
  assert.ok(numbers.every((number, at) => at === 0 || number > numbers[at - 1]), 'the order is wrong');
  return { numbers, missed };
}

/** Reads until all that was said is heard or known as missed. */
async function account(member, total) {
  const frames = await member.listen((heard) => {
    if (!String(heard.at(-1)?.payload).startsWith('missed ') && heard.length % 100 > 0) return false;
    const { numbers, missed } = heardBy(heard);
    return numbers.length + missed >= total;
  });
  const { numbers, missed } = heardBy(frames);
  assert.equal(numbers.length + missed, total);
  assert.ok(missed > 0, 'nothing was dropped');
  return numbers;
}

const gaps = (numbers) => numbers.filter((number, at) => at > 0 && number !== numbers[at - 1] + 1).length;

const mixed = (count) => Array.from({ length: count }, (_, at) => ({ secure: at % 2 === 1 }));
const roomOfAll = (peers) => peers.reduce((sum, { secure }) => sum + roomOf(secure), 0);

/** How each policy ends for a member, when `total` messages of this size went to the group, the last
 * of them with this number. */
const checks = {
  close: async (member) => {
    const { numbers, missed } = heardBy(untilClose(await member.listen(closed), 1013, 'send queue full'));
    assert.equal(gaps(numbers) + missed, 0);
  },
  // The kernel may have taken a few more in between, so that there is more than one gap.
  'drop-oldest': async (member, total, last, size) => {
    const numbers = await account(member, total);
    const run = QUEUE / 2 / size;
    assert.ok(gaps(numbers) > 0);
    assert.equal(numbers.at(-1), last);
    assert.equal(gaps(numbers.slice(-run)), 0, 'what was kept are not the newest');
  },
  'drop-newest': async (member, total, last, size) => {
    const numbers = await account(member, total);
    const run = QUEUE / 2 / size;
    assert.equal(numbers[0], 0);
    assert.equal(gaps(numbers.slice(0, run)), 0, 'what was kept are not the oldest');
    assert.ok(numbers.at(-1) < last, 'the newest was kept');
  },
};

/** Members do not read while one speaks at full rate; then they do. Returns how many messages the
 * group refused, and how long another client waited. */
async function talk(server, peers, policy, size, bytes) {
  const last = Math.ceil(bytes / size);
  const members = await Promise.all(peers.map(({ secure }) => open(server, secure, `/${policy}/room/`)));
  const speaker = await open(server, false, '/close/room/?speaks');
  const [refused, slowest] = await whileServing(server, speak(speaker, last, size));
  // Who comes now hears what is said last, so the group has dealt with all the rest.
  const listener = await connect(server.wsUrl('/close/room/'));
  speaker.socket.write(said(last, size));
  await listener.next();
  await Promise.all(members.map((member) => checks[policy](member, last + 1 - refused, last, size)));
  for (const one of [...members, speaker]) one.destroy();
  await listener.close();
  return { refused, slowest };
}

for (const ring of ['AUTO', 'OFF']) {
  describe(`io-uring: ${ring}`, () => {
    for (const secure of [false, true]) {
      describe(secure ? 'wss' : 'ws', () => {
        for (const name of Object.keys(floods)) {
          const dear = sanitized || name.startsWith('compressed');
          const [count, rounds] = dear ? [sanitized ? 1 : 2, 1] : [4, 2];
          test(`who floods an echo with ${name} is closed`, async (t) => {
            await floodAgain(t, ring, Array(count).fill({ secure, name }), rounds);
          });
        }

        test('who floods with pings is owed the last pong', async (t) => {
          const { server, growth } = await begin(ring);
          const peer = await open(server, secure, '/echo/');
          const last = 'the last one'.padEnd(125);
          const [, slowest] = await whileServing(server, (async () => {
            await peer.push(many(frame('x'.repeat(125), { opcode: PING })), 8 * MIB);
            peer.socket.write(frame(last, { opcode: PING }));
            await peer.taken();
          })());
          const frames = await peer.listen((heard) => String(heard.at(-1)?.payload) === last);
          assert.ok(frames.every(({ opcode }) => opcode === PONG), 'more than pongs came');
          // It goes on: nothing was closed.
          peer.socket.write(frame('still there'));
          await peer.listen((heard) => String(heard.at(-1).payload) === 'still there');
          peer.destroy();
          checkGrowth(t, growth(), SHARED + roomOf(secure), `${frames.length} pongs`);
          checkServed(slowest);
          await server.stop();
        });

        test('who goes on after the close that it does not read is cut off', async (t) => {
          const { server, growth } = await begin(ring);
          const peer = await open(server, secure, '/impatient/');
          const message = many(frame('x'.repeat(1000)));
          // Over TLS the connection lingers for the farewell, and takes no more.
          await whileServing(server, within(20, 'the end', peer.push(message, Infinity, 500)));
          peer.destroy();
          checkGrowth(t, growth(), SHARED + capOf(1004, secure), 'one that goes on');
          await server.stop();
        });
      });
    }

    // What is read at once, 64 KiB, holds some 700 messages here, of 64 KiB each when inflated.
    test('many messages in few bytes keep others waiting for a while only', async (t) => {
      const { server } = await begin(ring);
      const peer = await open(server, false, '/expands/', DEFLATE);
      const message = floods['compressed messages that become a thousand times as large'][1];
      const [, slowest] = await whileServing(server, (async () => {
        await peer.push(many(message), (sanitized ? 64 : 512) * KIB);
        await peer.taken();
      })());
      peer.destroy();
      t.diagnostic(`another client waited ${slowest.toFixed()} ms`);
      checkServed(slowest, 1000);
      await server.stop();
    });

    test('fifty at once cost fifty times as much', async (t) => {
      const names = Object.keys(floods).slice(0, 4);
      const peers = Array.from({ length: sanitized ? 8 : 50 }, (_, at) =>
        ({ secure: at % 2 === 1, name: names[(at >> 1) % names.length] }));
      await floodAgain(t, ring, peers, 1);
    });

    for (const policy of Object.keys(checks)) {
      test(`members who do not read what others say: ${policy}`, async (t) => {
        const { server, growth } = await begin(ring);
        const peers = mixed(sanitized ? 2 : 8);
        const { refused, slowest } = await talk(server, peers, policy, 1000, 16 * MIB);
        // A message is there once, however many wait for it, and all wait for much the same.
        checkGrowth(t, growth(), SHARED + 2 * QUEUE + roomOfAll(peers), `${peers.length} members`);
        assert.equal(refused, 0);
        checkServed(slowest);
        await server.stop();
      });
    }

    test('threads may be behind by so much, with members who do not read', async (t) => {
      const { server, growth } = await begin(ring, 2);
      const peers = mixed(sanitized ? 2 : 8);
      const { refused, slowest } = await talk(server, peers, 'drop-oldest', 16000, sanitized ? 16 * MIB : 128 * MIB);
      checkGrowth(t, growth(), 2 * SHARED + 2 * QUEUE + roomOfAll(peers) + UNDER_WAY, `${peers.length} members`);
      t.diagnostic(`${refused} messages were refused`);
      checkServed(slowest);
      await server.stop();
    });
  });
}
