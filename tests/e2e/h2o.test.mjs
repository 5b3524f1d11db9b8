// H2O's own directives, in paths and inside routes, as curl sees them; and static files.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { start, temporaryFolder, within } from './support/server.mjs';

const folder = temporaryFolder();
const text = 'All work and no play makes Jack a dull boy.\n'.repeat(200);
let server;
let upstream;

function makeFiles() {
  const www = path.join(folder, 'www');
  fs.mkdirSync(path.join(www, 'sub'), { recursive: true });
  fs.mkdirSync(path.join(www, 'empty'));
  fs.mkdirSync(path.join(folder, 'routed/docs'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'routed/docs/long.txt'), text);
  fs.writeFileSync(path.join(folder, 'routed/docs/.secret'), 'secret');
  for (const name of ['index.html', 'style.css', 'code.js', 'module.mjs', 'data.json', 'picture.png', 'drawing.svg',
    'plain.txt', 'font.woff2', 'unknown.zzz']) {
    fs.writeFileSync(path.join(www, name), `${name}: 0123456789`);
  }
  fs.writeFileSync(path.join(www, 'sub/index.html'), 'the index of sub');
  fs.writeFileSync(path.join(www, 'long.txt'), text);
  fs.writeFileSync(path.join(www, 'packed.txt'), 'not packed');
  fs.writeFileSync(path.join(www, 'packed.txt.gz'), gzipSync('was packed before'));
}

/** Says what it was asked for; /gone answers with an error of its own. */
async function startUpstream() {
  upstream = http.createServer(async (req, res) => {
    let body = '';
    for await (const part of req.setEncoding('utf8')) body += part;
    res.statusCode = req.url === '/base/gone' ? 410 : 200;
    res.setHeader('X-Upstream', 'yes');
    res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body }));
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
}

const configuration = (port) => `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
header.set: "X-Global: g"
access-log: {path: global.log, format: "%m %U%q %s %b [%{X-Asked}i]"}
hosts:
  default:
    header.set: "X-Host: h"
    routes:
      - match: /ws/echo/
        consumer: echo
        header.set: "X-Route: r"
        access-log: {path: route.log, format: "route %U %s"}
      - match: /json          # a route's directives see the whole path: the status handler's is /json
        status: ON
      - match: /r/moved/(?P<rest>.*)
        redirect: {status: 301, url: https://example.org/}
      - match: /r/api/.*
        proxy.reverse.url: http://127.0.0.1:${port}/base/
        header.add: "X-Proxied: by route"
      - match: /docs/.*
        file.dir: routed
        expires: 1 day
        compress: ON
    paths:
      /:
        file.dir: www
      /set:
        file.dir: www
        header.set: "X-Path: p"
        header.add: "X-More: a"
        header.append: "X-More: b"
        header.unset: X-Global
      /moved:
        redirect: {status: 308, url: /elsewhere/}
      /inside:
        redirect: {internal: YES, status: 302, url: /sub/}
      /api:
        proxy.reverse.url: http://127.0.0.1:${port}/base
      /dead:
        proxy.reverse.url: http://127.0.0.1:1/
      /compressed:
        file.dir: www
        compress: ON
      /packed:
        file.dir: www
        file.send-compressed: ON
      /expires:
        file.dir: www
        expires: 30 minutes
      /listed:
        file.dir: www
        file.dirlisting: ON
      /typed:
        file.dir: www
        file.mime.addtypes: {text/x-odd: .zzz}
      /one:
        file.file: www/plain.txt
      /logged:
        file.dir: www
        access-log: {path: path.log, format: "path %U %>s"}
      /status:
        status: ON
`;

before(async () => {
  makeFiles();
  await startUpstream();
  server = await start(configuration(upstream.address().port), folder);
});
after(() => { upstream.closeAllConnections(); upstream.close(); });

const execute = promisify(execFile);

