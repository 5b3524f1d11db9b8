// Clients that connect and are gone with a reset, by the ten thousands, while somebody honest is
// answered throughout. SLUICE_RESETS: how many, 10,000 by default.
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { connect } from './support/client.mjs';
import { forgetPeak, peak, resident } from './support/memory.mjs';
import { descriptors } from './support/process.mjs';
import { makeCertificate, slowness, start, temporaryFolder, within } from './support/server.mjs';
import { handshake } from './support/raw.mjs';

const COUNT = Math.ceil(Number(process.env.SLUICE_RESETS ?? 10000) / slowness);
const AT_ONCE = 100;
const MIB = 1024 * 1024;
/** What it may have at most beside what it had, and what of it the allocator may keep. */
const MORE = 32 * MIB;
const KEPT = 8 * MIB;
const SECONDS = 60 + COUNT / 200;

/** What is said before the reset: nothing, a part of a request, a whole one, a WebSocket. */
const BEGINNINGS = ['', 'GET / HT', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', handshake('/echo')];

/** Resolves to true when it had connected. */
const reset = (port, turn) => new Promise((resolve) => {
  const socket = net.connect({ port, host: '127.0.0.1' });
  let connected = false;
  const text = BEGINNINGS[turn % BEGINNINGS.length];
  socket.on('error', () => {}).once('close', () => resolve(connected));
  socket.once('connect', () => {
    connected = true;
    if (text) socket.write(text, () => socket.resetAndDestroy());
    else socket.resetAndDestroy();
  });
});

/** In a thread of its own, so that it does not hold up who measures. */
async function attack({ ports, count }) {
  let turn = 0;
  let connected = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (turn < count) {
      turn += 1;
      const came = await reset(ports[Math.floor(turn / BEGINNINGS.length) % ports.length], turn);
      connected += came;
    }
  }));
  parentPort.postMessage(connected);
}

function attacked(ports, count) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { ports, count } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  }).finally(() => worker.terminate());
}

/** Waits, in ms, of one who stays and of one who comes anew each time, until `over` settles. */
async function waitsUntil(over, url) {
  let ended = false;
  over.finally(() => { ended = true; }).catch(() => {});
  const old = await connect(url);
  const waits = [];
  while (!ended) {
    const from = performance.now();
    const fresh = await within(20, 'a new connection', connect(url));
    for (const client of [old, fresh]) {
      client.send('here');
      assert.equal(await client.next(20), 'here');
    }
    await fresh.close();
    waits.push(performance.now() - from);
    await pause(10);
  }
  await old.close();
  return waits.sort((one, other) => one - other);
}

async function calm(pid, most) {
  await within(20, `${most} descriptors again`, (async () => {
    while (descriptors(pid) > most) await pause(20);
  })());
}

async function measure(t) {
  const folder = temporaryFolder();
  makeCertificate(folder);
  const server = await start(`
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
num-threads: 2
log-closes: OFF
plugin-dir: PLUGINS
hosts: {default: {routes: [{match: /echo, consumer: echo}]}}
`, folder);
  const ports = server.urls.map((url) => Number(new URL(url).port));
  const pid = server.worker;
  const idle = descriptors(pid);
  await attacked(ports, 1000);
  await calm(pid, idle);
  const usual = resident(pid);
  forgetPeak(pid);
  const began = performance.now();
  const over = attacked(ports, COUNT);
  const [connected, waits] = await Promise.all([over, waitsUntil(over, server.wsUrl('/echo'))]);
  const seconds = (performance.now() - began) / 1000;
  await calm(pid, idle);
  const [most, kept] = [peak(pid) - usual, resident(pid) - usual];
  t.diagnostic(`${connected} of ${COUNT} connected and reset in ${seconds.toFixed(1)} s; ${waits.length} honest rounds, `
    + `half within ${waits[waits.length >> 1].toFixed(0)} ms, all within ${waits.at(-1).toFixed(0)} ms`);
  t.diagnostic(`memory: ${(usual / MIB).toFixed(1)} MiB before, ${(most / MIB).toFixed(1)} more at most, ${(kept / MIB).toFixed(1)} more behind it`);
  assert.equal(connected, COUNT);
  assert.equal(server.worker, pid, server.log);
  assert.ok(waits.at(-1) < 3000 * slowness, `${waits.at(-1)} ms`);
  await server.stop();
  if (slowness > 1) return; // a sanitizer keeps what is freed
  assert.ok(most < MORE, `${most} bytes`);
  assert.ok(kept < KEPT, `${kept} bytes`);
}

if (isMainThread) test(`${COUNT} connections that are reset`, { timeout: SECONDS * 1000 * slowness }, measure);
else await attack(workerData);
