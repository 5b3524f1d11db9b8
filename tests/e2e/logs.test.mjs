// What the program writes about itself and about its clients.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import {
  launch, start, temporaryFolder, within, withRing, writeConfiguration,
} from './support/server.mjs';

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 1
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - match: /ws/echo/(?P<name>\\w+)/
        consumer: echo
`;

/** The file's whole lines once one of them matches. */
async function linesWith(file, pattern) {
  const seen = new EventEmitter();
  const watcher = fs.watch(path.dirname(file), () => seen.emit('change'));
  const read = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
  try {
    await within(10, `a line like ${pattern} in ${file}`, (async () => {
      while (!pattern.test(read())) await once(seen, 'change');
    })());
    return read().split('\n').slice(0, -1);
  } finally {
    watcher.close();
  }
}

describe('the error log', () => {
  test('is a file that has only what the level lets through', async () => {
    const folder = temporaryFolder();
    const text = `${configuration}error-log: error.log\nlog-level: debug\n`;
    const server = launch(writeConfiguration(withRing(text), folder));
    const lines = await linesWith(path.join(folder, 'error.log'), /info: ready/);
    for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|info|debug): /);
    await server.stop();

    fs.rmSync(path.join(folder, 'error.log'));
    const warned = text.replace('debug', 'warning') + 'max-connections: 10000000\n';
    const quiet = launch(writeConfiguration(withRing(warned), folder));
    const said = await linesWith(path.join(folder, 'error.log'), /warning: max-connections/);
    assert.doesNotMatch(said.join('\n'), /(info|debug):/);
    await quiet.stop();
    assert.doesNotMatch(fs.readFileSync(path.join(folder, 'error.log'), 'utf8'), /(info|debug):/);
  });

  test('has priorities and no times where it is the journal', async (t) => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'error.log');
    fs.writeFileSync(file, '');
    const { dev, ino } = fs.statSync(file);
    process.env.JOURNAL_STREAM = `${dev}:${ino}`;
    t.after(() => { delete process.env.JOURNAL_STREAM; });
    const server = launch(writeConfiguration(withRing(`${configuration}error-log: error.log\n`), folder));
    const lines = await linesWith(file, /info: ready/);
    assert.match(lines.at(-1), /^<6>info: ready: /);
    for (const line of lines) assert.match(line, /^<[3467]>(error|warning|info|debug): /);
    await server.stop();
  });
});

const CLOSED = new RegExp(String.raw`info: closed: peer=(\S+) id=(\d+) code=(\d+) reason="([^"]*)" `
  + String.raw`seconds=(\d+) messages-in=(\d+) bytes-in=(\d+) messages-out=(\d+) bytes-out=(\d+) `
  + String.raw`queue-peak=(\d+) route=(.*)$`, 'gm');

/** The lines about closes, each as an object, once there are so many. */
async function closes(server, count) {
  await server.logged(new RegExp(`(info: closed:[^\n]*\n[^]*){${count}}`));
  return [...server.log.matchAll(CLOSED)].map(([, peer, id, code, reason, seconds, messagesIn, bytesIn,
    messagesOut, bytesOut, peak, route]) => ({ peer, id: Number(id), code: Number(code), reason,
    seconds: Number(seconds), messagesIn: Number(messagesIn), bytesIn: Number(bytesIn),
    messagesOut: Number(messagesOut), bytesOut: Number(bytesOut), peak: Number(peak), route }));
}

