// Who is in a room: told by name while they are few, as a number when they are a crowd.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import WebSocket from 'ws';
import { connect } from './support/client.mjs';
import { processorSeconds } from './support/process.mjs';
import { Proxy } from './support/proxy.mjs';
import { slowness, start, within } from './support/server.mjs';
import { until } from './support/wait.mjs';

const CROWD = Number(process.env.SLUICE_CROWD ?? (slowness === 1 ? 1000 : 300));
const MOST = 20;

let server;
before(async () => {
  server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
max-connections: ${CROWD + 100}
plugin-dir: TEST_PLUGINS
hosts:
  default:
    routes:
      - match: /(?P<group>[\\w-]+)/
        consumer: keeper
        limits: {ping: ${slowness}s, pong: ${slowness}s}
`);
});

const url = (room, user, most = 100, port = server.port) =>
  `ws://127.0.0.1:${port}/${room}/?user=${user}&most=${most}`;

/** Somebody who has come: what they were told of the others first. */
async function come(...where) {
  const client = await connect(url(...where));
  assert.match(await client.next(), /^joined 0 0000000000000000:0 0$/);
  client.people = await client.next();
  return client;
}

test('each hears who comes and goes, and finds who is there', async () => {
  const ann = await come('few', 'ann');
  const ben = await come('few', 'ben');
  const again = await come('few', 'ben');
  assert.equal(ann.people, 'people 1 ann');
  assert.equal(ben.people, 'people 2 ann ben');
  assert.equal(again.people, 'people 2 ann ben');
  await ben.close();
  await again.close();
  ann.send('pass end');
  assert.deepEqual(await ann.take(3), ['+ben', '-ben', 'end'], 'two windows are one person');
  await ann.close();
});

test('whose network goes away has gone once nothing answers', async () => {
  const proxy = await Proxy.to(server.port);
  const ann = await come('silent', 'ann');
  const ben = await come('silent', 'ben', 100, proxy.port);
  assert.equal(await ann.next(), '+ben');
  proxy.silence();
  assert.equal(await ann.next(10), '-ben');
  ben.socket.terminate();
  proxy.close();
  await ann.close();
});

test(`a join among ${CROWD} costs no more messages than one among ten`, async (t) => {
  const { worker } = server;
  const heard = { names: 0, counts: 0 };
  let last = 0;
  const sockets = [];
  const before = processorSeconds(worker);
  for (let number = 0; number < CROWD; number += 50) {
    await Promise.all(Array.from({ length: Math.min(50, CROWD - number) }, (_, i) => within(20, 'a join', new Promise((resolve, reject) => {
      const socket = new WebSocket(url('crowd', `u${number + i}`, MOST), { perMessageDeflate: false });
      sockets.push(socket);
      socket.on('error', reject);
      socket.on('message', (data) => {
        const text = data.toString();
        if (text.startsWith('people')) resolve();
        else if (text.startsWith('+')) heard.names += 1;
        else if (text.startsWith('#')) {
          heard.counts += 1;
          last = Math.max(last, Number(text.slice(1)));
        }
      });
    }))));
  }
  const spent = processorSeconds(worker) - before;
  await until('the last count', () => last === CROWD);
  await until('all to have it', () => heard.counts >= CROWD);
  // By name each of the first MOST was told to those before; a count goes to all once a second.
  assert.ok(heard.names <= MOST * MOST / 2, `${heard.names} by name`);
  t.diagnostic(`${CROWD} joins: ${heard.names} told by name, ${heard.counts} counts, ` +
    `${(spent / CROWD * 1e6).toFixed(0)} us of the server's CPU each`);
  const [witness, ...others] = sockets;
  last = Infinity;
  const falls = [];
  witness.on('message', (data) => { if (data.toString().startsWith('#')) falls.push(Number(data.toString().slice(1))); });
  for (const socket of others.slice(0, -4)) socket.terminate();
  await until('names again', () => falls.some((count) => count <= MOST));
  for (const socket of sockets) socket.terminate();
});
