// A reload drops nobody, loses nothing, and is all or nothing; reopen, restart and stop.
//
// SLUICE_RELOADS: how many of the first test's reloads are to be accepted (80), with a broken one
// behind each fourth (20); SLUICE_MEMBERS: how many members its rooms have.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { connect } from './support/client.mjs';
import { ask, order, refused, servedForASecond, statusOf } from './support/command.mjs';
import { Load } from './support/load.mjs';
import { resident } from './support/memory.mjs';
import { freePort, takenPort } from './support/ports.mjs';
import { probe, Prober } from './support/prober.mjs';
import { descriptors } from './support/process.mjs';
import { makeCertificate, mayCrash, slowness, start, temporaryFolder, testPlugins, writeConfiguration } from './support/server.mjs';
import { until } from './support/wait.mjs';

const sanitized = slowness > 1;
const odd = (name) => path.join(testPlugins, 'odd', `${name}.so`);

const configuration = `
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
num-threads: 2
control: control
plugin-dir: [PLUGINS, TEST_PLUGINS]
header.set: "X-Generation: 0"
hosts:
  default:
    routes:
      - {match: '/room/(?P<group>\\w+)/', consumer: relay}
      - {match: /echo/, consumer: echo}
    paths:
      /static: {file.dir: static}
`;

/** The same with another number in the header that each answer has. */
const numbered = (number, text = configuration) => text.replace('X-Generation: 0', `X-Generation: ${number}`);

function makeFolder() {
  const folder = temporaryFolder();
  makeCertificate(folder);
  fs.mkdirSync(path.join(folder, 'static'));
  fs.writeFileSync(path.join(folder, 'static/small.txt'), 'x'.repeat(1000));
  return folder;
}

async function begin(text = configuration) {
  const folder = makeFolder();
  const server = await start(text, folder, { env: mayCrash });
  return { server, folder };
}

const rewrite = (server, text) => writeConfiguration(text + ringOf(server), path.dirname(server.file));

/** The line that start() adds for how WebSockets are read: a change of it would need a restart. */
function ringOf(server) {
  server.ring ??= fs.readFileSync(server.file, 'utf8').match(/^io-uring:.*\n/m)?.[0] ?? '';
  return server.ring;
}

/** A GET on an agent's connection, or on a new one: its headers' X-Generation. */
async function generationOf(url, agent) {
  const request = http.get(url, { agent: agent ?? false });
  const [response] = await once(request, 'response');
  response.resume();
  await once(response, 'end');
  return { generation: Number(response.headers['x-generation']), reused: request.reusedSocket };
}

const withListener = (text, port) => text.replace('listen:\n', `listen:\n  - {host: 127.0.0.1, port: ${port}}\n`);

/** What is wrong with a configuration, and what a refusal says. */
const faults = (port) => ({
  'a YAML mistake': { text: (text) => text.replace('hosts:', 'hosts: ['), reason: /sluice\.yaml:\d+/ },
  'a plugin that is not there': {
    text: (text) => text.replace('consumer: echo', 'consumer: nobody'), reason: /there is no plugin `nobody`/,
  },
  'a constructor that crashes': {
    text: (text) => text.replace('consumer: echo', `consumer: ${odd('crashing')}`),
    reason: /the trial was ended by SIGABRT in plugin crashing\.so, .*load/,
  },
  'a key that is none': {
    text: (text) => text, reason: /key\.pem/,
    spoil: (folder) => fs.writeFileSync(path.join(folder, 'key.pem'), 'no key'),
  },
  'a port in use': { text: (text) => withListener(text, port), reason: /in use/ },
  'a consumer that refuses to open': {
    text: (text) => text.replace('consumer: echo', 'consumer: misbehaving, options: {open: refuses}'),
    reason: /misbehaving refused to open/,
  },
  'a word that nobody knows': {
    text: (text) => `${text}no-such-word: 1\n`, reason: /no-such-word/,
  },
  'a constructor that hangs': {
    text: (text) => text.replace('consumer: echo', `consumer: ${odd('hanging')}`),
    reason: /the trial was ended by the time limit in plugin hanging\.so, .*load/,
  },
});

