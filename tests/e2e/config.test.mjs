// What is said of configurations, and which host answers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { takenPort } from './support/ports.mjs';
import {
  launch, makeCertificate, repository, run, start, temporaryFolder, testPlugins, writeConfiguration,
} from './support/server.mjs';

const REFUSED = 78;

/** The table that the unit test of the configuration reads as well; it says how it is written. */
function readCases() {
  const text = fs.readFileSync(path.join(repository, 'tests/support/config_cases.txt'), 'utf8');
  return text.split(/^=== /m).slice(1).map((block) => {
    const [head, ...lines] = block.split('\n');
    const [, kind, place, words] = head.match(/^(right|warning)? ?(-|[\d:]+)? ?(.*)$/);
    return {
      title: head,
      kind: kind ?? 'error',
      place: place === '-' ? '' : `${place}:`,
      words: words.split('…'),
      text: lines.filter((line) => !line.startsWith('##')).join('\n').replaceAll('@TAB@', '\t'),
    };
  });
}

/** The folder that the table's files lie in. */
function makeFolder() {
  const folder = temporaryFolder();
  fs.mkdirSync(path.join(folder, 'www'));
  fs.writeFileSync(path.join(folder, 'www/index.html'), 'hello');
  fs.writeFileSync(path.join(folder, 'empty.pem'), '');
  fs.writeFileSync(path.join(folder, 'text.so'), 'no shared object');
  fs.writeFileSync(path.join(folder, 'included.yaml'), 'default: {}\n');
  fs.writeFileSync(path.join(folder, 'tokens'), '# one\n0123456789abcdef\n', { mode: 0o600 });
  fs.writeFileSync(path.join(folder, 'short.tokens'), '0123456789abcdef\n0123\n', { mode: 0o600 });
  fs.writeFileSync(path.join(folder, 'open.tokens'), '0123456789abcdef\n', { mode: 0o644 });
  fs.symlinkSync(path.join(testPlugins, 'options.so'), path.join(folder, 'options.so'));
  fs.symlinkSync(path.join(testPlugins, 'odd'), path.join(folder, 'odd'));
  makeCertificate(folder);
  execFileSync('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-out', path.join(folder, 'other.pem')], { stdio: 'pipe' });
  return folder;
}

/** Whether the words stand in the text in this order. */
function holds(text, words) {
  let at = 0;
  for (const word of words) {
    at = text.indexOf(word, at);
    if (at < 0) return false;
    at += word.length;
  }
  return true;
}

describe('a configuration is judged', { concurrency: os.availableParallelism() }, () => {
  const folder = makeFolder();
  readCases().forEach((entry, number) => test(`${number}: ${entry.title}`, async () => {
    const file = path.join(folder, `${number}.yaml`);
    fs.writeFileSync(file, entry.text);
    const { code, out, err } = await run('-t', '-c', file);
    if (entry.kind === 'error') {
      assert.equal(code, REFUSED, err);
      const [line, last, ...more] = err.trimEnd().split('\n');
      assert.ok(line.startsWith(`${file}:${entry.place} error: `), err);
      assert.ok(holds(line, entry.words), err);
      assert.equal(last, `${file}: refused, 1 error`);
      assert.deepEqual(more, []);
      return;
    }
    assert.equal(code, 0, err);
    assert.equal(out, `${file}: accepted\n`);
    if (entry.kind === 'right') assert.equal(err, '');
    else assert.ok(err.startsWith(`${file}:${entry.place} warning: `) && holds(err, entry.words), err);
  }));
});

