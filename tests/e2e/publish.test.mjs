// Messages from outside: `publish` of a path, as curl and many HTTP clients use it beside WebSockets.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from './support/client.mjs';
import { ask, order, refused } from './support/command.mjs';
import { readExposition } from './support/exposition.mjs';
import { Raw } from './support/raw.mjs';
import { start, temporaryFolder } from './support/server.mjs';
import { until } from './support/wait.mjs';

const execute = promisify(execFile);

const OLD = 'an-old-token-0123456789';
const NEW = 'A-new-token.of/the+next~month==';

const configuration = String.raw`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - {match: '/rooms/(?P<group>[^/]+)/', consumer: relay, groups: rooms, limits: {message: 100k}}
      - {match: '/small/(?P<group>[^/]+)/', consumer: relay, groups: rooms, limits: {message: 1k}}
      - {match: '/kept/(?P<group>[^/]+)/', consumer: keeper, groups: kept, history: {messages: 100}}
    paths:
      /publish: {publish: {namespace: rooms, token-file: tokens, rate: OFF}}
      /kept/in: {publish: {namespace: kept, token-file: tokens, rate: 0}}
      /passing/: {publish: {namespace: kept, token-file: tokens, keep: OFF}}
      /news: {publish: {namespace: rooms, token-file: tokens, groups: 'news-[a-z]+'}}
      /slow: {publish: {namespace: rooms, token-file: tokens, rate: 2}}
      /metrics: {metrics: ON}
`;

const folder = temporaryFolder();
const tokenFile = path.join(folder, 'tokens');

function writeTokens(text, mode = 0o600) {
  fs.writeFileSync(tokenFile, text);
  fs.chmodSync(tokenFile, mode);
}

let server;
before(async () => {
  writeTokens(`# of May\n${OLD}\n`);
  server = await start(configuration, folder);
});

/** What curl gets: {status, headers (lower case), body (parsed)}. */
async function curl(target, ...options) {
  const { stdout } = await execute('curl', ['--silent', '--show-error', '--include', '--max-time', '10',
    ...options, server.url(target)]);
  const [head, body] = stdout.split('\r\n\r\n');
  const [line, ...fields] = head.split('\r\n');
  const headers = Object.fromEntries(fields.map((field) => {
    const colon = field.indexOf(':');
    return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
  }));
  const status = Number(line.split(' ')[1]);
  const json = headers['content-type'] === 'application/json';
  return { status, headers, body: json && body ? JSON.parse(body) : body };
}

const bearer = (token) => ['--header', `Authorization: Bearer ${token}`];
const publish = (target, text, ...options) => curl(target, ...bearer(OLD), '--data-binary', text, ...options);

/** A member of the room that has heard itself, so that it hears all that follows. */
async function member(room, where = 'rooms') {
  const client = await connect(server.wsUrl(`/${where}/${encodeURIComponent(room)}/`));
  client.send(where === 'kept' ? 'pass here' : 'here');
  while (await client.next() !== 'here');
  return client;
}

describe('a message by curl', () => {
  test('is heard by all members, and the answer says by how many', async () => {
    const one = await member('kitchen');
    const two = await member('kitchen');
    assert.equal(await one.next(), 'here'); // the other's
    const elsewhere = await member('cellar');
    const answer = await publish('/publish/kitchen', 'dinner is ready');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.deepEqual(answer.body, { matched: 2, kept: false, position: null });
    assert.equal(await one.next(), 'dinner is ready');
    assert.equal(await two.next(), 'dinner is ready');
    elsewhere.send('only the rats');
    assert.equal(await elsewhere.next(), 'only the rats');
    await Promise.all([one, two, elsewhere].map((client) => client.close()));
  });

  test('is binary when it says so, in whatever case and with whatever parameters', async () => {
    const one = await member('bytes');
    for (const type of ['application/octet-stream', 'Application/Octet-Stream; a=b']) {
      assert.equal((await publish('/publish/bytes', 'raw', '--header', `Content-Type: ${type}`)).status, 200);
      assert.deepEqual(await one.next(), Buffer.from('raw'));
    }
    for (const type of ['text/plain', 'application/octet-streams', 'application/json']) {
      await publish('/publish/bytes', 'text', '--header', `Content-Type: ${type}`);
      assert.equal(await one.next(), 'text');
    }
    await one.close();
  });

  test('goes to a group whose name is no plain word, and nobody needs to be there', async () => {
    const one = await member('Küche & Bad');
    assert.equal((await publish('/publish/K%C3%BCche%20&%20Bad', 'x')).body.matched, 1);
    assert.equal(await one.next(), 'x');
    assert.deepEqual((await publish('/publish/a/b', 'x')).body, { matched: 0, kept: false, position: null });
    await one.close();
  });

  test('that is not UTF-8 is refused as text', async () => {
    const file = path.join(folder, 'bytes');
    fs.writeFileSync(file, Buffer.from([0x68, 0xff]));
    assert.equal((await publish('/publish/bytes', `@${file}`)).status, 400);
    assert.equal((await publish('/publish/bytes', `@${file}`, '--header',
      'Content-Type: application/octet-stream')).status, 200);
  });
});

