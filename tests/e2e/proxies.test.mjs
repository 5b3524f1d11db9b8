// Clients behind a proxy: who they are for consumers, limits and logs, and who may not say so.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { once } from 'node:events';
import { Client, connect } from './support/client.mjs';
import { start, temporaryFolder, makeCertificate, within } from './support/server.mjs';

const folder = temporaryFolder();
makeCertificate(folder);
const log = path.join(folder, 'access.log');
const server = await start(`
listen:
  - {port: 0, host: 127.0.0.1}
  - {port: 0, host: 127.0.0.1, proxy-protocol: ON}
  - {port: 0, host: 127.0.0.1, proxy-protocol: ON, ssl: {certificate-file: cert.pem, key-file: key.pem}}
plugin-dir: [PLUGINS, TEST_PLUGINS]
num-threads: 1
handshake-timeout: 1
trusted-proxies: [127.0.0.1, 10.0.0.0/8]
limits: {connections-an-address: 2}
access-log: {path: access.log, format: "%h %r"}
hosts: {default: {routes: [{match: '/probe/(?P<group>\\w+)', consumer: probe}]}}
`, folder);
const [plain, introduced, secure] = server.urls.map((url) => Number(new URL(url).port));

/** PROXY protocol, version 2, for an IPv4 client. */
function second(client, port, more = Buffer.alloc(0)) {
  const addresses = Buffer.from([...client.split('.').map(Number), 127, 0, 0, 1, port >> 8, port & 255, 0, 80]);
  const head = Buffer.from([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 0]);
  head.writeUInt16BE(addresses.length + more.length, 14);
  return Buffer.concat([head, addresses, more]);
}

/** A connection that begins with these bytes, in pieces of so many. */
async function introduce(port, bytes, { piece = bytes.length, localAddress } = {}) {
  const socket = net.connect({ host: '127.0.0.1', port, localAddress });
  await once(socket, 'connect');
  socket.setNoDelay(true);
  for (let at = 0; at < bytes.length; at += piece) {
    await new Promise((resolve) => { socket.write(bytes.subarray(at, at + piece), resolve); });
  }
  return socket;
}

/** A WebSocket over that connection. */
async function over(socket, secured) {
  const line = secured ? tls.connect({ socket, rejectUnauthorized: false }) : socket;
  const scheme = secured ? 'wss' : 'ws';
  return new Client(`${scheme}://localhost/probe/room`, undefined, { createConnection: () => line }).opened();
}

async function peerOf(client) {
  client.send('peer');
  return client.next();
}

/** The lines of the access log that match, once there are so many. */
async function logged(pattern, count = 1) {
  for (let i = 0; i < 1000; i++) {
    const found = [...fs.readFileSync(log, 'utf8').matchAll(pattern)];
    if (found.length >= count) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the access log has no ${count} lines like ${pattern}:\n${fs.readFileSync(log, 'utf8')}`);
}

/** Waits for the end of the connection; returns what came before it. */
function untilEnd(socket) {
  let text = '';
  socket.setEncoding('latin1').on('data', (data) => { text += data; });
  socket.on('error', () => {});
  return within(10, 'the end', new Promise((resolve) => { socket.on('close', () => resolve(text)); }));
}

const lines = {
  'version 1': Buffer.from('PROXY TCP4 192.0.2.7 127.0.0.1 51000 80\r\n'),
  'version 2': second('192.0.2.7', 51000),
  'version 2 with more behind the addresses': second('192.0.2.7', 51000, Buffer.alloc(3000, 1)),
};
for (const [name, line] of Object.entries(lines)) {
  for (const secured of [false, true]) {
    test(`PROXY ${name} tells the client's address, ${secured ? 'before TLS' : 'plain'}`, async () => {
      const port = secured ? secure : introduced;
      const client = await over(await introduce(port, line), secured);
      assert.equal(await peerOf(client), '192.0.2.7:51000');
      await client.close();
    });
  }
  test(`PROXY ${name} may come in pieces`, async () => {
    const client = await over(await introduce(introduced, line, { piece: 7 }), false);
    assert.equal(await peerOf(client), '192.0.2.7:51000');
    await client.close();
  });
}

test('the client\'s request may come with the line', async () => {
  const socket = await introduce(introduced, Buffer.concat([lines['version 1'],
    Buffer.from('GET /with-the-line HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')]));
  assert.match(await untilEnd(socket), /^HTTP\/1\.1 404 /);
  await logged(/^192\.0\.2\.7 GET \/with-the-line /mg);
});

