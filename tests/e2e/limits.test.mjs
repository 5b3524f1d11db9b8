// What a client may do, and what it meets at the limit, over real connections.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';
import { connect } from './support/client.mjs';
import { Deaf } from './support/deaf.mjs';
import { slowness, start, temporaryFolder, makeCertificate, within } from './support/server.mjs';
import { Raw, closeOf, frame, handshake } from './support/raw.mjs';

const folder = temporaryFolder();
makeCertificate(folder);
const server = await start(`
listen:
  - {port: 0, host: 127.0.0.1}
  - {port: 0, host: 127.0.0.1, ssl: {certificate-file: cert.pem, key-file: key.pem}}
plugin-dir: [PLUGINS, TEST_PLUGINS]
num-threads: 1
hosts:
  default:
    routes:
      - {match: /echo, consumer: echo}
      - {match: /slow, consumer: echo, limits: {messages-a-second: 50, burst: 1s}}
      - {match: /bytes, consumer: echo, limits: {bytes-a-second: 16k, burst: 1s}}
      - match: /close
        consumer: echo
        limits: {messages-a-second: 20, burst: 1s, on-rate: close}
`, folder);

for (const scheme of ['ws', 'wss']) {
  test(`${scheme}: who says too much is slowed, loses nothing, and holds up nobody`, async () => {
    const loud = await connect(server.wsUrl('/slow', scheme));
    const other = await connect(server.wsUrl('/echo', scheme));
    const began = performance.now();
    const count = 110;
    for (let i = 0; i < count; i++) loud.send(`message ${i} of a client that says too much`);
    for (let i = 0; i < 20; i++) {
      other.send(`${i}`);
      assert.equal(await other.next(), `${i}`);
    }
    if (performance.now() - began < 900) assert.ok(loud.unread.length < count, 'the other waited for the loud one');
    const heard = await loud.take(count);
    const seconds = (performance.now() - began) / 1000;
    heard.forEach((text, i) => assert.match(text, new RegExp(`^message ${i} `)));
    // 50 at once, a few that came in the same bytes, the others at 50 a second.
    assert.ok(seconds > 0.9, `${count} messages in ${seconds} s`);
    await loud.close();
    await other.close();
  });

  test(`${scheme}: bytes are counted`, async () => {
    const client = await connect(server.wsUrl('/bytes', scheme));
    const began = performance.now();
    for (let i = 0; i < 4; i++) client.send('x'.repeat(8000));
    for (const text of await client.take(4)) assert.equal(text.length, 8000);
    assert.ok(performance.now() - began > 450, 'read faster than it may say');
    await client.close();
  });

  test(`${scheme}: with on-rate: close it is closed with 1008`, async () => {
    const client = await connect(server.wsUrl('/close', scheme));
    for (let i = 0; i < 30; i++) client.send(`${i}`);
    const { code, reason } = await client.closed();
    assert.equal(code, 1008);
    assert.match(reason, /too much/);
    assert.equal(client.unread.length, 20);
  });
}

test('a flood of pings is no way around', async () => {
  const raw = new Raw(server.port);
  raw.write(handshake('/close'));
  assert.equal((await raw.response()).status, 101);
  raw.write(Buffer.concat(Array.from({ length: 100 }, () => frame('', { opcode: 9 }))));
  let found;
  do found = await raw.frame(); while (found.opcode === 10);
  assert.equal(closeOf(found).code, 1008);
  raw.destroy();
});

test('one who goes while he is slowed leaves nothing behind', async () => {
  const raw = new Raw(server.port);
  raw.write(handshake('/slow'));
  assert.equal((await raw.response()).status, 101);
  raw.write(Buffer.concat(Array.from({ length: 3000 }, () => frame('words'))));
  for (let i = 0; i < 50; i++) assert.equal((await raw.frame()).opcode, 1);
  raw.destroy(); // the server's end, when this file ends, must not wait for it
});