describe('a token', () => {
  const refusedFor = async (why, ...options) => {
    const answer = await curl('/publish/kitchen', '--data', 'x', ...options);
    assert.equal(answer.status, 401, options.join(' '));
    assert.equal(answer.headers['www-authenticate'], why, options.join(' '));
    assert.equal(typeof answer.body.error, 'string');
    assert.doesNotMatch(answer.body.error, /0123456789/);
  };

  test('must be there, once, in the header', async () => {
    const header = (text) => ['--header', text];
    await refusedFor('Bearer');
    await refusedFor('Bearer', ...header(`Authorization: Basic ${OLD}`));
    await refusedFor('Bearer', ...header(`Authorization: ${OLD}`));
    await refusedFor('Bearer', ...header('Authorization: Bearer'));
    await refusedFor('Bearer', ...bearer(OLD), ...bearer(OLD));
    await refusedFor('Bearer', ...header(`Cookie: token=${OLD}`));
  });

  test('is never taken from the query', async () => {
    for (const query of [`access_token=${OLD}`, `token=${OLD}`, `Authorization=Bearer%20${OLD}`]) {
      const answer = await curl(`/publish/kitchen?${query}`, '--data', 'x');
      assert.equal(answer.status, 401);
    }
  });

  test('that is wrong, cut or longer is refused and counted', async () => {
    const count = async () => {
      const text = await (await fetch(server.url('/metrics'))).text();
      return readExposition(text)('sluice_refused_total', { cause: 'token' });
    };
    const counted = await count();
    const wrong = 'Bearer error="invalid_token"';
    for (const token of [NEW, OLD.slice(0, -1), `${OLD}0`, OLD.toUpperCase(), '#', `${OLD} ${OLD}`])
      await refusedFor(wrong, ...bearer(token));
    assert.equal(await count(), counted + 6);
    const right = await curl('/publish/kitchen', '--data', 'x', '--header', `authorization: bearer ${OLD}`);
    assert.equal(right.status, 200);
  });

  test('is rotated by reopen and by reload, while the old one works beside it', async (t) => {
    t.after(async () => { writeTokens(`${OLD}\n`); await order(server, 'reload'); });
    const status = async (token) => (await curl('/publish/kitchen', ...bearer(token), '--data', 'x')).status;
    writeTokens(`${OLD}\n# of June\n${NEW}\n`);
    assert.deepEqual([await status(OLD), await status(NEW)], [200, 401]);
    await order(server, 'reopen');
    assert.deepEqual([await status(OLD), await status(NEW)], [200, 200]);
    writeTokens(`${NEW}\n`);
    await order(server, 'reload');
    assert.deepEqual([await status(OLD), await status(NEW)], [401, 200]);
  });

  test('file that is exposed, empty or gone is refused, and the old tokens go on', async (t) => {
    t.after(() => writeTokens(`${OLD}\n`));
    writeTokens(`${NEW}\n`, 0o644);
    await refused(server, /tokens: everybody may read or write it/);
    assert.equal((await ask(server, 'reopen')).code, 78);
    writeTokens('# none\n');
    await refused(server, /tokens: holds no token/);
    writeTokens(`${NEW}\nshort\n`);
    await refused(server, /tokens:2: a token is 16 to 256 visible ASCII characters/);
    fs.rmSync(tokenFile);
    await refused(server, /tokens: can't be read: No such file/);
    assert.equal((await publish('/publish/kitchen', 'x')).status, 200);
    assert.doesNotMatch(server.log, /A-new-token/);
  });

  test('that was accepted is known to a worker that takes the place of another', async (t) => {
    t.after(() => writeTokens(`${OLD}\n`));
    writeTokens('# none\n');
    const { worker } = server;
    process.kill(worker, 'SIGKILL');
    await server.logged(new RegExp(`worker ${worker} was ended by SIGKILL`));
    await until('another worker', async () => (await ask(server, 'status')).code === 0);
    assert.equal((await publish('/publish/kitchen', 'x')).status, 200);
  });
});

describe('a request', () => {
  test('that is no POST is told what is', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await curl('/publish/kitchen', ...bearer(OLD), '--request', method);
      assert.equal(answer.status, 405, method);
      assert.equal(answer.headers.allow, 'POST');
    }
    const head = await curl('/publish/kitchen', '--head');
    assert.equal(head.status, 405);
  });

  test('without a group, or beside the path, is 404', async () => {
    for (const target of ['/publish', '/publish/', '/publisher', '/publishing/kitchen', '/passing'])
      assert.equal((await publish(target, 'x')).status, 404, target);
  });

  test('for a name that no group may have is 400', async () => {
    assert.equal((await publish(`/publish/${'a'.repeat(200)}`, 'x')).status, 200);
    assert.equal((await publish(`/publish/${'a'.repeat(201)}`, 'x')).status, 400);
    assert.equal((await publish('/publish/a%C2%85', 'x')).status, 400);
    assert.equal((await publish('/publish/a%01', 'x')).status, 400);
    assert.equal((await publish('/publish/a%FF', 'x')).status, 400);
  });

  test('for a group that the pattern leaves out is 403', async () => {
    assert.equal((await publish('/news/news-sports', 'x')).status, 200);
    for (const group of ['sports', 'news-', 'news-sports/x', 'x/news-sports', 'news-9'])
      assert.equal((await publish(`/news/${group}`, 'x')).status, 403, group);
  });

  test('has a body of at most what the largest route of the namespace takes', async () => {
    const file = path.join(folder, 'large');
    const send = async (size) => {
      fs.writeFileSync(file, 'x'.repeat(size));
      return (await publish('/publish/kitchen', `@${file}`)).status;
    };
    assert.equal(await send(100 << 10), 200);
    assert.equal(await send((100 << 10) + 1), 413);
    assert.equal(await send(2 << 20), 413); // by H2O's limit-request-body
  });

  test('may be empty', async () => {
    const one = await member('empty');
    assert.equal((await publish('/publish/empty', '')).status, 200);
    assert.equal(await one.next(), '');
    await one.close();
  });

  test('over the rate is 429 with a time to come again, and counted', async () => {
    const from = Date.now();
    const answers = await Promise.all(Array.from({ length: 20 }, () => publish('/slow/kitchen', 'x')));
    const right = answers.filter(({ status }) => status === 200).length;
    const late = answers.filter(({ status }) => status === 429);
    assert.equal(right + late.length, 20);
    assert.ok(right >= 2 && right <= 2 + Math.ceil((Date.now() - from) / 500), `${right} of 20`);
    assert.ok(late.every(({ headers }) => headers['retry-after'] === '1'));
    const text = await (await fetch(server.url('/metrics'))).text();
    assert.equal(readExposition(text)('sluice_limit_hits_total', { limit: 'published' }), late.length);
    // Those without a token take nothing of it.
    await until('a moment within the rate', async () => (await publish('/slow/kitchen', 'x')).status === 200);
  });

  test('whose client goes away is sent all the same', async () => {
    const one = await member('leaving');
    const head = `POST /publish/leaving HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${OLD}\r\n`;
    for (let time = 0; time < 20; time++) {
      const raw = new Raw(server.port);
      raw.socket.write(`${head}Content-Length: 4\r\n\r\ngone`, () => raw.destroy());
    }
    for (let time = 0; time < 20; time++) assert.equal(await one.next(), 'gone');
    await one.close();
  });
});

