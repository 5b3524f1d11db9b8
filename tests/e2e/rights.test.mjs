// Who the processes are: with `user` the worker has that user's rights alone, and what needs those of
// the start still works later; and sockets that another program hands over.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { connect } from './support/client.mjs';
import { ask, order, refused, servedForASecond, statusOf } from './support/command.mjs';
import { freePort } from './support/ports.mjs';
import { probe, Prober } from './support/prober.mjs';
import { launch, makeCertificate, repository, start, temporaryFolder, writeConfiguration } from './support/server.mjs';
import { until } from './support/wait.mjs';

const USER = 'nobody';
const notRoot = process.getuid() !== 0 && 'not root';
const idOf = (what) => Number(execFileSync('id', [what, USER], { encoding: 'utf8' }));

const secure = `
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
user: ${USER}
num-threads: 2
control: control
access-log: access.log
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: /echo/, consumer: echo}
`;

/** The user, group and capabilities that a process has: [[real, effective, …], …, hexadecimal]. */
function rightsOf(pid) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const numbers = (name) => status.match(new RegExp(`^${name}:\\s*(.*)$`, 'm'))[1].trim().split(/\s+/);
  return {
    users: numbers('Uid').map(Number), groups: numbers('Gid').map(Number),
    effective: numbers('CapEff')[0], permitted: numbers('CapPrm')[0],
  };
}

function assertUnprivileged(pid) {
  const [uid, gid] = [idOf('-u'), idOf('-g')];
  assert.deepEqual(rightsOf(pid), {
    users: [uid, uid, uid, uid], groups: [gid, gid, gid, gid],
    effective: '0000000000000000', permitted: '0000000000000000',
  });
}

async function fingerprint(server) {
  const { port } = new URL(server.url('/', 'https'));
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const found = socket.getPeerCertificate().fingerprint256;
  socket.destroy();
  return found;
}

async function echoes(url) {
  const client = await connect(url);
  client.send('hello');
  assert.equal(await client.next(), 'hello');
  await client.close();
}

/** A port below 1024 that is free now. */
async function lowPort() {
  for (let port = 1023; port > 600; port--) {
    const holder = net.createServer().listen(port, '127.0.0.1');
    const free = await Promise.race([once(holder, 'listening').then(() => true), once(holder, 'error').then(() => false)]);
    if (!free) continue;
    holder.close();
    await once(holder, 'close');
    return port;
  }
  throw new Error('no port below 1024 is free');
}

async function beginSecure() {
  const folder = temporaryFolder();
  makeCertificate(folder);
  fs.chmodSync(path.join(folder, 'key.pem'), 0o600);
  const server = await start(secure, folder);
  return { server, folder };
}

async function killWorker(server) {
  const { worker } = server;
  process.kill(worker, 'SIGKILL');
  await until('another worker', async () => await probe(server.port) === 'served' && server.worker !== worker);
}

