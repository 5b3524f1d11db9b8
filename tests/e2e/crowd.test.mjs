// Many connections: how they spread over the threads, and one order for a thousand members.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { makeCertificate, start, temporaryFolder, within } from './support/server.mjs';

const IDLE = 8000;
const MEMBERS = 1000;
const PUBLISHERS = 10;
const EACH = 20;
// Client addresses: one has ports for some 28,000 connections only, and a server's time-waits count.
const ADDRESSES = 8;

let server;
before(async () => {
  const folder = temporaryFolder();
  makeCertificate(folder);
  server = await start(`
listen:
  - port: 0
  - port: 0
    ssl: {certificate-file: ${folder}/cert.pem, key-file: ${folder}/key.pem}
num-threads: 2
max-connections: 19000
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - match: /probe/(?P<group>\\w+)/
        consumer: probe
      - match: /relay/(?P<group>\\w+)/
        consumer: relay
`);
});

function open(path, number, scheme) {
  return new Promise((resolve, reject) => {
    const url = server.wsUrl(path, scheme).replace(/\/\/[^:]+:/, `//127.0.0.${1 + (number % ADDRESSES)}:`);
    const socket = new WebSocket(url, { perMessageDeflate: false, rejectUnauthorized: false });
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
  });
}

/** Opens that many, a hundred at a time. */
async function crowd(count, path, scheme = 'ws') {
  const all = [];
  while (all.length < count) {
    const some = Array.from({ length: Math.min(100, count - all.length) }, (_, i) => open(path, all.length + i, scheme));
    all.push(...await Promise.all(some));
  }
  return all;
}

/** The first message of each. */
const answers = (sockets) => Promise.all(sockets.map((socket) => new Promise((resolve, reject) => {
  socket.once('message', (data) => resolve(data.toString()));
  socket.once('close', (code) => reject(new Error(`closed with ${code}`)));
})));

/** Ten of them talk; all hear all of it, once and in one order. */
async function talk(members) {
  const total = members.length * PUBLISHERS * EACH;
  const heard = members.map(() => []);
  let count = 0;
  const all = new Promise((resolve, reject) => {
    members.forEach((socket, number) => {
      socket.on('message', (data) => {
        heard[number].push(data.toString());
        if (++count === total) resolve();
      });
      socket.on('close', (code) => reject(new Error(`a member was closed with ${code}`)));
    });
  });
  for (let number = 0; number < EACH; number++) {
    for (let publisher = 0; publisher < PUBLISHERS; publisher++) {
      members[publisher * 7].send(`${publisher} ${number}`);
    }
    await new Promise((resolve) => { setImmediate(resolve); });
  }
  await within(60, 'the deliveries', all);

  const order = heard[0].join('\n');
  for (const own of heard) assert.equal(own.join('\n'), order);
  const next = new Array(PUBLISHERS).fill(0);
  for (const message of heard[0]) {
    const [publisher, number] = message.split(' ').map(Number);
    assert.equal(number, next[publisher]++, `publisher ${publisher} is out of order`);
  }
}

test('8,000 idle connections spread over two threads within 10 %, and a thousand members of one room hear one order', async (context) => {
  const idle = await within(60, 'opening the idle connections', crowd(IDLE, '/probe/idle/'));
  const told = answers(idle);
  for (const socket of idle) socket.send('thread');
  const threads = new Map();
  for (const thread of await within(60, 'the answers', told)) {
    threads.set(thread, (threads.get(thread) ?? 0) + 1);
  }
  context.diagnostic(`connections a thread: ${[...threads.values()].join(', ')}`);
  assert.equal(threads.size, 2);
  for (const count of threads.values()) assert.ok(Math.abs(count - IDLE / 2) <= IDLE / 20, `${count}`);

  const members = await within(60, 'opening the members', crowd(MEMBERS, '/relay/room/'));
  await talk(members);
  for (const socket of [...idle, ...members]) socket.removeAllListeners('close').terminate();
});

test('so do two hundred members over TLS', async () => {
  const members = await within(60, 'opening the members', crowd(200, '/relay/secure/', 'wss'));
  await talk(members);
  for (const socket of members) socket.removeAllListeners('close').terminate();
});