describe('a namespace with history', () => {
  test('keeps what is published, and its position is told', async () => {
    const first = (await publish('/kept/in/log', 'first')).body;
    assert.match(first.position.epoch, /^[0-9a-f]{16}$/);
    assert.deepEqual(first, { matched: 0, kept: true, position: { epoch: first.position.epoch, offset: 1 } });
    const second = (await publish('/kept/in/log', 'second')).body;
    assert.deepEqual(second.position, { epoch: first.position.epoch, offset: 2 });
    const late = await connect(server.wsUrl(`/kept/log/?since=${first.position.epoch}:1`));
    assert.equal(await late.next(), `joined 1 ${first.position.epoch}:2 1`);
    assert.equal(await late.next(), 'second');
    await late.close();
  });

  test('knows a message by its key again', async () => {
    const one = await member('once', 'kept');
    const send = (text, key) => publish('/kept/in/once', text, '--header', `Idempotency-Key: ${key}`);
    const first = await send('order 17', 'order-17');
    assert.equal(first.body.repeated, undefined);
    const again = await send('order 17', 'order-17');
    assert.deepEqual(again.body, { matched: 0, kept: true, position: first.body.position, repeated: true });
    await send('order 18', 'order-18');
    assert.equal(await one.next(), 'order 17');
    assert.equal(await one.next(), 'order 18');
    for (const key of ['x'.repeat(101), 'a\u0080'])
      assert.equal((await send('x', key)).status, 400, key);
    const twice = await publish('/kept/in/once', 'x', '--header', 'Idempotency-Key: a', '--header', 'Idempotency-Key: b');
    assert.equal(twice.status, 400);
    await one.close();
  });

  test('does not keep what a path with `keep: OFF` publishes', async () => {
    const one = await member('passing', 'kept');
    const { body } = await publish('/passing/passing', 'by');
    assert.equal(body.kept, false);
    assert.equal(await one.next(), 'by');
    one.send('read 0:0 10');
    assert.match(await one.next(), /^history 0 /);
    assert.deepEqual(one.unread, []);
    await one.close();
  });
});