/** What curl gets: {status, headers (lower case; a list where there are several), body (Buffer)}. */
async function curl(target, ...options) {
  const { stdout } = await execute('curl', ['--silent', '--show-error', '--include', '--max-time', '10', '--path-as-is',
    '--http1.1', ...options, server.url(target)], { encoding: 'buffer', maxBuffer: 16 << 20 });
  const end = stdout.indexOf('\r\n\r\n');
  const [line, ...fields] = stdout.subarray(0, end).toString('latin1').split('\r\n');
  const headers = {};
  for (const field of fields) {
    const [, name, value] = field.match(/^([^:]+): ?(.*)$/);
    const key = name.toLowerCase();
    headers[key] = key in headers ? [headers[key], value].flat() : value;
  }
  return { status: Number(line.split(' ')[1]), headers, body: stdout.subarray(end + 4) };
}

/** The log file's lines once one matches: H2O writes a line when the answer has left. */
async function logLine(file, pattern) {
  const name = path.join(folder, file);
  const lines = () => (fs.existsSync(name) ? fs.readFileSync(name, 'utf8').split('\n') : []);
  const found = () => lines().find((line) => pattern.test(line));
  const watcher = fs.watch(folder);
  try {
    return found() ?? await within(10, `a line like ${pattern} in ${file}`, new Promise((resolve) => {
      watcher.on('change', () => { const line = found(); if (line) resolve(line); });
      const line = found();
      if (line) resolve(line);
    }));
  } finally {
    watcher.close();
  }
}