test('a proxy that speaks for itself is who it is', async () => {
  const client = await over(await introduce(introduced, Buffer.from('PROXY UNKNOWN\r\n')), false);
  assert.match(await peerOf(client), /^127\.0\.0\.1:/);
  await client.close();
});

test('without a line, or with a wrong one, or half a one, a connection is closed', async () => {
  for (const bytes of ['GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 'PROXY TCP4 one two 3 4\r\n']) {
    assert.equal(await untilEnd(await introduce(introduced, Buffer.from(bytes))), '');
  }
  await server.logged(/warning: .*did not begin with a whole PROXY line/);
  assert.equal(await untilEnd(await introduce(introduced, Buffer.from('PROXY TCP4 192.0'))), '');
  assert.equal(await untilEnd(await introduce(introduced, Buffer.alloc(0))), '');
  assert.equal(server.log.match(/did not begin with a whole PROXY line/g).length, 1);
});

test('whoever is no trusted proxy can\'t introduce anybody', async () => {
  assert.equal(await untilEnd(await introduce(introduced, lines['version 1'], { localAddress: '127.0.0.9' })), '');
});

test('X-Forwarded-For of a trusted proxy tells the client, request by request', async () => {
  const socket = net.connect({ host: '127.0.0.1', port: plain });
  const ask = (name, ...fields) => socket.write(`GET /${name} HTTP/1.1\r\nHost: localhost\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`);
  const answered = (count) => within(10, 'the answers', new Promise((resolve) => {
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (text.split('HTTP/1.1 404').length > count) resolve();
    });
  }));
  const all = answered(5);
  ask('xff-1', 'X-Forwarded-For: 203.0.113.9');
  ask('xff-2', 'X-Forwarded-For: 1.1.1.1, 203.0.113.8', 'x-forwarded-for: 10.0.0.4');
  ask('xff-3');
  ask('xff-4', 'X-Forwarded-For: 203.0.113.9, nonsense');
  ask('xff-5', 'X-Forwarded-For: [2001:db8::9]:80');
  await all;
  const seen = (await logged(/^(\S+) GET \/(xff-\d) /gm, 5)).map(([, who, what]) => `${what} ${who}`);
  assert.deepEqual(seen, ['xff-1 203.0.113.9', 'xff-2 203.0.113.8', 'xff-3 127.0.0.1', 'xff-4 127.0.0.1', 'xff-5 2001:db8::9']);
  socket.destroy();
});

test('consumers see the client, and from others the header means nothing', async () => {
  const headers = { 'X-Forwarded-For': '203.0.113.9' };
  const client = await connect(server.wsUrl('/probe/room'), undefined, { headers });
  assert.match(await peerOf(client), /^203\.0\.113\.9:/);
  await client.close();
  const liar = await connect(server.wsUrl('/probe/room'), undefined, { headers, localAddress: '127.0.0.9' });
  assert.match(await peerOf(liar), /^127\.0\.0\.9:/);
  await liar.close();
});

test('behind the PROXY protocol, too, only a trusted proxy may forward', async () => {
  const headers = { 'X-Forwarded-For': '203.0.113.9' };
  for (const [from, peer] of [['10.0.0.1', /^203\.0\.113\.9:/], ['192.0.2.7', /^192\.0\.2\.7:/]]) {
    const socket = await introduce(introduced, second(from, 51000));
    const client = await new Client('ws://localhost/probe/room', undefined,
      { headers, createConnection: () => socket }).opened();
    assert.match(await peerOf(client), peer);
    await client.close();
  }
});

test('limits count the clients, not their proxy', async () => {
  const open = [];
  const join = (address) => connect(server.wsUrl('/probe/room'), undefined, { headers: { 'X-Forwarded-For': address } });
  for (let i = 1; i <= 4; i++) open.push(await join(`203.0.113.${100 + i}`));
  open.push(await join('203.0.113.101'));
  await assert.rejects(join('203.0.113.101'), / 429$/);
  for (let i = 0; i < 2; i++) open.push(await over(await introduce(introduced, second('192.0.2.99', 51000 + i)), false));
  assert.match(await untilEnd(await introduce(introduced, second('192.0.2.99', 51009))), /^HTTP\/1\.1 429 /);
  open.push(await over(await introduce(introduced, second('192.0.2.98', 51000)), false));
  for (const client of open) await client.close();
});