/** Publishes by one connection that is kept, one message after the other: what each answer says. */
async function publishAll(target, texts) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const answers = [];
  for (const text of texts) {
    const request = http.request(server.url(target), { agent, method: 'POST', headers: { authorization: `Bearer ${OLD}` } });
    request.end(text);
    const [response] = await once(request, 'response');
    let body = '';
    for await (const part of response.setEncoding('utf8')) body += part;
    assert.equal(response.statusCode, 200, body);
    answers.push(JSON.parse(body));
  }
  agent.destroy();
  return answers;
}

test('all members hear published messages and those of WebSockets in one order', async () => {
  const [one, two, three] = [await member('busy', 'kept'), await member('busy', 'kept'), await member('busy', 'kept')];
  const numbered = (who) => Array.from({ length: 40 }, (_, index) => `${who} ${index}`);
  const said = Promise.all(['http a', 'http b', 'http c'].map((who) => publishAll('/kept/in/busy', numbered(who))));
  for (const text of numbered('socket one')) one.send(`pass ${text}`);
  for (const text of numbered('socket two')) two.send(`pass ${text}`);
  const positions = await said;
  one.send('pass the end');
  const heard = await Promise.all([one, two, three].map(async (client) => {
    const texts = [];
    for (let text = await client.next(); text !== 'the end'; text = await client.next())
      if (text !== 'here') texts.push(text);
    return texts;
  }));
  assert.deepEqual(heard[1], heard[0]);
  assert.deepEqual(heard[2], heard[0]);
  // All that was answered for was heard before what was sent after the answers.
  assert.equal(heard[0].filter((text) => text.startsWith('http')).length, 120);
  for (const who of ['http a', 'http b', 'http c', 'socket one'])
    assert.deepEqual(heard[0].filter((text) => text.startsWith(`${who} `)), numbered(who), who);
  // The positions that the answers told are those in the order that was heard.
  const at = new Map(['http a', 'http b', 'http c'].flatMap((who, index) =>
    numbered(who).map((text, number) => [text, positions[index][number].position.offset])));
  const offsets = heard[0].filter((text) => at.has(text)).map((text) => at.get(text));
  assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b));
  await Promise.all([one, two, three].map((client) => client.close()));
});

test('a message that the disk does not take is 503, sent to nobody, and goes through once it does', async () => {
  const place = temporaryFolder();
  fs.writeFileSync(path.join(place, 'tokens'), `${OLD}\n`, { mode: 0o600 });
  const small = await start(String.raw`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
plugin-dir: [PLUGINS, TEST_PLUGINS]
layer: {sqlite: history.db}
hosts:
  default:
    routes:
      - {match: '/kept/(?P<group>\w+)/', consumer: keeper, groups: kept, history: {messages: 100}}
    paths:
      /publish: {publish: {namespace: kept, token-file: tokens}}
`, place);
  const send = (text, key) => fetch(small.url('/publish/log'), { method: 'POST', body: text,
    headers: { authorization: `Bearer ${OLD}`, 'idempotency-key': key } });
  const limit = (size) => execFileSync('prlimit', ['--pid', String(small.worker), `--fsize=${size}:unlimited`]);
  const one = await connect(small.wsUrl('/kept/log/'));
  assert.match(await one.next(), /^joined 0 /);
  assert.equal((await send('before', 'a')).status, 200);
  assert.equal(await one.next(), 'before');
  limit(4096);
  const late = await send('x'.repeat(60000), 'b');
  assert.equal(late.status, 503);
  assert.equal(late.headers.get('retry-after'), '1');
  assert.match((await late.json()).error, /could not be kept and was not sent/);
  const { code, err } = await ask(small, 'publish', 'kept', 'log', 'x'.repeat(60000));
  assert.deepEqual([code, err], [75, 'the message could not be kept and was not sent\n']);
  limit('unlimited');
  const again = await until('a disk that takes it', async () => {
    const answer = await send('after', 'b');
    return answer.status === 200 && answer.json();
  }, 30);
  assert.deepEqual([again.matched, again.kept, again.repeated], [1, true, undefined]);
  assert.equal(await one.next(), 'after');
  await one.close();
});
