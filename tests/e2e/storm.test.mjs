// Everything at once that hurts a server, while somebody honest is answered throughout; and behind
// the storm the server is as it was. SLUICE_STORM_SECONDS: how long, 30 by default, at most 3600;
// where that is more than two minutes, a line a minute says how the server is.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { connect } from './support/client.mjs';
import { forgetPeak, peak, resident } from './support/memory.mjs';
import { descriptors } from './support/process.mjs';
import { makeCertificate, serving, slowness, start, temporaryFolder, within } from './support/server.mjs';

const seconds = Math.min(3600, Number(process.env.SLUICE_STORM_SECONDS ?? 30));
const MIB = 1024 * 1024;

/** What honest clients may wait on a machine whose processors the storm shares: half of them, 99 of
 * 100, all. */
const LONGEST_MS = [200, 2000, 5000].map((ms) => ms * slowness);
/** What the allocator and the library keep for the next ones. */
const KEPT = 32 * MIB;
/** What the server may have at any moment of the storm. */
const MOST = 96 * MIB;

async function serve() {
  const folder = temporaryFolder();
  makeCertificate(folder);
  fs.mkdirSync(path.join(folder, 'www'));
  fs.writeFileSync(path.join(folder, 'www/index.html'), 'hello');
  fs.writeFileSync(path.join(folder, 'www/large'), Buffer.alloc(8 * MIB));
  return start(`
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
num-threads: 2
http1-request-timeout: 3
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: /echo/, consumer: echo, limits: {message: 16k, queue: 64k}}
    paths:
      /: {file.dir: www}
`, folder);
}

function storm(server, lasting) {
  const worker = new Worker(new URL('support/attackers.mjs', import.meta.url), {
    workerData: { port: server.port, securePort: Number(new URL(server.url('/', 'https')).port), seconds: lasting },
  });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  }).finally(() => worker.terminate());
}

/** One request on a connection of its own. */
const get = (url) => new Promise((resolve, reject) => {
  http.get(url, { agent: false }, (response) => {
    let body = '';
    response.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => resolve(body)).on('error', reject);
  }).on('error', reject);
});

/** Is answered again and again until `over` settles, and puts each wait, in ms, into the list. */
async function beAnswered(server, over, waits) {
  let ended = false;
  over.finally(() => { ended = true; }).catch(() => {});
  const old = await connect(server.wsUrl('/echo/'));
  const timed = async (what, act) => {
    const from = performance.now();
    await within(20, what, act());
    waits.push(performance.now() - from);
  };
  for (let turn = 0; !ended; turn += 1) {
    await timed('an echo on an old connection', async () => {
      old.send(`old ${turn}`);
      assert.equal(await old.next(20), `old ${turn}`);
    });
    await timed('an echo on a new connection', async () => {
      const fresh = await connect(server.wsUrl('/echo/', turn % 2 ? 'wss' : 'ws'));
      fresh.send(`new ${turn}`);
      assert.equal(await fresh.next(20), `new ${turn}`);
      await fresh.close();
    });
    await timed('a page', async () => assert.equal(await get(server.url('/')), 'hello'));
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  await old.close();
}

/** Looks at the server each second until `over` settles, and tells a minute's worth in a line:
 * the most memory that was seen. */
async function watch(server, pid, over, waits, tell) {
  let ended = false;
  over.finally(() => { ended = true; }).catch(() => {});
  const seen = { most: 0, descriptors: 0 };
  forgetPeak(pid);
  const began = performance.now();
  for (let minute = 1, told = 0; !ended;) {
    await Promise.race([over, new Promise((resolve) => { setTimeout(resolve, 1000); })]);
    assert.equal(server.worker, pid, `the worker was replaced:\n${server.log.slice(-2000)}`);
    const now = resident(pid);
    seen.most = peak(pid);
    seen.descriptors = Math.max(seen.descriptors, descriptors(pid));
    if (performance.now() - began < minute * 60000) continue;
    const longest = waits.slice(told).reduce((one, other) => Math.max(one, other), 0);
    told = waits.length;
    tell(`minute ${minute}: ${(now / MIB).toFixed(1)} MiB (most ${(seen.most / MIB).toFixed(1)}), `
      + `${descriptors(pid)} descriptors, ${waits.length} answers, longest wait of this minute ${Math.round(longest)} ms`);
    minute += 1;
  }
  return seen;
}

/** Waits until the server has let go of all that the storm opened. */
async function calm(pid, most) {
  const until = performance.now() + 20000 * slowness;
  while (descriptors(pid) > most && performance.now() < until) await new Promise((resolve) => { setTimeout(resolve, 50); });
  return descriptors(pid);
}

test(`${seconds} seconds of everything at once`, { timeout: (seconds + 90) * 1000 * slowness }, async (t) => {
  const server = await serve();
  const [pid] = serving(server.pid);
  const warm = connect(server.wsUrl('/echo/', 'wss')).then((client) => client.close());
  await warm;
  const before = await calm(pid, 0 + descriptors(pid));
  // What is kept for later is taken by the first gusts; what is lost would go on.
  await storm(server, Math.min(5, seconds / 3));
  assert.ok(await calm(pid, before) <= before, 'connections of the first gusts are left');
  const usual = resident(pid);
  const over = storm(server, seconds);
  const waits = [];
  const tell = (line) => { if (seconds > 120) process.stderr.write(`${line}\n`); };
  const [counts, , seen] = await Promise.all([over, beAnswered(server, over, waits), watch(server, pid, over, waits, tell)]);
  assert.ok(await calm(pid, before) <= before, 'connections are left');
  assert.equal(server.worker, pid, server.log.slice(-2000));
  const kept = resident(pid) - usual;
  waits.sort((one, other) => one - other);
  const at = (part) => Math.round(waits[Math.floor((waits.length - 1) * part)]);
  t.diagnostic(`storm: ${JSON.stringify(counts)}`);
  t.diagnostic(`honest: ${waits.length} answers, half within ${at(0.5)} ms, 99 of 100 within ${at(0.99)} ms, all within ${at(1)} ms`);
  t.diagnostic(`memory: ${(usual / MIB).toFixed(1)} MiB behind the first gusts, ${(kept / MIB).toFixed(1)} MiB more behind the storm, `
    + `${(seen.most / MIB).toFixed(1)} MiB at most, with ${seen.descriptors} descriptors`);
  for (const [name, count] of Object.entries(counts)) assert.ok(count > 0, `${name} did nothing`);
  assert.ok(counts.resets > 20 * seconds / slowness, 'the storm was none');
  assert.ok(waits.length >= seconds, `${waits.length} answers`);
  for (const [i, part] of [0.5, 0.99, 1].entries()) {
    assert.ok(at(part) < LONGEST_MS[i], `${part * 100} % within ${at(part)} ms`);
  }
  await server.stop();
  // A sanitizer keeps what is freed.
  if (slowness > 1) return;
  assert.ok(kept < KEPT, `${kept} bytes`);
  assert.ok(seen.most < MOST, `${seen.most} bytes`);
});
