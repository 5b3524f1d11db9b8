// A server that is started with few descriptors takes no more clients than it has descriptors for.
// When more come, of several processes, those that are in are served, the others get 503, the
// processor rests, and there is room when some go.
// SLUICE_SOCKETS: its limit of descriptors, 1,500 by default; a quarter more come.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from './support/client.mjs';
import { resident } from './support/memory.mjs';
import { descriptors, processorSeconds } from './support/process.mjs';
import { slowness, start, within } from './support/server.mjs';

const LIMIT = Number(process.env.SLUICE_SOCKETS ?? 1500);
const COMING = Math.ceil(LIMIT * 1.25 / 3) * 3;
const MIB = 1024 * 1024;
const HOLDER = new URL('support/sockets.mjs', import.meta.url);

/** Processes with so many sockets in all. */
function hold(port, count) {
  return Array.from({ length: 3 }, () => {
    const child = fork(HOLDER, [port, count / 3]);
    child.told = { upgraded: 0, refused: 0, lost: 0 };
    child.on('message', (told) => { child.told = told; });
    return child;
  });
}

const sum = (holders, what) => holders.reduce((all, { told }) => all + told[what], 0);

async function until(what, is) {
  await within(60, what, (async () => { while (!is()) await pause(20); })());
}

async function echo(client) {
  client.send('here');
  assert.equal(await client.next(), 'here');
}

test(`${COMING} connections to ${LIMIT} descriptors`, { timeout: 200000 * slowness }, async (t) => {
  const server = await start(`
listen: {port: 0, host: 127.0.0.1}
plugin-dir: PLUGINS
num-threads: 2
max-connections: 100000
http1-request-timeout: 100
log-closes: OFF
hosts: {default: {routes: [{match: /echo, consumer: echo}]}}
`, undefined, { launcher: ['prlimit', `--nofile=${LIMIT}:${LIMIT}`] });
  const pid = server.worker;
  const [, places] = server.log.match(/ready: 2 threads, at most (\d+) connections/).map(Number);
  assert.ok(places > LIMIT - 150 && places < LIMIT, server.log);
  const old = await connect(server.wsUrl('/echo'));
  const [idle, usual] = [descriptors(pid), resident(pid)];
  const holders = hold(server.port, COMING);
  t.after(() => holders.forEach((holder) => holder.kill('SIGKILL')));
  const answered = () => ['upgraded', 'refused', 'lost'].reduce((all, what) => all + sum(holders, what), 0);
  await until('an answer for each', () => answered() >= COMING);
  const most = [descriptors(pid), resident(pid)];

  const [before, began] = [processorSeconds(pid), performance.now()];
  let longest = 0;
  for (let i = 0; i < 20; i++) {
    const from = performance.now();
    await echo(old);
    longest = Math.max(longest, performance.now() - from);
    await pause(100);
  }
  const share = (processorSeconds(pid) - before) / ((performance.now() - began) / 1000);
  const [inside, refused] = [sum(holders, 'upgraded'), sum(holders, 'refused')];
  t.diagnostic(`${inside} of ${COMING} are in, ${refused} got 503, ${most[0]} descriptors, ${(most[1] / MIB).toFixed(1)} MiB (${(usual / MIB).toFixed(1)} before); `
    + `${(100 * share).toFixed(1)} % of a processor then; an old one is answered within ${longest.toFixed(0)} ms`);
  assert.equal(inside, places - 1);
  assert.equal(refused, COMING - inside);
  assert.ok(share < 0.15 * slowness, `${(100 * share).toFixed(0)} %`);
  assert.ok(longest < 2000 * slowness, `${longest} ms`);

  // A third goes, and there is room again.
  const end = (holder) => { holder.send('end'); return once(holder, 'exit'); };
  await end(holders.pop());
  await until('room', () => descriptors(pid) < LIMIT * 0.8);
  const next = await connect(server.wsUrl('/echo'));
  await echo(next);
  await echo(old);
  await next.close();
  await Promise.all(holders.map(end));
  await until('the descriptors', () => descriptors(pid) <= idle);
  t.diagnostic(`${(resident(pid) / MIB).toFixed(1)} MiB when all have gone`);
  assert.equal(server.worker, pid, server.log);
  await old.close();
  await server.stop();
});
