// The commands that a server hears by its control socket: how each finds it, what it says, and with
// which status it ends.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { controlOf, order, statusOf } from './support/command.mjs';
import { launch, program, run, start, temporaryFolder, within, withRing, writeConfiguration } from './support/server.mjs';
import { until } from './support/wait.mjs';

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: '/room/(?P<group>[\\w"]+)/', consumer: relay}
      - {match: /echo/, consumer: echo}
`;

const OK = 0;
const USAGE = 64;
const NO_SERVER = 69;
const REFUSED = 78;

let server;
before(async () => { server = await start(configuration); });
after(() => server.stop());

/** A connection to the control socket: all that comes back, until it is closed. */
async function talk(bytes) {
  const socket = net.connect(controlOf(server));
  let answer = '';
  socket.on('data', (data) => { answer += data; });
  socket.on('error', () => {}); // a reset is an end like another
  socket.end(bytes);
  await within(10, 'the end of the answer', new Promise((resolve) => { socket.on('close', resolve); }));
  return answer;
}

describe('the place of the control socket', () => {
  for (const words of [['status'], ['status', '--json'], ['connections'], ['reload'], ['reopen']]) {
    test(`${words.join(' ')} finds it by -c FILE and by --control PATH`, async () => {
      for (const way of [['-c', server.file], ['--conf', server.file], ['--control', controlOf(server)]]) {
        const { code, out, err } = await run(...words, ...way);
        assert.equal(code, OK, out + err);
        assert.equal(err, '');
      }
    });
  }

  test('is beside the pid file, under its name, when no word names it', async () => {
    const place = temporaryFolder();
    const others = [];
    for (const name of ['one.pid', 'two.pid', 'three']) {
      others.push(await start(configuration.replace('control: control', `pid-file: ${place}/${name}`)));
    }
    for (const other of others) {
      const { code, out } = await run('status', '-c', other.file);
      assert.equal(code, OK);
      assert.match(out, new RegExp(`worker ${other.worker},`));
    }
    for (const name of ['one', 'two', 'three']) {
      assert.ok(fs.statSync(path.join(place, `${name}.control`)).isSocket());
    }
    for (const other of others) await other.stop();
    assert.deepEqual(fs.readdirSync(place), []);
  });

  test('is in $RUNTIME_DIRECTORY when no word names it', async () => {
    const folder = temporaryFolder();
    const other = await start(configuration.replace('control: control', ''), undefined,
      { env: { RUNTIME_DIRECTORY: folder } });
    assert.equal((await run('status', '--control', path.join(folder, 'sluice.control'))).code, OK);
    await other.stop();
  });

  test('that nothing names is told', async () => {
    const { code, err } = await run('status', '-c', writeConfiguration(configuration.replace('control: control', '')));
    assert.equal(code, REFUSED);
    assert.match(err, /sluice\.yaml names no place for a control socket: it needs `control` or `pid-file`/);
  });

  test('that a broken file hides is told with what is broken', async () => {
    const { code, err } = await run('reload', '-c', writeConfiguration(configuration.replace('hosts:', 'hosts: [')));
    assert.equal(code, REFUSED);
    assert.match(err, /sluice\.yaml:\d+.*error/);
    assert.doesNotMatch(err, /names no place/);
    assert.equal((await run('reload', '-c', '/nowhere/sluice.yaml')).code, REFUSED);
  });

  test('of a server that died is taken by the next one; that of a living one is not', async () => {
    const folder = temporaryFolder();
    const file = writeConfiguration(withRing(configuration), folder);
    const first = await launch(file).ready();
    const second = launch(file);
    assert.equal(await second.ended(), 1);
    assert.match(second.log, /another server's control socket/);
    assert.equal((await run('status', '-c', file)).code, OK);
    first.kill();
    await first.ended();
    assert.equal((await run('status', '-c', file)).code, NO_SERVER);
    const third = await launch(file).ready();
    assert.equal((await run('status', '-c', file)).code, OK);
    await third.stop();
  });
});

describe('without a server', () => {
  for (const words of ['status', 'connections', 'reload', 'reopen', 'restart', 'stop', 'kick 1']) {
    test(`${words} ends with 69`, async () => {
      const nobody = path.join(temporaryFolder(), 'control');
      const { code, err } = await run(...words.split(' '), '--control', nobody);
      assert.equal(code, NO_SERVER);
      assert.match(err, new RegExp(`there is no server at ${nobody}`));
      const file = writeConfiguration(configuration);
      assert.equal((await run(...words.split(' '), '-c', file)).code, NO_SERVER);
    });
  }
});

describe('a wrong command line', () => {
  for (const words of ['status', 'status --json', 'status more -c FILE', 'reload --json -c FILE',
    'reload --control', 'kick -c FILE', 'kick 1 2 -c FILE', 'stop --control PATH -c FILE', 'stop now --control PATH']) {
    test(`${words} ends with 64 and the usage`, async () => {
      const { code, err } = await run(...words.replace('FILE', server.file).replace('PATH', controlOf(server)).split(' '));
      assert.equal(code, USAGE, err);
      assert.match(err, new RegExp(`usage: sluice ${words.split(' ')[0]}`));
    });
  }
});

describe('status', () => {
  // Bytes are those of frames: a client's has a header of 6 bytes here, the server's one of 2.
  test('as text names process, generation, threads, and each route with its traffic', async () => {
    const client = await connect(server.wsUrl('/echo/'));
    client.send('12345');
    await client.next();
    const out = await order(server, 'status');
    assert.match(out, new RegExp(`^sluice \\d+\\.\\d+\\.\\d+, worker ${server.worker}, up \\d+ s$`, 'm'));
    assert.match(out, /^generation \d+, \d+ reloads, 0 refused, 0 restarts$/m);
    assert.match(out, /^thread 0: \d+ connections$/m);
    assert.match(out, /^thread 1: \d+ connections$/m);
    assert.match(out, /^route \S*\/echo\/: 1 WebSockets, in 1 messages 11 bytes, out 1 messages 7 bytes, queued 0 bytes$/m);
    await client.close();
  });

  test('as JSON says the same', async () => {
    const client = await connect(server.wsUrl('/room/a/'));
    client.send('123');
    await client.next();
    const status = await statusOf(server);
    assert.equal(status.worker, server.worker);
    assert.equal(status.generation, status.reloads + 1);
    assert.equal(status.threads_held, 0);
    assert.equal(status.connections.length, 2);
    assert.equal(status.connections.reduce((sum, count) => sum + count), 1);
    assert.ok(Math.abs(Date.now() / 1000 - status.started_at) < 600);
    const [route] = status.routes;
    assert.match(route.route, /\[\\w"\]\+/, 'the pattern, with its quote and backslash');
    assert.deepEqual({ ...route, route: '' },
      { route: '', open: 1, messages_in: 1, bytes_in: 9, messages_out: 1, bytes_out: 5, queued_bytes: 0 });
    await client.close();
  });
});

/** The numbers of the open connections. */
const ids = async () => (await order(server, 'connections')).split('\n').filter(Boolean).map((line) => line.split(' ')[0]);

describe('connections and kick', () => {
  test('each connection has a line, and its number closes it with 1008, and no other', async () => {
    await until('nobody', async () => (await ids()).length === 0);
    const stays = await connect(server.wsUrl('/echo/'));
    const [other] = await ids();
    const client = await connect(server.wsUrl('/room/b/'));
    const { localPort } = client.socket._socket;
    const lines = (await order(server, 'connections')).trim().split('\n');
    assert.equal(lines.length, 2);
    const line = lines.find((one) => one.includes('/room/'));
    assert.match(line, new RegExp(`^\\d+ \\S*/room/\\S* 127\\.0\\.0\\.1:${localPort} open \\d+ s, in 0 messages 0 bytes, out 0 messages 0 bytes, queued 0 bytes$`));
    const [id] = line.split(' ');
    assert.notEqual(id, other);
    assert.match(await order(server, 'kick', id), new RegExp(`connection ${id} is closed with 1008`));
    assert.deepEqual(await client.closed(), { code: 1008, reason: 'removed by the operator' });
    await until('one is left', async () => (await ids()).join() === other);
    const { code, err } = await run('kick', id, '-c', server.file);
    assert.equal(code, 1);
    assert.match(err, /there is no connection/);
    stays.send('still here');
    assert.equal(await stays.next(), 'still here');
    await stays.close();
  });

  for (const [id, status] of [['0', USAGE], ['-1', 1], ['one', USAGE], ['1x', USAGE], ['18446744073709551615', 1],
    ['99999999999999999999999', 1]]) {
    test(`kick ${id} closes nothing`, async () => {
      const { code } = await run('kick', id, '-c', server.file);
      assert.equal(code, status);
    });
  }
});

describe('the socket', () => {
  test('is for its owner alone', () => {
    assert.equal(fs.statSync(controlOf(server)).mode & 0o777, 0o600);
  });

  test('is refused to another user, even when he may open it', { skip: process.getuid() !== 0 && 'not root' }, async () => {
    const open = temporaryFolder();
    fs.chmodSync(open, 0o755);
    const other = await start(configuration.replace('control: control', `control: ${open}/control`));
    fs.chmodSync(`${open}/control`, 0o666);
    // a copy that the other user can execute, wherever this one lies
    const copy = path.join(open, 'sluice');
    fs.copyFileSync(program, copy);
    const asNobody = (...words) => new Promise((resolve) => {
      execFile('setpriv', ['--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', copy, ...words],
        (fault, out, err) => resolve({ code: fault?.code ?? 0, out, err }));
    });
    const { code, out, err } = await asNobody('status', '--control', `${open}/control`);
    assert.equal(code, NO_SERVER, out + err);
    assert.equal(out, '');
    const uid = execFileSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).trim();
    await other.logged(new RegExp(`the control socket was opened by user ${uid}, who may not ask`));
    assert.equal((await asNobody('stop', '--control', `${open}/control`)).code, NO_SERVER);
    assert.equal((await run('status', '--control', `${open}/control`)).code, OK);
    await other.stop();
  });

  for (const [what, bytes, answer] of [
    ['nothing', '', /^$/],
    ['a word that is no command', 'dance\n', /^64\nunknown command: dance\n$/],
    ['an empty line', '\n', /^64\n/],
    ['a line without an end', 'status', /^$/],
    ['a line without bound', 'x'.repeat(100000), /^$/],
    ['bytes that are no text', Buffer.from([0, 255, 10, 0, 1]), /^$/],
  ]) {
    test(`survives ${what}`, async () => {
      assert.match(await talk(bytes), answer);
      assert.match(await order(server, 'status'), /generation/);
    });
  }

  test('answers others while many hold it open and say nothing', async () => {
    const silent = [];
    // a few at a time: the queue of the socket is short
    await until('connections', async () => {
      const socket = net.connect(controlOf(server));
      if (await new Promise((resolve) => { socket.on('connect', () => resolve(true)).on('error', () => resolve(false)); })) silent.push(socket);
      return silent.length === 31;
    });
    assert.match(await order(server, 'status'), /generation/);
    for (const socket of silent) socket.destroy();
  });
});

describe('a command that is refused', () => {
  test('says why and ends with 78', async () => {
    const other = await start(configuration);
    fs.appendFileSync(other.file, 'no-such-word: 1\n');
    for (const word of ['reload', 'restart']) {
      const { code, out, err } = await run(word, '-c', other.file);
      assert.equal(code, REFUSED);
      assert.equal(out, '');
      assert.match(err, /sluice\.yaml:\d+:\d+: error: .*no-such-word/);
    }
    assert.equal((await statusOf(other)).reloads_refused, 2);
    await other.stop();
  });
});