/** Tries a broken reload, and mends the files again. */
async function tryBroken(server, folder, number, fault) {
  const key = fs.readFileSync(path.join(folder, 'key.pem'));
  rewrite(server, fault.text(numbered(number + 1000)));
  fault.spoil?.(folder);
  await refused(server, fault.reason);
  fs.writeFileSync(path.join(folder, 'key.pem'), key);
}

describe('under load', () => {
  test('reloads, every fifth of them broken, drop nobody, fail no request and lose no message', async (t) => {
    const count = Number(process.env.SLUICE_RELOADS ?? 80 / 5);
    const broken = Object.values(faults(await takenPort(t)));
    const { server, folder } = await begin(numbered(1));
    const worker = server.worker;
    let number = 1;
    let most = 1;
    const load = await new Load(server, {
      members: Number(process.env.SLUICE_MEMBERS ?? 200), generation: () => ({ least: number, most }),
    }).begin();
    t.after(() => load.abandon());
    let refusals = 0;
    for (let i = 1; i <= count; i++) {
      rewrite(server, numbered(most = number + 1));
      await order(server, 'reload');
      number = most;
      if (i % 4 === 0) await tryBroken(server, folder, number, broken[refusals++ % broken.length]);
    }
    const sums = await load.end();
    t.diagnostic(`${count} reloads, ${refusals} refused: ${JSON.stringify(sums)}`);
    assert.deepEqual(load.faults, []);
    for (const [name, sum] of Object.entries(sums)) {
      if (name !== 'failures') assert.ok(sum > 0, `${name}: none`);
    }
    assert.equal(server.worker, worker);
    const status = await statusOf(server);
    assert.equal(status.reloads, count);
    assert.equal(status.reloads_refused, refusals);
    assert.equal(status.generation, count + 1);
    await server.stop();
  });
});

describe('a broken configuration', () => {
  test('is refused with the reason, and changes nothing, also when the worker is killed then', async (t) => {
    const { server, folder } = await begin(numbered(1));
    const key = fs.readFileSync(path.join(folder, 'key.pem'));
    for (const [index, [name, fault]] of Object.entries(faults(await takenPort(t))).entries()) {
      rewrite(server, fault.text(numbered(2)));
      fault.spoil?.(folder);
      await refused(server, fault.reason);
      const before = server.worker;
      const stayed = await connect(server.wsUrl('/echo/'));
      process.kill(before, 'SIGKILL');
      assert.equal((await stayed.closed()).code, 1006);
      await until('another worker', async () => (await probe(server.port)) === 'served' && server.worker !== before);
      assert.equal((await generationOf(server.url('/static/small.txt'))).generation, 1, name);
      const client = await connect(server.wsUrl('/echo/', 'wss'));
      client.send(name);
      assert.equal(await client.next(), name);
      await client.close();
      fs.writeFileSync(path.join(folder, 'key.pem'), key);
      if (index % 4 === 3) await servedForASecond(server); // five short lives would end the program
    }
    await server.stop();
  });

  test('a change that needs a restart is refused and says so', async () => {
    const { server } = await begin();
    for (const [from, to, word] of [['num-threads: 2', 'num-threads: 3', 'num-threads'],
      ['control: control', 'control: elsewhere', 'control'],
      ['num-threads', 'layer: {sqlite: messages.db}\nnum-threads', 'layer'],
      ['num-threads', 'history-memory: 10m\nnum-threads', 'history-memory']]) {
      rewrite(server, configuration.replace(from, to));
      await refused(server, new RegExp(`\`${word}\` has changed: that needs a restart`));
    }
    await server.stop();
  });
});

