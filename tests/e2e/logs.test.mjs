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
