// Logs that can't be written: everybody is served all the same, what is lost is counted, and lines
// are written again as soon as there is room.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from './support/client.mjs';
import { resident } from './support/memory.mjs';
import { launch, program, slowness, start, temporaryFolder, within, withRing, writeConfiguration } from './support/server.mjs';

const MIB = 1024 * 1024;
const ROOM = 64 * 1024;
const MANY = 400;
const ROUTES = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
access-log: ACCESS
hosts: {default: {routes: [{match: /echo, consumer: echo}]}}
`;

/** The text of the file once it matches. */
function textWith(file, pattern) {
  return within(10, `a line like ${pattern} in ${file}`, (async () => {
    for (;;) {
      const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
      if (pattern.test(text)) return text;
      await pause(10);
    }
  })());
}

/** So many come, are answered and go, a few at a time: each is a line in either log. */
async function visit(url, count = MANY) {
  let left = count;
  const visitor = async () => {
    while (left-- > 0) {
      const client = await connect(url);
      client.send('here');
      assert.equal(await client.next(), 'here');
      await client.close(3001);
    }
  };
  await within(30, 'the visits', Promise.all(Array.from({ length: 10 }, visitor)));
}

/** A server whose logs are both files: what it says is read from there. */
async function serve(folder) {
  const text = ROUTES.replace('ACCESS', 'access.log');
  const server = launch(writeConfiguration(withRing(`${text}error-log: error.log\ncontrol: control\n`), folder));
  const said = await textWith(path.join(folder, 'error.log'), /info: ready/);
  server.urls = [...said.matchAll(/info: listening on (\S+)/g)].map((match) => match[1]);
  return server;
}

test('logs that are as large as files may be', async () => {
  const folder = temporaryFolder();
  const file = (name) => path.join(folder, name);
  const server = await serve(folder);
  const url = server.wsUrl('/echo');
  const worker = server.worker;
  const limit = (size) => [server.pid, worker].forEach((pid) =>
    execFileSync('prlimit', ['--pid', String(pid), `--fsize=${size}:unlimited`]));
  const old = await connect(url);
  limit(ROOM);
  await visit(url);
  for (const name of ['error.log', 'access.log']) fs.writeFileSync(file(name), 'x'.repeat(ROOM - fs.statSync(file(name)).size), { flag: 'a' });
  await visit(url);
  const usual = resident(worker);
  await visit(url, 2 * MANY);
  const more = resident(worker) - usual;
  if (slowness === 1) assert.ok(more < 4 * MIB, `${more} bytes more`);
  old.send('still here');
  assert.equal(await old.next(), 'still here');
  assert.equal(server.worker, worker, 'the worker was replaced');
  for (const name of ['error.log', 'access.log']) assert.equal(fs.statSync(file(name)).size, ROOM);

  limit('unlimited');
  await visit(url, 1);
  const text = await textWith(file('error.log'), /^\S+Z warning: lines of this log that are lost: \d+ \(File too large\)$/m);
  const lost = Number(/that are lost: (\d+)/.exec(text)[1]);
  assert.ok(lost >= 3 * MANY && lost <= 4 * MANY, `${lost} lines`);
  await textWith(file('access.log'), /"GET \/echo HTTP\/1\.1" 101 .*\n$/);

  for (const name of ['error.log', 'access.log']) fs.renameSync(file(name), file(`${name}.1`));
  execFileSync(program, ['reopen', '--control', file('control')]);
  await visit(url, 1);
  await textWith(file('error.log'), /info: closed: .*code=3001/);
  await textWith(file('access.log'), /"GET \/echo HTTP\/1\.1" 101 /);
  await old.close();
  await server.stop();
});

test('an access log on a device that is full', async () => {
  const server = await start(ROUTES.replace('ACCESS', '/dev/full'));
  const worker = server.worker;
  await visit(server.wsUrl('/echo'));
  assert.equal((await fetch(server.url('/'))).status, 404);
  assert.equal(server.worker, worker, 'the worker was replaced');
  await server.stop();
});