test('when all that waits is too much, who does not read is closed with 1013 and others hear all', async () => {
  const own = await start(`
listen: {port: 0, host: 127.0.0.1}
plugin-dir: PLUGINS
limits: {queues: 4m}
hosts:
  default:
    routes:
      - match: /relay/(?P<group>\\w+)
        consumer: relay
        limits: {message: 1m, queue: 1g, close: 60s}
`);
  const deaf = await new Deaf({ port: own.port }).open('/relay/room');
  const talker = await connect(own.wsUrl('/relay/room'));
  const message = 'x'.repeat(256 * 1024);
  // Far more than the kernel holds for one that does not read, and the limit.
  const count = 200;
  for (let i = 0; i < count; i++) {
    talker.send(message);
    assert.equal((await talker.next()).length, message.length);
  }
  const frames = await deaf.listen((heard) => heard.at(-1)?.opcode === 8);
  const last = frames.at(-1);
  assert.deepEqual(closeOf(last), { code: 1013, reason: "the server's queues are full" });
  assert.ok(frames.length < count, `${frames.length} of ${count} messages waited for one that did not read`);
  deaf.destroy();
  talker.send('still here');
  assert.equal(await talker.next(), 'still here');
  await talker.close();
  await own.stop();
});

test('whoever says nothing, or too much of a head, is not waited for', async () => {
  const own = await start(`
listen:
  - {port: 0, host: 127.0.0.1}
  - {port: 0, host: 127.0.0.1, ssl: {certificate-file: cert.pem, key-file: key.pem}}
handshake-timeout: 1
http1-request-timeout: 2
limit-request-body: 1000
hosts: {default: {}}
`, folder);
  const [plain, secure] = own.urls.map((url) => Number(new URL(url).port));
  const said = (port, text) => within(15, 'the end', new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port });
    let answer = '';
    socket.setEncoding('latin1').on('data', (data) => { answer += data; });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    socket.write(text);
  }));
  const head = 'POST / HTTP/1.1\r\nHost: localhost\r\n';
  const answers = await Promise.all([
    said(secure, ''), // no TLS handshake
    said(plain, head), // half a head
    said(plain, `${head}${'X-A: b\r\n'.repeat(200)}\r\n`), // too many fields
    said(plain, `${head}X-A: ${'b'.repeat(500000)}`), // too long
    said(plain, `${head}Content-Length: 1001\r\n\r\n`), // too much of a body
  ]);
  const statuses = answers.map((answer) => Number(answer.slice(9, 12)));
  assert.deepEqual(statuses, [0, 0, 400, 400, 413]);
  await own.stop();
});

/** An upload of a byte now and then, until the server ends it: {status (0: none), seconds}. */
async function trickle(url) {
  const { port, protocol } = new URL(url);
  const options = { port, host: '127.0.0.1', rejectUnauthorized: false };
  const socket = protocol === 'https:' ? tls.connect(options) : net.connect(options);
  const began = performance.now();
  let answer = '';
  socket.setEncoding('latin1').on('data', (data) => { answer += data; });
  socket.on('error', () => {}); // a reset is an end like another
  const over = new Promise((resolve) => { socket.on('end', resolve).on('close', resolve); });
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n');
  const drip = setInterval(() => socket.write('a'), 200);
  try {
    await within(25, 'the end of an upload', over);
  } finally {
    clearInterval(drip);
    socket.destroy();
  }
  return { status: Number(answer.slice(9, 12)), seconds: (performance.now() - began) / 1000 };
}

test('an upload of a byte now and then is cut, and holds up nobody', async () => {
  const own = await start('listen: {port: 0, host: 127.0.0.1}\nhttp1-request-timeout: 3\nhosts: {default: {}}\n');
  const uploads = Promise.all([
    trickle(server.url('/')), trickle(server.url('/', 'https')), trickle(own.url('/'))]);
  let over = false;
  const ended = uploads.finally(() => { over = true; });
  let answered = 0;
  while (!over) {
    const response = await within(5, 'an answer meanwhile', fetch(server.url('/'), { method: 'POST', body: 'all' }));
    assert.equal(response.status, 404);
    await response.arrayBuffer();
    answered++;
    await pause(20);
  }
  const [plain, secure, short] = await ended;
  assert.ok(answered > 20, `${answered} answers meanwhile`);
  // slowest-request counts after 10 s, and clients are looked at every 5 s
  assert.deepEqual([plain.status, secure.status], [408, 0]);
  for (const { seconds } of [plain, secure]) {
    assert.ok(seconds >= 9.9 && seconds <= 15 + 2 * slowness, `cut after ${seconds} s`);
  }
  // the time for head and body together ends without a status
  assert.equal(short.status, 0);
  assert.ok(short.seconds >= 2.9 && short.seconds <= 4 + 2 * slowness, `cut after ${short.seconds} s`);
  await own.stop();
});
