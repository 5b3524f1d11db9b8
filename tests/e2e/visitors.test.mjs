// How many clients may come: all, from one address, in a second.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { once } from 'node:events';
import WebSocket from 'ws';
import { connect } from './support/client.mjs';
import { start, temporaryFolder, makeCertificate, within } from './support/server.mjs';

// One thread accepts in the order in which the tests connect.
const folder = temporaryFolder();
makeCertificate(folder);
const server = await start(`
listen:
  - {port: 0, host: 127.0.0.1}
  - {port: 0, host: 127.0.0.1, ssl: {certificate-file: cert.pem, key-file: key.pem}}
plugin-dir: [PLUGINS, TEST_PLUGINS]
num-threads: 1
limits: {connections-an-address: 3, handshakes-an-address: 20}
hosts:
  default:
    routes:
      - {match: /echo, consumer: echo}
      - {match: /two, consumer: echo, limits: {connections: 2}}
      - {match: /one-each, consumer: echo, limits: {connections-an-address: 1}}
`, folder);

/** The refusal of a handshake: {status, retryAfter}. */
async function refused(url, options) {
  const socket = new WebSocket(url, { rejectUnauthorized: false, ...options });
  socket.on('error', () => {});
  const [, response] = await within(10, 'the refusal', once(socket, 'unexpected-response'));
  response.resume();
  await once(response, 'end');
  return { status: response.statusCode, retryAfter: response.headers['retry-after'] };
}

/** A place that somebody has left is free once the server has seen that he left. */
async function connectSoon(url, options) {
  for (let i = 0; i < 500; i++) {
    try {
      return await connect(url, undefined, options);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error(`no place became free at ${url}`);
}

/** What a server says to a client that says nothing. */
async function greeting(localAddress, port = server.port) {
  const socket = net.connect({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => {});
  let text = '';
  socket.setEncoding('latin1').on('data', (data) => { text += data; });
  await within(10, 'the end', new Promise((resolve) => { socket.on('close', resolve); }));
  return text;
}

/** Connections of an address that say nothing. */
async function idle(localAddress, count, port = server.port) {
  const sockets = [];
  for (let i = 0; i < count; i++) {
    sockets.push(net.connect({ host: '127.0.0.1', port, localAddress }));
    sockets[i].on('error', () => {});
    await once(sockets[i], 'connect');
  }
  return sockets;
}

test('a route has so many connections; one more gets 503 and Retry-After', async () => {
  const url = server.wsUrl('/two');
  const first = await connect(url, undefined, { localAddress: '127.0.1.1' });
  const second = await connect(url, undefined, { localAddress: '127.0.1.2' });
  assert.deepEqual(await refused(url, { localAddress: '127.0.1.3' }), { status: 503, retryAfter: '5' });
  await first.close();
  const third = await connectSoon(url, { localAddress: '127.0.1.4' });
  third.send('in');
  assert.equal(await third.next(), 'in');
  await second.close();
  await third.close();
});

test('a route has so many connections of an address; one more gets 429', async () => {
  const url = server.wsUrl('/one-each');
  const first = await connect(url, undefined, { localAddress: '127.0.2.1' });
  assert.deepEqual(await refused(url, { localAddress: '127.0.2.1' }), { status: 429, retryAfter: '5' });
  const other = await connect(url, undefined, { localAddress: '127.0.2.2' });
  await first.close();
  await (await connectSoon(url, { localAddress: '127.0.2.1' })).close();
  await other.close();
});

for (const scheme of ['ws', 'wss']) {
  const net3 = scheme === 'ws' ? '127.0.3' : '127.0.4';
  test(`${scheme}: an address has so many connections, WebSockets and others alike`, async () => {
    const localAddress = `${net3}.1`;
    const socket = await connect(server.wsUrl('/echo', scheme), undefined, { localAddress });
    const others = await idle(localAddress, 2);
    const text = await greeting(localAddress);
    assert.match(text, /^HTTP\/1\.1 429 Too Many Requests\r\n/);
    assert.match(text, /^Retry-After: 5\r$/m);
    await (await connect(server.wsUrl('/echo', scheme), undefined, { localAddress: `${net3}.2` })).close();
    socket.send('still here');
    assert.equal(await socket.next(), 'still here');
    // The WebSocket's place is free when it has closed, and only then.
    await socket.close();
    const again = await connectSoon(server.wsUrl('/echo', scheme), { localAddress });
    assert.match(await greeting(localAddress), / 429 /);
    await again.close();
    for (const one of others) one.destroy();
  });
}

test('on a TLS listener one too many is closed before its handshake', async () => {
  const port = Number(new URL(server.url('/', 'https')).port);
  const others = await idle('127.0.5.1', 3, port);
  const socket = tls.connect({ host: '127.0.0.1', port, localAddress: '127.0.5.1', rejectUnauthorized: false });
  let shook = false;
  socket.on('error', () => {});
  socket.on('secureConnect', () => { shook = true; });
  await within(10, 'the end', new Promise((resolve) => { socket.on('close', resolve); }));
  assert.ok(!shook, 'a handshake was made');
  for (const one of others) one.destroy();
});

test('floods of handshakes get 429 from one address and 503 from all, and others come in', async () => {
  const own = await start(`
listen: {port: 0, host: 127.0.0.1}
plugin-dir: [PLUGINS, TEST_PLUGINS]
limits: {handshakes-an-address: 4, handshakes-a-second: 8}
hosts: {default: {routes: [{match: /echo, consumer: echo}]}}
`);
  const url = own.wsUrl('/echo');
  const knock = (localAddress) => new Promise((resolve) => {
    const socket = new WebSocket(url, { localAddress });
    socket.on('error', () => {});
    socket.on('open', () => { socket.close(); resolve('open'); });
    socket.on('unexpected-response', (request, { statusCode, headers }) => {
      request.destroy();
      resolve(`${statusCode} ${headers['retry-after']}`);
    });
  });
  const count = (answers, answer) => answers.filter((one) => one === answer).length;
  const one = await within(20, 'the flood', Promise.all(Array.from({ length: 100 }, () => knock('127.0.6.1'))));
  assert.ok(count(one, 'open') >= 4);
  assert.ok(count(one, '429 1') >= 1);
  assert.equal(count(one, 'open') + count(one, '429 1'), 100, one.join());
  const all = await within(20, 'the flood', Promise.all(
    Array.from({ length: 200 }, (_, i) => knock(`127.0.7.${1 + i}`))));
  assert.ok(count(all, 'open') >= 1);
  assert.ok(count(all, '503 1') >= 1);
  assert.equal(count(all, 'open') + count(all, '503 1'), 200, all.join());
  await own.stop();
});