describe('a new configuration', () => {
  test('is for new connections, and for the next request of those that were kept', async (t) => {
    const { server } = await begin(numbered(1));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const url = server.url('/static/small.txt');
    assert.deepEqual(await generationOf(url, agent), { generation: 1, reused: false });
    rewrite(server, numbered(2));
    assert.match(await order(server, 'reload'), /no listener, route or plugin came, went or changed/);
    assert.deepEqual(await generationOf(url, agent), { generation: 2, reused: true });
    assert.equal((await generationOf(url)).generation, 2);
    await server.stop();
  });

  test('routes come and go; a WebSocket of one that has gone lives on', async () => {
    const { server } = await begin();
    const client = await connect(server.wsUrl('/echo/'));
    rewrite(server, configuration.replace('match: /echo/', 'match: /echo2/'));
    const said = await order(server, 'reload');
    assert.match(said, /^\+ route default \/echo2\/ \(echo\)$/m);
    assert.match(said, /^- route default \/echo\/ \(echo\)$/m);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    await assert.rejects(connect(server.wsUrl('/echo/')));
    const other = await connect(server.wsUrl('/echo2/'));
    other.send('new');
    assert.equal(await other.next(), 'new');
    await Promise.all([client.close(), other.close()]);
    await server.stop();
  });

  test('members of a group hear each other across a reload', async () => {
    const { server } = await begin();
    const old = await connect(server.wsUrl('/room/a/'));
    await order(server, 'reload');
    const fresh = await connect(server.wsUrl('/room/a/'));
    old.send('from the old one');
    assert.equal(await fresh.next(), 'from the old one');
    fresh.send('from the new one');
    assert.deepEqual(await old.take(2), ['from the old one', 'from the new one']);
    await Promise.all([old.close(), fresh.close()]);
    await server.stop();
  });

  test('listeners come and go', async () => {
    const { server } = await begin();
    const port = await freePort();
    assert.equal(await probe(port), 'refused');
    for (let round = 0; round < 3; round++) {
      rewrite(server, withListener(configuration, port));
      assert.match(await order(server, 'reload'), new RegExp(`^\\+ listener 127\\.0\\.0\\.1:${port}$`, 'm'));
      assert.equal(await probe(port), 'served');
      const client = await connect(`ws://127.0.0.1:${port}/echo/`);
      rewrite(server, configuration);
      assert.match(await order(server, 'reload'), new RegExp(`^- listener 127\\.0\\.0\\.1:${port}$`, 'm'));
      assert.equal(await probe(port), 'refused');
      client.send('still here');
      assert.equal(await client.next(), 'still here');
      await client.close();
    }
    assert.equal(await probe(server.port), 'served');
    await server.stop();
  });

  test('a new plugin is for new connections; the old one ends behind its last', async () => {
    const text = configuration.replace('consumer: echo', 'consumer: plugin.so');
    const folder = makeFolder();
    const file = path.join(folder, 'plugin.so');
    fs.copyFileSync(odd('version_1'), file);
    const server = await start(text, folder);
    const old = await connect(server.wsUrl('/echo/'));
    fs.writeFileSync(file, fs.readFileSync(odd('version_2'))); // the same file, changed in place
    assert.match(await order(server, 'reload'), /^~ route default \/echo\/ \(versioned\)$/m);
    const fresh = await connect(server.wsUrl('/echo/'));
    for (const [client, version] of [[old, 'version 1'], [fresh, 'version 2'], [old, 'version 1']]) {
      client.send('which');
      assert.equal(await client.next(), version);
    }
    await order(server, 'reload');
    assert.doesNotMatch(server.log, /version . has been shut/);
    await old.close();
    await server.logged(/version 1 has been shut/);
    // the second generation's, which nobody but `fresh` uses
    assert.doesNotMatch(server.log, /version 2 has been shut/);
    await fresh.close();
    await server.logged(/version 2 has been shut/);
    await server.stop();
    const shut = [...server.log.matchAll(/version (.) has been shut/g)].map(([, version]) => version);
    assert.deepEqual(shut, ['1', '2', '2'], 'the third generation ends with the program');
  });

  test('reloads asked for at once become few', async () => {
    const { server } = await begin();
    const asked = await Promise.all(Array.from({ length: 12 }, () => ask(server, 'reload')));
    for (const { code, err } of asked) assert.equal(code, 0, err);
    const { reloads } = await statusOf(server);
    assert.ok(reloads >= 1 && reloads < 12, `${reloads} reloads`);
    for (let i = 0; i < 50; i++) server.signal('SIGHUP');
    await until('a reload by a signal', async () => (await statusOf(server)).reloads > reloads);
    rewrite(server, numbered(9));
    await order(server, 'reload'); // behind all that the signals asked for
    assert.equal((await generationOf(server.url('/static/small.txt'))).generation, 9);
    assert.ok((await statusOf(server)).reloads < reloads + 50);
    await server.stop();
  });
});