describe('with a user', { skip: notRoot }, () => {
  test('the worker has his rights alone, at the start, after a reload and after a crash', async () => {
    const { server } = await beginSecure();
    assert.equal(rightsOf(server.pid).users[0], 0);
    assertUnprivileged(server.worker);
    await order(server, 'reload');
    assertUnprivileged(server.worker);
    await servedForASecond(server);
    await killWorker(server);
    assertUnprivileged(server.worker);
    assert.doesNotMatch(server.log, /running as root/);
    await echoes(server.wsUrl('/echo/', 'wss'));
    await server.stop();
  });

  test('a key that root alone can read is taken at the start, a reload, a reopen and after a crash', async () => {
    const { server, folder } = await beginSecure();
    await echoes(server.wsUrl('/echo/', 'wss'));
    const seen = [await fingerprint(server)];
    for (const word of ['reload', 'reopen']) {
      makeCertificate(folder);
      fs.chmodSync(path.join(folder, 'key.pem'), 0o600);
      await order(server, word);
      seen.push(await fingerprint(server));
    }
    assert.equal(new Set(seen).size, 3);
    await killWorker(server);
    assert.equal(await fingerprint(server), seen[2]);
    await server.stop();
  });

  test('a restart takes such a key too, and the new worker has no more rights', async () => {
    const { server, folder } = await beginSecure();
    const before = await fingerprint(server);
    makeCertificate(folder);
    fs.chmodSync(path.join(folder, 'key.pem'), 0o600);
    assert.match(await order(server, 'restart'), /restarted/);
    assert.notEqual(await fingerprint(server), before);
    assertUnprivileged((await statusOf(server)).worker);
    await server.stop();
  });

  test('a port below 1024 can be added by a reload, and kept over a crash', async () => {
    const { server } = await beginSecure();
    const port = await lowPort();
    writeConfiguration(fs.readFileSync(server.file, 'utf8')
      .replace('listen:\n', `listen:\n  - {host: 127.0.0.1, port: ${port}}\n`), path.dirname(server.file));
    await order(server, 'reload');
    await echoes(`ws://127.0.0.1:${port}/echo/`);
    await killWorker(server);
    await echoes(`ws://127.0.0.1:${port}/echo/`);
    assertUnprivileged(server.worker);
    await server.stop();
  });

  test('logs in a folder of root are written, and opened anew', async () => {
    const { server, folder } = await beginSecure();
    const [log, moved] = ['access.log', 'access.log.1'].map((name) => path.join(folder, name));
    const lines = (file) => fs.readFileSync(file, 'utf8').split('\n').length - 1;
    await probe(server.port);
    await until('a line', () => lines(log) === 1);
    fs.renameSync(log, moved);
    await order(server, 'reopen');
    await probe(server.port);
    await until('a line in the new log', () => lines(log) === 1);
    assert.equal(fs.statSync(log).uid, 0);
    assert.equal(lines(moved), 1);
    await server.stop();
  });

  test('a link that he puts into the folder of a log is not followed', async () => {
    const { server, folder } = await beginSecure();
    const [log, secret] = ['access.log', 'secret'].map((name) => path.join(folder, name));
    fs.writeFileSync(secret, 'secret', { mode: 0o600 });
    fs.chownSync(folder, idOf('-u'), idOf('-g'));
    fs.renameSync(log, `${log}.1`);
    fs.symlinkSync(secret, log);
    const { code, err } = await ask(server, 'reopen');
    assert.equal(code, 73, err);
    await server.logged(/error: can't open \S+\/access\.log again/);
    await refused(server, /access\.log: Permission denied/); // the trial has his rights
    await probe(server.port);
    await until('a line in the old log', () => fs.readFileSync(`${log}.1`, 'utf8') !== '');
    assert.equal(fs.readFileSync(secret, 'utf8'), 'secret');
    await server.stop();
  });

  test('kept messages need a folder, and a file, that he may write to', async () => {
    const folder = temporaryFolder();
    const kept = path.join(folder, 'kept');
    const file = path.join(kept, 'messages.db');
    const text = plain(0, `user: ${USER}\nlayer: {sqlite: kept/messages.db}`);
    const refusedFor = async (name) => {
      const server = launch(writeConfiguration(text, folder));
      assert.equal(await server.ended(), 78);
      assert.match(server.log, new RegExp(`:5:17: error: \\S*/${name}: Permission denied for user ${USER}, who has to write there`));
    };
    fs.mkdirSync(kept);
    await refusedFor('kept'); // not even seen, in a folder of root's
    fs.chmodSync(folder, 0o755);
    await refusedFor('kept');
    fs.chownSync(kept, idOf('-u'), idOf('-g'));
    fs.writeFileSync(file, '', { mode: 0o600 });
    await refusedFor('messages.db');
    fs.rmSync(file);
    const server = await start(text, folder);
    assertUnprivileged(server.worker);
    await server.stop();
  });

  test('who is not there the server does not start, and a reload that names him is refused', async () => {
    const { server, folder } = await beginSecure();
    const text = fs.readFileSync(server.file, 'utf8').replace(`user: ${USER}`, 'user: no-such-user');
    writeConfiguration(text, folder);
    await refused(server, /the server can't become user no-such-user/);
    await echoes(server.wsUrl('/echo/'));
    const other = temporaryFolder();
    makeCertificate(other);
    const second = launch(writeConfiguration(text, other));
    assert.equal(await second.ended(), 78);
    assert.match(second.log, /there is no user no-such-user/);
    await server.stop();
  });
});

const plain = (port, more = '') => `
listen:
  - {host: 127.0.0.1, port: ${port}}
${more}
num-threads: 2
control: control
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: /echo/, consumer: echo}
`;

/** As systemd starts it, with sockets of these ports. */
const handing = (...ports) => ({
  launcher: ['python3', path.join(repository, 'tests/e2e/support/hand_over.py'),
    ...ports.map((port) => `127.0.0.1:${port}`), '--'],
});

describe('sockets that are handed over', () => {
  test('are used for the addresses that they have, through reload, crash and restart', async () => {
    const port = await freePort();
    const server = await start(plain(port), undefined, handing(port));
    assert.doesNotMatch(server.log, /handed over/);
    // the same socket, not another one beside it: that could not be bound, since it has no SO_REUSEPORT
    assert.equal(server.port, port);
    const prober = new Prober(port);
    await echoes(server.wsUrl('/echo/'));
    await order(server, 'reload');
    await echoes(server.wsUrl('/echo/'));
    await servedForASecond(server);
    await killWorker(server);
    await echoes(server.wsUrl('/echo/'));
    await order(server, 'restart');
    await echoes(server.wsUrl('/echo/'));
    assert.equal((await prober.stop()).refused, undefined);
    await server.stop();
  });

  test('that no listen asks for are told, and those that are missing are opened', async () => {
    const [port, other, unused] = [await freePort(), await freePort(), await freePort()];
    const server = await start(plain(port, `  - {host: 127.0.0.1, port: ${other}}`), undefined, handing(unused, port));
    assert.match(server.log, /warning: 1 sockets were handed over that no `listen` asks for/);
    for (const one of [port, other]) assert.equal(await probe(one), 'served');
    await server.stop();
  });
});