describe('a check', () => {
  test('tells all faults of a file in one run', async () => {
    const file = writeConfiguration(`listen: {port: 80, prot: 81}
num-threads: 0
http1-request-timeout: 10s
hosts:
  default:
    routes:
      - {match: '/a(', consumer: echo}
      - {match: /b, consumer: ecoh}
      - {match: /c, consumer: echo, options: {a: b}}
    paths:
      /:
        file.dir: nowhere
`);
    const { code, err } = await run('-t', '-c', file);
    assert.equal(code, REFUSED);
    const lines = err.trimEnd().split('\n');
    assert.deepEqual(lines.slice(0, -1).map((line) => line.slice(file.length).match(/^:(\d+):\d+: error: /)?.[1]),
      ['1', '2', '3', '7', '8', '9', '12']);
    assert.equal(lines.at(-1), `${file}: refused, 7 errors`);
  });

  test('opens no socket', async (t) => {
    const port = await takenPort(t);
    const file = writeConfiguration(`listen: {host: 127.0.0.1, port: ${port}}\nhosts: {default: {}}\n`);
    const { code, err } = await run('-t', '-c', file);
    assert.equal(code, 0, err);
  });

  test('judges as a start does', async () => {
    const server = launch(writeConfiguration('listen: 0\nhosts: {default: {}}\nnum-treads: 2\n'));
    assert.equal(await server.ended(), REFUSED);
    assert.match(server.log, /:3:1: error: unknown word `num-treads`; did you mean `num-threads`\?/);
  });

  test('says that the file is not there', async () => {
    const file = path.join(temporaryFolder(), 'nowhere.yaml');
    const { code, err } = await run('-t', '-c', file);
    assert.equal(code, REFUSED);
    assert.match(err, /nowhere\.yaml: No such file or directory/);
  });
});

/** GET of a path with this Host header: {status, body, server}. */
async function get(port, host, target = '/') {
  const request = http.get({ host: '127.0.0.1', port, path: target, headers: { host }, agent: false });
  const [response] = await once(request, 'response');
  let body = '';
  response.setEncoding('utf8').on('data', (text) => { body += text; });
  await once(response, 'end');
  return { status: response.statusCode, body, name: response.headers['x-host'] };
}

describe('the host that answers', () => {
  test('is that of the name, on the listener\'s port and on the default one', async () => {
    const server = await start(`
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0}
num-threads: 1
hosts:
  a.example: {header.set: "X-Host: a"}
  "*.b.example": {header.set: "X-Host: b"}
  "c.example:1": {header.set: "X-Host: c"}
  default: {header.set: "X-Host: default"}
`);
    const ports = server.urls.map((url) => Number(new URL(url).port));
    assert.equal(ports.length, 2);
    for (const port of ports) {
      for (const [host, name] of [
        [`a.example:${port}`, 'a'], ['A.Example', 'a'], [`x.b.example:${port}`, 'b'],
        [`c.example:${port}`, 'default'], ['c.example:1', 'c'], [`d.example:${port}`, 'default'],
        [`127.0.0.1:${port}`, 'default'],
      ]) {
        assert.equal((await get(port, host)).name, name, host);
      }
    }
  });

  test('answers an error page itself, whatever host the client asked for', async (t) => {
    let calls = 0;
    const other = net.createServer((socket) => { calls++; socket.destroy(); }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    t.after(() => other.close());
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, 'lost.html'), 'lost');
    const server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 1
hosts:
  default:
    error-doc: {status: 404, url: /lost.html}
    paths:
      /: {file.dir: .}
`, folder);
    const elsewhere = `127.0.0.1:${other.address().port}`;
    for (const host of [`localhost:${server.port}`, 'localhost', elsewhere]) {
      const answer = await get(server.port, host, '/nothing');
      assert.equal(answer.status, 404, host);
      assert.equal(answer.body, 'lost', host);
    }
    assert.equal(calls, 0);
  });
});

describe('a path\'s directives', () => {
  test('take a year for 365 days, which libh2o does not', async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, 'a.txt'), 'a');
    const server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 1
hosts: {default: {paths: {/: {file.dir: ., expires: 1 year}}}}
`, folder);
    const response = await fetch(server.url('/a.txt'));
    assert.equal(await response.text(), 'a');
    assert.equal(response.headers.get('cache-control'), `max-age=${365 * 24 * 3600}`);
  });
});