describe('what a reload leaves', () => {
  test('descriptors are as before, and memory within 32 kB a reload', async (t) => {
    const { server } = await begin();
    const client = await connect(server.wsUrl('/room/a/'));
    const reload = async (count) => { for (let i = 0; i < count; i++) await order(server, 'reload'); };
    client.send('hello'); // io_uring's rings come when the 101 has left
    assert.equal(await client.next(), 'hello');
    const before = [descriptors(server.worker), descriptors(server.pid)];
    const settled = () => until('the descriptors of before', () =>
      descriptors(server.worker) === before[0] && descriptors(server.pid) === before[1]);
    await reload(20);
    await settled();
    const memory = [resident(server.worker), resident(server.pid)];
    await reload(60);
    await settled();
    const grown = [resident(server.worker) - memory[0], resident(server.pid) - memory[1]];
    t.diagnostic(`over 60 reloads: worker ${(grown[0] / 60 / 1024).toFixed(1)}, supervisor ${(grown[1] / 60 / 1024).toFixed(1)} kB each; descriptors ${before}`);
    if (!sanitized) assert.ok(grown.every((bytes) => bytes < 60 * 32 * 1024), `grown by ${grown} bytes`);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    await client.close();
    await server.stop();
  });
});

/** The fingerprint of the certificate that the TLS listener shows. */
async function fingerprint(server) {
  const { port } = new URL(server.url('/', 'https'));
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const found = socket.getPeerCertificate().fingerprint256;
  socket.destroy();
  return found;
}

describe('reopen', () => {
  test('opens logs anew under their names, and takes the new certificate, and nothing else', async () => {
    const folder = makeFolder();
    const text = numbered(1).replace('header.set', 'access-log: access.log\nheader.set');
    const server = await start(text, folder);
    const url = server.url('/static/small.txt');
    const client = await connect(server.wsUrl('/echo/', 'wss'));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    await generationOf(url, agent);
    const [log, moved] = ['access.log', 'access.log.1'].map((name) => path.join(folder, name));
    const lines = (file) => fs.readFileSync(file, 'utf8').split('\n').filter((line) => line.includes('small.txt')).length;
    await until('a line of the first request', () => lines(log) === 1);
    fs.renameSync(log, moved);
    const before = await fingerprint(server);
    makeCertificate(folder);
    rewrite(server, numbered(2, text));
    await order(server, 'reopen');
    assert.notEqual(await fingerprint(server), before);
    assert.equal((await generationOf(url, agent)).generation, 1);
    assert.equal((await generationOf(url)).generation, 1);
    await until('lines in the new log', () => lines(log) === 2);
    assert.equal(lines(moved), 1);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    await client.close();
    agent.destroy();
    await server.stop();
  });

  test('a new certificate outlives the worker; one that is broken is refused', async () => {
    const { server, folder } = await begin();
    const before = await fingerprint(server);
    makeCertificate(folder);
    server.signal('SIGUSR1');
    await server.logged(/info: reloaded: generation 2/);
    const fresh = await fingerprint(server);
    assert.notEqual(fresh, before);
    fs.writeFileSync(path.join(folder, 'cert.pem'), 'no certificate');
    const { code, err } = await ask(server, 'reopen');
    assert.equal(code, 78);
    assert.match(err, /cert\.pem/);
    const worker = server.worker;
    process.kill(worker, 'SIGKILL');
    await until('another worker', async () => (await probe(server.port)) === 'served' && server.worker !== worker);
    assert.equal(await fingerprint(server), fresh);
    await server.stop();
  });
});