describe('the line when a WebSocket closes', () => {
  test('tells whose it was, why it ended, and what went each way', async () => {
    const server = await start(configuration);
    const client = await connect(server.wsUrl('/ws/echo/a/'));
    const { localPort } = client.socket._socket;
    for (const text of ['hello', 'x'.repeat(300)]) {
      client.send(text);
      assert.equal(await client.next(), text);
    }
    await client.close(3001, 'so "long" \\ and\nthanks ä');
    const [line] = await closes(server, 1);
    assert.equal(line.peer, `127.0.0.1:${localPort}`);
    assert.ok(line.id > 0);
    assert.equal(line.code, 3001);
    assert.equal(line.reason, 'so \\x22long\\x22 \\x5c and\\x0athanks ä');
    assert.equal(line.messagesIn, 2);
    assert.equal(line.messagesOut, 2);
    const close = 2 + Buffer.byteLength('so "long" \\ and\nthanks ä') + 2;
    assert.equal(line.bytesOut, 2 + 5 + 4 + 300 + close);
    assert.equal(line.bytesIn, 6 + 5 + 8 + 300 + close + 4); // masked
    assert.ok(line.peak >= 304 && line.peak < 400, `queue-peak=${line.peak}`);
    assert.ok(line.seconds <= 10);
    assert.equal(line.route, '/ws/echo/(?P<name>\\w+)/');
  });

  test('counts what a group delivered', async () => {
    const server = await start(configuration.replace('consumer: echo', 'consumer: relay')
      .replace('(?P<name>', '(?P<group>'));
    const clients = await Promise.all(Array.from({ length: 3 }, () => connect(server.wsUrl('/ws/echo/room/'))));
    for (const client of clients) {
      client.send('to all');
      for (const other of clients) assert.equal(await other.next(), 'to all');
    }
    for (const client of clients) await client.close();
    const lines = await closes(server, 3);
    assert.deepEqual(lines.map(({ messagesIn, messagesOut }) => [messagesIn, messagesOut]), [[1, 3], [1, 3], [1, 3]]);
    assert.equal(new Set(lines.map(({ id }) => id)).size, 3);
  });

  test('tells a lost connection from a close without a code', async () => {
    const server = await start(configuration);
    const lost = await connect(server.wsUrl('/ws/echo/a/'));
    lost.socket.terminate();
    assert.equal((await closes(server, 1))[0].code, 1006);
    const silent = await connect(server.wsUrl('/ws/echo/a/'));
    silent.socket.close();
    await silent.closed();
    assert.equal((await closes(server, 2))[1].code, 1005);
  });

  test('can be turned off, by a reload too', async () => {
    const folder = temporaryFolder();
    const server = await start(configuration, folder);
    const before = await connect(server.wsUrl('/ws/echo/before/'));
    const kept = await connect(server.wsUrl('/ws/echo/kept/'));
    await before.close(3001);
    await server.logged(/closed: .*code=3001/);
    writeConfiguration(withRing(`${configuration}log-closes: OFF\n`), folder);
    server.signal('SIGHUP');
    await server.logged(/reloaded|generation 2/i);
    await kept.close(3002);
    await (await connect(server.wsUrl('/ws/echo/after/'))).close(3003);
    await server.stop();
    assert.doesNotMatch(server.log, /code=300[23]/);
  });
});

test('a consumer that holds its thread over the budget is named, and counted', async () => {
  const server = await start(`${configuration.replace('consumer: echo', 'consumer: probe')
    .replace('(?P<name>', '(?P<group>')}      - {match: /figures/json, metrics: ON}\nhook-budget: 30ms\n`);
  const client = await connect(server.wsUrl('/ws/echo/a/'));
  for (const held of ['hold 60', 'hold 61', 'hold 62']) {
    client.send(held);
    assert.equal(await client.next(), 'held');
  }
  const { routes } = await (await fetch(server.url('/figures/json'))).json();
  assert.equal(routes[0].consumer, 'probe');
  assert.equal(routes[0].hooks_over_budget, 3);
  assert.ok(routes[0].hook_seconds > 0.15);
  await client.close();
  await server.stop();
  const lines = [...server.log.matchAll(/warning: (.*) held its thread for (\d+) ms \(hook-budget is 30 ms\)/g)];
  assert.equal(lines.length, 1);
  assert.equal(lines[0][1], '/ws/echo/(?P<group>\\w+)/: receive of probe');
  assert.ok(Number(lines[0][2]) >= 50);
});

describe('access logs without a format', () => {
  const text = `
access-log: server.log
${configuration}        access-log: {path: route.log}
    paths:
      /plain: {metrics: ON, access-log: path.log}
`;
  const secrets = { headers: { Cookie: 'session=secret', Referer: 'http://a.example/?secret', 'User-Agent': 'a "client"' } };
  const LINE = String.raw`^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+\d{4}\] "GET PATH HTTP/1\.1" STATUS \d+ "a \\x22client\\x22"$`;
  const line = (at, status) => new RegExp(LINE.replace('PATH', at).replace('STATUS', status), 'm');

  test('have neither queries nor cookies, of requests and of handshakes', async () => {
    const folder = temporaryFolder();
    const server = await start(text, folder);
    const file = (name) => path.join(folder, name);
    await (await fetch(server.url('/plain?token=secret'), secrets)).text();
    const client = await connect(server.wsUrl('/ws/echo/a/?token=secret'), [], secrets);
    await client.close();
    await linesWith(file('path.log'), line('/plain', '200'));
    await linesWith(file('server.log'), line('/plain', '200'));
    await linesWith(file('route.log'), line('/ws/echo/a/', '101'));
    await linesWith(file('server.log'), line('/ws/echo/a/', '101'));
    await server.stop();
    for (const name of ['server.log', 'route.log', 'path.log'])
      assert.doesNotMatch(fs.readFileSync(file(name), 'utf8'), /secret|token|session|\?/, name);
  });

  test('a refused handshake is there with its status, and a format has what it names', async () => {
    const folder = temporaryFolder();
    const named = text.replace('access-log: server.log', 'access-log: {path: server.log, format: "%U%q %s %b %{cookie}i"}');
    const server = await start(named, folder);
    const refused = await fetch(server.url('/ws/echo/a/?token=secret'), secrets);
    assert.equal(refused.status, 426);
    await linesWith(path.join(folder, 'route.log'), line('/ws/echo/a/', '426'));
    await linesWith(path.join(folder, 'server.log'), /^\/ws\/echo\/a\/\?token=secret 426 \d+ session=secret$/m);
    await server.stop();
  });
});
