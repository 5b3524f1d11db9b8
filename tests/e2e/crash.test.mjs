// What a consumer does wrong is named in the log, and costs at most its worker: another one serves
// within a second of the crash or the time limit, and no connect is refused meanwhile.
//
// SLUICE_KILLS, SLUICE_STOPS: how often the worker is killed and stopped under load (4, 1).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, test } from 'node:test';
import { Client, connect } from './support/client.mjs';
import { order, servedForASecond, statusOf } from './support/command.mjs';
import { resident } from './support/memory.mjs';
import { probe, Prober } from './support/prober.mjs';
import { handshake, Raw } from './support/raw.mjs';
import { launch, mayCrash, slowness, start, within, withRing, writeConfiguration } from './support/server.mjs';
import { until } from './support/wait.mjs';

const sanitized = slowness > 1;
const STUCK_MS = 2000;

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
stuck-timeout: ${STUCK_MS}ms
drain-timeout: 2s
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - {match: '/bad/(?P<name>\\w+)/', consumer: misbehaving}
      - {match: /echo/, consumer: echo}
`;

const options = { env: mayCrash };
const begin = () => start(configuration, undefined, options);

async function echoes(server) {
  const client = await connect(server.wsUrl('/echo/'));
  client.send('hello');
  assert.equal(await client.next(), 'hello');
  await client.close();
}

/** Waits for a worker other than this one, and that it serves. */
async function nextWorker(server, before) {
  await until('another worker', async () =>
    aliveWorker(server) !== before && await probe(server.port) === 'served');
  await echoes(server);
}

/** The worker, or undefined when there is none at the moment. */
function aliveWorker(server) {
  try {
    return server.worker;
  } catch {
    return undefined;
  }
}

/** Lets somebody connect all the time while act() ends the worker: nobody may be refused, and
 * after at most so many milliseconds somebody must be served again. */
async function survives(server, act, most) {
  const before = server.worker;
  const prober = new Prober(server.port, { most: 2000 });
  await until('the first who were served', () => prober.counts.served > 5);
  const at = performance.now();
  await act(before);
  await nextWorker(server, before);
  const { refused } = await prober.stop();
  assert.equal(refused, undefined, `refused ${refused} times`);
  const gap = prober.longestGap(at);
  assert.ok(gap < most * slowness, `nobody was served for ${gap} ms`);
  return gap;
}

/** A client that says the word, and hears the end of its connection. */
async function say(server, word) {
  const client = await connect(server.wsUrl('/bad/room/'));
  client.send(word);
  return client;
}

/** As the log says it: a sanitized build has no handler for signals. */
const crash = (signal, hook, thread = 'sluice-\\d') => sanitized
  ? new RegExp(`error: worker \\d+ was ended by ${signal}$`, 'm')
  : new RegExp(`error: worker \\d+ crashed: ${signal} at 0x[0-9a-f]+ in plugin misbehaving, route \\S*/bad/\\S+, `
    + `hook ${hook}; thread ${thread}; backtrace: .*misbehaving\\S*\\+0x[0-9a-f]+`);

describe('a consumer that crashes', { concurrency: 5 }, () => {
  for (const [what, word, signal, hook] of [
    ['in receive', 'segv', 'SIGSEGV', 'receive'],
    ['by its own word', 'abort', 'SIGABRT', 'receive'],
    ['in a timer', 'timer', 'SIGSEGV', 'timer'],
  ]) {
    test(`${what} is named, and another worker serves within a second`, async () => {
      const server = await begin();
      await servedForASecond(server);
      await survives(server, async () => {
        const { code } = await (await say(server, word)).closed();
        assert.equal(code, 1006);
      }, 1000);
      assert.match(server.log, crash(signal, hook));
      assert.equal((await statusOf(server)).restarts, 1);
      await server.stop();
    });
  }

  test('in connect is named, and the client gets no answer', async () => {
    const server = await begin();
    await servedForASecond(server);
    await survives(server, async () => {
      const raw = new Raw(server.port);
      raw.write(handshake('/bad/room/?falls=1'));
      await raw.ended();
      raw.destroy();
    }, 1000);
    assert.match(server.log, crash('SIGSEGV', 'connect'));
    await server.stop();
  });

  test('ten times in a minute is loaded no more: 503 until a reload, and others are served', async () => {
    const server = await begin();
    for (let i = 0; i < 10; i++) {
      await servedForASecond(server);
      const before = server.worker;
      await (await say(server, 'segv')).closed();
      await nextWorker(server, before);
    }
    // a sanitized build doesn't know who it was
    if (!sanitized) {
      assert.match(server.log, /error: plugin \S+\/misbehaving\.so ended 10 workers within a minute: its routes answer 503/);
      const raw = new Raw(server.port);
      raw.write(handshake('/bad/room/'));
      assert.equal((await raw.response()).status, 503);
      raw.destroy();
      await echoes(server);
    }
    await order(server, 'reload');
    const client = await say(server, 'hello');
    assert.equal(await client.next(), 'hello');
    await client.close();
    await echoes(server);
    await server.stop();
  });
});

describe('a consumer that crashes as soon as it is there', () => {
  test('costs its own routes, not the program', { skip: sanitized && 'a sanitized build does not know who it was' }, async () => {
    const server = await begin();
    const refusal = () => new Promise((resolve) => {
      const client = new Client(server.wsUrl('/bad/room/'));
      client.socket.on('unexpected-response', (_, response) => resolve(response.statusCode));
      client.socket.on('open', () => client.send('segv'));
      client.socket.on('close', () => resolve(0));
    });
    await until('its route to answer 503', async () => await refusal() === 503);
    assert.match(server.log, /error: plugin \S+\/misbehaving\.so ended [5-9] workers within a minute: its routes answer 503/);
    assert.doesNotMatch(server.log, /giving up/);
    await echoes(server);
    await order(server, 'reload');
    const client = await say(server, 'hello');
    assert.equal(await client.next(), 'hello');
    await client.close();
    await server.stop();
  });
});

describe('a consumer that holds its thread', { concurrency: 4 }, () => {
  for (const [what, word] of [['spins', 'spin'], ['blocks for 30 s', 'block 30000']]) {
    test(`and ${what} is named and ended at the time limit; others are served meanwhile`, async () => {
      const server = await begin();
      await servedForASecond(server);
      const gap = await survives(server, async () => {
        assert.equal((await (await say(server, word)).closed()).code, 1006);
      }, 1000);
      assert.ok(gap < STUCK_MS * slowness, 'the other thread has served');
      assert.match(server.log, new RegExp(`error: worker \\d+: thread \\d has stood still for ${STUCK_MS} ms `
        + 'in plugin misbehaving, route \\S*/bad/\\S+, hook receive: ended'));
      await server.stop();
    });
  }

  test('is not ended where no limit is set', async () => {
    const server = await start(configuration.replace(`stuck-timeout: ${STUCK_MS}ms`, 'stuck-timeout: OFF'), undefined, options);
    const { worker } = server;
    const client = await say(server, 'block 4000');
    client.send('afterwards');
    assert.equal(await client.next(), 'afterwards');
    assert.equal(server.worker, worker);
    await client.close();
    await server.stop();
  });

  test('in the pool holds nobody up', async () => {
    const server = await begin();
    const { worker } = server;
    const client = await say(server, `offload ${STUCK_MS * 2}`);
    client.send('meanwhile');
    assert.equal(await client.next(), 'meanwhile');
    assert.equal(await client.next(), 'done');
    assert.equal(server.worker, worker);
    await client.close();
    await server.stop();
  });
});

describe('a consumer that does not keep the rules', () => {
  test('and leaks leaves others served', async (t) => {
    const mebibytes = sanitized ? 20 : 200; // a sanitized build takes long over each
    const server = await begin();
    const { worker } = server;
    const before = resident(worker);
    const prober = new Prober(server.port);
    t.after(() => prober.stop());
    const client = await say(server, `leak ${mebibytes}`);
    client.send('afterwards');
    assert.equal(await client.next(), 'afterwards');
    assert.ok(resident(worker) - before > 0.75 * mebibytes * 2 ** 20);
    const counts = await prober.stop();
    assert.deepEqual(Object.keys(counts), ['served'], JSON.stringify(counts));
    assert.equal(server.worker, worker);
    await client.close();
    await server.stop();
  });

  test('and sends after its close sends nothing', async () => {
    const server = await begin();
    const { worker } = server;
    const client = await say(server, 'after-close');
    assert.deepEqual(await client.closed(), { code: 4000, reason: 'closed first' });
    assert.deepEqual(client.unread, []);
    await echoes(server);
    assert.equal(server.worker, worker);
    await server.stop();
  });
});

/** Somebody who comes back whenever his connection is lost, and says a word at each turn. */
async function comeBack(server, life) {
  let echoed = 0;
  while (!life.ended) {
    const client = new Client(server.wsUrl('/echo/'));
    try {
      await client.opened();
      while (!life.ended) {
        client.send('word');
        await client.next();
        echoed++;
        await pause(20);
      }
      await client.close();
    } catch {
      await pause(10); // lost: again
    }
  }
  return echoed;
}

describe('a worker', () => {
  test('that is killed or stopped under load is replaced, and nobody is refused', async (t) => {
    const kills = Number(process.env.SLUICE_KILLS ?? 4);
    const stops = Number(process.env.SLUICE_STOPS ?? 1);
    const server = await begin();
    const end = { ended: false };
    t.after(() => { end.ended = true; });
    const clients = Array.from({ length: 40 }, () => comeBack(server, end));
    const gaps = { SIGKILL: [], SIGSTOP: [] };
    for (let i = 0; i < kills + stops; i++) {
      const signal = i < kills ? 'SIGKILL' : 'SIGSTOP';
      await servedForASecond(server);
      gaps[signal].push(Math.round(await survives(server, (worker) => process.kill(worker, signal),
        1000 + (signal === 'SIGSTOP' ? STUCK_MS : 0))));
    }
    end.ended = true;
    for (const echoed of await within(20, 'the last of the clients', Promise.all(clients))) assert.ok(echoed > 0);
    t.diagnostic(`milliseconds until somebody was served again: ${JSON.stringify(gaps)}`);
    assert.equal((await statusOf(server)).restarts, kills + stops);
    assert.equal((server.log.match(/error: worker \d+ was ended by SIGKILL$/gm) ?? []).length, kills);
    assert.equal((server.log.match(new RegExp(`has stood still for ${STUCK_MS} ms`, 'g')) ?? []).length, stops);
    await server.stop();
  });

  test('whose life is short five times in a row is the last one: 70', async () => {
    const server = await launch(writeConfiguration(withRing(configuration)), options).ready();
    const killed = new Set();
    const ended = server.ended(30);
    let code;
    ended.then((status) => { code = status; });
    await until('the end', () => {
      const worker = code === undefined ? aliveWorker(server) : undefined;
      // no more than five: at its end a sanitizer has a child of its own
      if (worker !== undefined && !killed.has(worker) && killed.size < 5) {
        process.kill(worker, 'SIGKILL');
        killed.add(worker);
      }
      return code !== undefined;
    }, 20);
    assert.equal(code, 70);
    assert.match(server.log, /5 workers in a row served for less than a second: giving up/);
  });

  test('whose supervisor is killed ends by itself, and tells its clients', async () => {
    const server = await launch(writeConfiguration(withRing(configuration)), options).ready();
    const { worker } = server;
    const client = await connect(server.wsUrl('/echo/'));
    server.kill();
    assert.equal((await client.closed()).code, 1001);
    await until('the end of the worker', () => !fs.existsSync(`/proc/${worker}`));
    assert.equal(await probe(server.port), 'refused');
    assert.match(server.log, /the supervisor is gone/);
  });
});