/** Over TLS: whether that session was resumed, and what resumes the next one. */
async function shake(server, session) {
  const { port } = new URL(server.url('/', 'https'));
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2', session });
  await once(socket, 'secureConnect');
  const shaken = { resumed: socket.isSessionReused(), session: socket.getSession() };
  socket.destroy();
  return shaken;
}

describe('restart', () => {
  test('and a crash let TLS sessions be resumed', async () => {
    const { server } = await begin();
    const { session } = await shake(server);
    await servedForASecond(server);
    const before = server.worker;
    process.kill(before, 'SIGKILL');
    await until('another worker', async () => (await probe(server.port)) === 'served' && server.worker !== before);
    assert.equal((await shake(server, session)).resumed, true);
    for (let i = 0; i < 2; i++) {
      await order(server, 'restart');
      assert.equal((await shake(server, session)).resumed, true, `restart ${i}`);
    }
    await server.stop();
  });

  test('tells clients when to come back, keeps ports and process, and refuses nobody', async () => {
    const { server } = await begin(numbered(1));
    // not the health, which says 503 on a connection that the old program still has
    const prober = new Prober(server.port, { path: '/static/small.txt' });
    const clients = await Promise.all(Array.from({ length: 30 }, (_, index) =>
      connect(server.wsUrl('/echo/', index % 2 ? 'wss' : 'ws'))));
    const closes = clients.map((client) => client.closed());
    rewrite(server, numbered(2).replace('num-threads: 2', 'num-threads: 3'));
    assert.match(await order(server, 'restart'), /restarted/);
    const waits = [];
    for (const { code, reason } of await Promise.all(closes)) {
      assert.equal(code, 1012);
      waits.push(Number(reason.match(/^retry=(\d+)$/)?.[1]));
    }
    assert.ok(waits.every((wait) => wait >= 0 && wait <= 3000), `${waits}`);
    assert.ok(new Set(waits).size > 10, `${waits}`);
    assert.equal((await generationOf(server.url('/static/small.txt'))).generation, 2);
    const client = await connect(server.wsUrl('/echo/', 'wss'));
    client.send('again');
    assert.equal(await client.next(), 'again');
    await client.close();
    const { connections } = await statusOf(server);
    assert.equal(connections.length, 3, 'threads of the new program');
    const counts = await prober.stop();
    assert.deepEqual(Object.keys(counts), ['served'], JSON.stringify(counts));
    await server.stop();
  });

  test('to an address in use is refused and ends nothing', async (t) => {
    const { server } = await begin(numbered(1));
    const client = await connect(server.wsUrl('/echo/'));
    rewrite(server, withListener(numbered(2), await takenPort(t)));
    const { code, err } = await ask(server, 'restart');
    assert.equal(code, 78);
    assert.match(err, /in use/);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    assert.equal((await generationOf(server.url('/static/small.txt'))).generation, 1);
    await client.close();
    await server.stop();
  });

  test('a configuration that is wrong is refused and ends nothing', async () => {
    const { server } = await begin(numbered(1));
    const client = await connect(server.wsUrl('/echo/'));
    rewrite(server, numbered(2).replace('hosts:', 'hosts: ['));
    const { code, err } = await ask(server, 'restart');
    assert.equal(code, 78);
    assert.match(err, /sluice\.yaml:\d+/);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    assert.equal((await generationOf(server.url('/static/small.txt'))).generation, 1);
    await client.close();
    await server.stop();
  });
});

describe('stop', () => {
  test('closes WebSockets with 1001, answers the command, and ends with 0', async () => {
    const { server, folder } = await begin();
    const client = await connect(server.wsUrl('/echo/'));
    const [said, { code }] = await Promise.all([order(server, 'stop'), client.closed()]);
    assert.match(said, /stopped/);
    assert.equal(code, 1001);
    assert.equal(await server.ended(), 0);
    assert.equal(fs.existsSync(path.join(folder, 'control')), false);
    assert.equal((await ask(server, 'status')).code, 69);
  });
});