describe('directives in paths', () => {
  test('header.set, add, append and unset, from the outermost in', async () => {
    const plain = await curl('/plain.txt');
    assert.equal(plain.headers['x-global'], 'g');
    assert.equal(plain.headers['x-host'], 'h');
    assert.equal(plain.headers['x-path'], undefined);
    const { headers } = await curl('/set/plain.txt');
    assert.equal(headers['x-host'], 'h');
    assert.equal(headers['x-path'], 'p');
    assert.equal(headers['x-more'], 'a, b');
    assert.equal(headers['x-global'], undefined);
  });

  test('redirect', async () => {
    const answer = await curl('/moved/a/b?q=1');
    assert.equal(answer.status, 308);
    assert.equal(answer.headers.location, '/elsewhere/a/b?q=1');
  });

  test('an internal redirect', async () => {
    const answer = await curl('/inside/');
    assert.equal(answer.status, 200);
    assert.equal(answer.body.toString(), 'the index of sub');
  });

  test('an internal redirect does not lead to dot files', async () => {
    fs.writeFileSync(path.join(folder, 'www/sub/.secret'), 'secret');
    assert.equal((await curl('/inside/.secret')).status, 404);
  });

  test('proxy.reverse.url', async () => {
    const answer = await curl('/api/a%20b?q=1', '--data', 'hello', '--header', 'X-Asked: for');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-upstream'], 'yes');
    const asked = JSON.parse(answer.body);
    assert.equal(asked.method, 'POST');
    assert.equal(asked.url, '/base/a%20b?q=1');
    assert.equal(asked.body, 'hello');
    assert.equal(asked.headers['x-asked'], 'for');
    assert.equal(asked.headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(asked.headers['x-forwarded-proto'], 'http');
    assert.equal((await curl('/api/gone')).status, 410);
  });

  test('an upstream that is not there is 502', async () => {
    assert.equal((await curl('/dead/')).status, 502);
  });

  test('compress', async () => {
    const packed = await curl('/compressed/long.txt', '--header', 'Accept-Encoding: gzip');
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.match(packed.headers.vary, /accept-encoding/i);
    assert.equal(gunzipSync(packed.body).toString(), text);
    assert.ok(packed.body.length < text.length / 10);
    const plain = await curl('/compressed/long.txt');
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(plain.body.toString(), text);
    const picture = await curl('/compressed/picture.png', '--header', 'Accept-Encoding: gzip');
    assert.equal(picture.headers['content-encoding'], undefined);
  });

  test('expires', async () => {
    assert.equal((await curl('/expires/plain.txt')).headers['cache-control'], 'max-age=1800');
    assert.equal((await curl('/plain.txt')).headers['cache-control'], undefined);
  });

  test('access-log with a format', async () => {
    await curl('/logged/plain.txt?q=1', '--header', 'X-Asked: for');
    assert.equal(await logLine('global.log', /^GET \/logged/), 'GET /logged/plain.txt?q=1 200 21 [for]');
    assert.equal(await logLine('path.log', /plain/), 'path /logged/plain.txt 200');
    await curl('/logged/none');
    assert.equal(await logLine('path.log', /none/), 'path /logged/none 404');
  });

  test('a log escapes what a client sends', async () => {
    await curl('/logged/injected', '--header', 'X-Asked: a"b\\c\td');
    assert.equal(await logLine('global.log', /^GET \/logged\/injected/), 'GET /logged/injected 404 9 [a\\x22b\\c\\x09d]');
  });

  test('a refusal of the hygiene handler is logged too', async () => {
    assert.equal((await curl('/logged/%00refused')).status, 400);
    assert.match(await logLine('path.log', /refused/), / 400$/);
  });

  test('status as JSON', async () => {
    const answer = await curl('/status/json');
    assert.equal(answer.status, 200);
    assert.match(answer.headers['content-type'], /^text\/plain|^application\/json/);
    const status = JSON.parse(answer.body);
    assert.equal(typeof status['status-errors.404'], 'number');
    assert.equal(status.requests.find(({ path: asked }) => asked === '/status/json').method, 'GET');
  });
});

describe('directives inside a route', () => {
  test('header.set stands in a refusal', async () => {
    const answer = await curl('/ws/echo/');
    assert.equal(answer.status, 426);
    assert.equal(answer.headers['x-route'], 'r');
    assert.equal(answer.headers['x-host'], 'h');
  });

  test('access-log with a format, of refusals and of WebSockets', async () => {
    await curl('/ws/echo/');
    assert.equal(await logLine('route.log', /426/), 'route /ws/echo/ 426');
    const client = await connect(server.wsUrl('/ws/echo/'));
    client.send('hello');
    assert.equal(await client.next(), 'hello');
    await client.close();
    assert.equal(await logLine('route.log', /101/), 'route /ws/echo/ 101');
  });

  test('redirect', async () => {
    const answer = await curl('/r/moved/a?q=1');
    assert.equal(answer.status, 301);
    assert.match(answer.headers.location, /^https:\/\/example\.org\//);
  });

  test('proxy.reverse.url', async () => {
    const answer = await curl('/r/api/a?q=1');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-upstream'], 'yes');
    assert.equal(answer.headers['x-proxied'], 'by route');
    assert.match(JSON.parse(answer.body).url, /^\/base\/.*\?q=1$/);
  });

  test('status as JSON', async () => {
    const answer = await curl('/json');
    assert.equal(answer.status, 200);
    assert.equal(typeof JSON.parse(answer.body)['status-errors.404'], 'number');
  });

  test('file.dir, expires and compress', async () => {
    const answer = await curl('/docs/long.txt', '--header', 'Accept-Encoding: gzip');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'max-age=86400');
    assert.equal(gunzipSync(answer.body).toString(), text);
  });
});

describe('static files', () => {
  test('an ETag, and 304 for who has it', async () => {
    const first = await curl('/plain.txt');
    assert.equal(first.status, 200);
    assert.equal(first.headers['content-length'], '21');
    assert.match(first.headers.etag, /^"[0-9a-f-]+"$/);
    const fresh = await curl('/plain.txt', '--header', `If-None-Match: ${first.headers.etag}`);
    assert.equal(fresh.status, 304);
    assert.equal(fresh.body.length, 0);
    assert.equal((await curl('/plain.txt', '--header', 'If-None-Match: "other"')).status, 200);
    const since = `If-Modified-Since: ${first.headers['last-modified']}`;
    assert.equal((await curl('/plain.txt', '--header', since)).status, 304);
    const before = 'If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT';
    assert.equal((await curl('/plain.txt', '--header', before)).status, 200);
  });

  test('single ranges', async () => {
    const range = async (value) => curl('/plain.txt', '--range', value);
    const first = await range('0-4');
    assert.equal(first.status, 206);
    assert.equal(first.headers['content-range'], 'bytes 0-4/21');
    assert.equal(first.body.toString(), 'plain');
    assert.equal((await range('11-')).body.toString(), '0123456789');
    assert.equal((await range('-3')).body.toString(), '789');
    assert.equal((await range('18-99')).headers['content-range'], 'bytes 18-20/21');
    const beyond = await range('21-');
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers['content-range'], 'bytes */21');
  });

  test('a file packed before is sent to who takes it', async () => {
    const packed = await curl('/packed/packed.txt', '--header', 'Accept-Encoding: gzip');
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.match(packed.headers['content-type'], /^text\/plain/);
    assert.equal(gunzipSync(packed.body).toString(), 'was packed before');
    assert.equal((await curl('/packed/packed.txt')).body.toString(), 'not packed');
    assert.equal((await curl('/packed.txt', '--header', 'Accept-Encoding: gzip')).body.toString(), 'not packed');
  });

  test('the index of a folder, and the slash before it', async () => {
    assert.equal((await curl('/')).body.toString(), 'index.html: 0123456789');
    assert.equal((await curl('/sub/')).body.toString(), 'the index of sub');
    const answer = await curl('/sub');
    assert.equal(answer.status, 301);
    assert.match(answer.headers.location, /\/sub\/$/);
  });

  test('a folder without an index is not listed, unless told to', async () => {
    assert.ok([403, 404].includes((await curl('/empty/')).status));
    const listed = await curl('/listed/empty/');
    assert.equal(listed.status, 200);
    assert.match(listed.body.toString(), /Index of/);
  });

  test('MIME types', async () => {
    const types = {
      'index.html': 'text/html', 'style.css': 'text/css', 'code.js': /^(text|application)\/javascript$/,
      'data.json': 'application/json', 'module.mjs': 'application/javascript', 'picture.png': 'image/png',
      'drawing.svg': 'image/svg+xml', 'plain.txt': 'text/plain', 'unknown.zzz': 'application/octet-stream',
    };
    for (const [name, type] of Object.entries(types)) {
      const got = (await curl(`/${name}`)).headers['content-type'].split(';')[0];
      if (type instanceof RegExp) assert.match(got, type, name);
      else assert.equal(got, type, name);
    }
    assert.equal((await curl('/typed/unknown.zzz')).headers['content-type'], 'text/x-odd');
  });

  test('HEAD has the head alone', async () => {
    const answer = await curl('/plain.txt', '--head');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '21');
    assert.equal(answer.body.length, 0);
  });

  test('other methods are 405', async () => {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      assert.equal((await curl('/plain.txt', '--request', method)).status, 405, method);
    }
  });

  test('one file', async () => {
    assert.equal((await curl('/one')).body.toString(), 'plain.txt: 0123456789');
  });

  test('no way out of the folder', async () => {
    fs.writeFileSync(path.join(folder, 'outside.txt'), 'outside');
    for (const target of ['/../outside.txt', '/%2e%2e/outside.txt', '/sub/..%2f..%2foutside.txt', '/set/../../outside.txt',
      '/..%2foutside.txt', '/set/%2e%2e%2f%2e%2e%2foutside.txt']) {
      const answer = await curl(target);
      assert.equal(answer.status, 404, target);
      assert.doesNotMatch(answer.body.toString(), /outside/);
    }
  });

  test('no dot files', async () => {
    fs.writeFileSync(path.join(folder, 'www/.secret'), 'secret');
    for (const target of ['/.secret', '/set/.secret', '/docs/.secret', '/sub/../.secret', '/%2esecret']) {
      const answer = await curl(target);
      assert.equal(answer.status, 404, target);
      assert.doesNotMatch(answer.body.toString(), /secret/);
    }
  });

  test('what is not there is 404', async () => {
    const answer = await curl('/missing');
    assert.equal(answer.status, 404);
    assert.equal(answer.headers['x-global'], 'g');
  });
});
