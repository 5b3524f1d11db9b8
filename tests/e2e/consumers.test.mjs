// Consumers as authors make them: the README's, compiled by its own command; of several files, in
// C++, with names that libraries have too; replaced on disk while loaded; asking before they accept.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { Raw } from './support/raw.mjs';
import { repository, run, start, temporaryFolder, testPlugins, within, writeConfiguration } from './support/server.mjs';

/** A configuration with a route /NAME/GROUP/ for each consumer. */
const routes = (pluginDir, names, more = '') => `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: ${pluginDir}
${more}
hosts:
  default:
    routes:
${names.map((name) => `
      - match: /${name}/(?P<group>\\w+)/
        consumer: ${name}`).join('')}
`;

const handshake = (target) => `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n`
  + 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

describe('authors', () => {
  test("the README's consumer, copied out and compiled by the README's command, works", async () => {
    const readme = fs.readFileSync(path.join(repository, 'README.md'), 'utf8');
    const code = readme.match(/```c\n([\s\S]*?)```/)[1];
    const [command, ...words] = readme.match(/^cc -shared .*$/m)[0].split(' ');
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, 'relay.c'), code);
    fs.symlinkSync(path.join(repository, 'gateway'), path.join(folder, 'gateway'));
    execFileSync(command, words, { cwd: folder, stdio: 'pipe' });
    const server = await start(routes(folder, ['relay']));
    const one = await connect(server.wsUrl('/relay/kitchen/'));
    const two = await connect(server.wsUrl('/relay/kitchen/'));
    one.send('hello');
    assert.equal(await one.next(), 'hello');
    assert.equal(await two.next(), 'hello');
    assert.doesNotMatch(server.log, /other symbols/);
    await server.stop();
  });

  test('of two C files, in C++, and with names that libraries have too', async () => {
    const server = await start(routes(testPlugins, ['two_files', 'cplusplus', 'clashing']));
    const two = await connect(server.wsUrl('/two_files/a/'));
    assert.equal(await two.next(), 'hello from the other file');
    two.send('and back');
    assert.equal(await two.next(), 'and back');
    const plus = await connect(server.wsUrl('/cplusplus/a/'));
    plus.send('first');
    assert.equal(await plus.next(), '');
    plus.send('second');
    assert.equal(await plus.next(), 'first');
    const clashing = await connect(server.wsUrl('/clashing/a/'));
    clashing.send('who ran');
    assert.equal(await clashing.next(), 'connect send');
    await server.stop();
  });

  test('a file written over a loaded plugin disturbs nothing', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'two_files.so');
    fs.copyFileSync(path.join(testPlugins, 'two_files.so'), file);
    const server = await start(routes(folder, ['two_files']));
    const before = await connect(server.wsUrl('/two_files/a/'));
    await before.next();
    // As cp does: the same file, other bytes, and shorter.
    fs.writeFileSync(file, Buffer.alloc(512, 0x5a));
    before.send('still there');
    assert.equal(await before.next(), 'still there');
    const later = await connect(server.wsUrl('/two_files/a/'));
    assert.equal(await later.next(), 'hello from the other file');
    const checked = await run('-t', '-c', writeConfiguration(routes(folder, ['two_files'])));
    assert.equal(checked.code, 78);
    assert.match(checked.err, /two_files\.so/);
    await server.stop();
  });
});

describe('asking before accepting', () => {
  const lines = (server, pattern) => [...server.log.matchAll(pattern)].length;

  /** Waits until the log has so many lines like this. */
  async function logged(server, pattern, count) {
    for (let i = 0; i < count; i++) {
      await server.logged(new RegExp(`(?:${pattern.source}[\\s\\S]*){${i + 1}}`));
    }
    assert.equal(lines(server, new RegExp(pattern.source, 'g')), count, server.log);
  }

  test('accepted and refused, one release each', async () => {
    const server = await start(routes(testPlugins, ['async_auth']));
    const client = await connect(server.wsUrl('/async_auth/a/?token=letmein&wait=20'));
    assert.equal(await client.next(), 'welcome');
    client.send('echo');
    assert.equal(await client.next(), 'echo');
    await client.close();
    const refused = new Raw(server.port).write(handshake('/async_auth/a/?token=wrong&wait=20'));
    const response = await refused.response();
    assert.equal(response.status, 403);
    assert.equal(response.body, 'this token opens nothing\n');
    await logged(server, /released/, 2);
    await logged(server, /disconnected with 1000/, 1);
    await server.stop();
  });

  test('a client that goes away while asked about is released once, and disconnected only if accepted', async () => {
    const server = await start(routes(testPlugins, ['async_auth']));
    for (const token of ['letmein', 'wrong']) {
      const raw = new Raw(server.port).write(handshake(`/async_auth/a/?token=${token}&wait=200`));
      await once(raw.socket, 'connect');
      raw.socket.resetAndDestroy();
    }
    await logged(server, /released/, 2);
    assert.ok(lines(server, /disconnected with/g) <= 1, server.log);
    await server.stop();
  });

  test('while the pool is full, clients are told to come back', async () => {
    const server = await start(routes(testPlugins, ['async_auth'], 'offload: {threads: 1, queue: 2}'));
    const asked = Array.from({ length: 8 }, () => new Raw(server.port)
      .write(handshake('/async_auth/a/?token=letmein&wait=300')));
    const responses = await Promise.all(asked.map((raw) => raw.response()));
    const refused = responses.filter(({ status }) => status === 503);
    // One is worked on and two wait; the first may have been taken up before the others came.
    assert.ok(refused.length >= 4 && refused.length <= 6, `${refused.length} refused`);
    assert.equal(responses.filter(({ status }) => status === 101).length, 8 - refused.length);
    for (const { headers } of refused) assert.equal(headers['retry-after'], '1');
    for (const raw of asked) raw.destroy();
    await logged(server, /released/, 8);
    await server.stop();
  });

  test('a handshake that stays undecided is answered with 504 at the connect limit', async () => {
    const server = await start(routes(testPlugins, ['async_auth'])
      .replace('consumer: async_auth', 'consumer: async_auth\n        limits: {connect: 100ms}'));
    const raw = new Raw(server.port).write(handshake('/async_auth/a/?token=letmein&wait=400'));
    assert.equal((await raw.response()).status, 504);
    await server.logged(/answered too late/);
    await logged(server, /released/, 1);
    assert.equal(lines(server, /disconnected/g), 0);
    await server.stop();
  });

  test('a stop answers those who wait with 503', async () => {
    // One thread, so that an answer to the second shows that the first has been read.
    const server = await start(routes(testPlugins, ['async_auth']).replace('num-threads: 2', 'num-threads: 1'));
    const raw = new Raw(server.port).write(handshake('/async_auth/a/?token=letmein&wait=500'));
    assert.equal((await new Raw(server.port).write(handshake('/async_auth/a/?token=x')).response()).status, 403);
    const response = within(10, 'the answer', raw.response());
    await server.stop();
    assert.equal((await response).status, 503);
  });
});
