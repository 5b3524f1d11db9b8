// Consumers as authors make them: the README's, made, served and used as it says; of several files,
// in C++, with names that libraries have too; replaced on disk while loaded; asking before they
// accept.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { Raw } from './support/raw.mjs';
import { program, repository, run, start, temporaryFolder, testPlugins, within, writeConfiguration } from './support/server.mjs';
import { launchBrowser, newPage } from './support/site.mjs';

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

// A fenced block with its language, and the name that the paragraph before it begins with.
const BLOCK = /(?:^`([\w./]+)`(?:[^\n]|\n(?!\n))*:?\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm;

/** A folder with what the README's reader has after script/server: the headers and the program. */
function checkout() {
  const folder = temporaryFolder();
  fs.symlinkSync(path.join(repository, 'gateway'), path.join(folder, 'gateway'));
  fs.mkdirSync(path.join(folder, 'build/release/bin'), { recursive: true });
  fs.symlinkSync(program, path.join(folder, 'build/release/bin/sluice'));
  return folder;
}

/**
 * Does what a section of the README says, block by block: saves the files, runs the commands. Stops
 * at the command that serves and returns its configuration's folder and text.
 */
function follow(section, folder) {
  for (const [, name, language, text] of section.matchAll(BLOCK)) {
    if (language !== 'sh') {
      assert.ok(name, `no paragraph names the file of this block:\n${text}`);
      fs.writeFileSync(path.join(folder, name), text);
      continue;
    }
    for (const line of text.trimEnd().split('\n')) {
      const command = line.replace(/\s+#.*/, '');
      const [, served] = command.match(/^\S+ -c (\S+)$/) ?? [];
      if (served) return { folder, text: fs.readFileSync(path.join(folder, served), 'utf8') };
      const said = execFileSync('bash', ['-ec', `${command}\npwd`], { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
      folder = said.trimEnd().split('\n').pop();
    }
  }
  return assert.fail('the README serves nothing');
}

describe('authors', () => {
  test("the README's five minutes, followed to the letter, end with two pages that hear each other", async () => {
    const readme = fs.readFileSync(path.join(repository, 'README.md'), 'utf8');
    const [, section] = readme.match(/^## A consumer in five minutes\n([\s\S]*?)^## /m);
    const { folder, text } = follow(section, checkout());
    // The port is the reader's, and may be taken here.
    const address = new URL(section.match(/Open (http:\S+)/)[1]);
    assert.ok(text.includes(`port: ${address.port}}`), text);
    const server = await start(text.replace(`port: ${address.port}}`, 'port: 0}'), folder);
    const browser = await launchBrowser();
    try {
      const pages = [await newPage(browser), await newPage(browser)];
      for (const page of pages) {
        await page.goto(server.url(address.pathname));
        await page.getByRole('button', { name: 'Say', disabled: false }).waitFor();
      }
      const [one, two] = pages;
      await one.getByLabel('Message').fill('hello');
      await one.getByRole('button', { name: 'Say' }).click();
      for (const page of pages) await page.getByText('hello', { exact: true }).waitFor();
      await two.getByLabel('Message').fill('<b>and back</b>');
      await two.getByLabel('Message').press('Enter');
      for (const page of pages) {
        await page.getByText('<b>and back</b>').waitFor();
        // The browser may ask for an icon, which the example leaves out.
        assert.deepEqual(page.faults.filter((fault) => !/Failed to load resource.*404/.test(fault)), []);
      }
      assert.doesNotMatch(server.log, /other symbols/);
      await server.stop();
      await one.getByText('closed: 1001').waitFor();
    } finally {
      await browser.close();
    }
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
