// The consumer auth_example over real sockets, with tokens by the program that comes with it: who is
// let in and who is not, from a browser, too; the end of a token, its renewal, and another secret.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { order, refused } from './support/command.mjs';
import { handshake, Raw } from './support/raw.mjs';
import { repository, run, slowness, start, temporaryFolder, within, writeConfiguration } from './support/server.mjs';
import { launchBrowser, newPage } from './support/site.mjs';

const HOUR = 3600;

const configuration = (folder) => `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
log-level: debug
log-closes: ON
access-log: ${folder}/access.log
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /auth/(?P<group>\\w+)/
        consumer: auth_example
        options: {secret-file: ${folder}/secret}
    paths:
      /: {file.dir: ${folder}/www}
`;

/** A server with a secret of its own. Its tokens are remembered: no log may have them. */
class Guarded {
  folder = temporaryFolder();
  tokens = [];

  constructor() {
    this.writeSecrets(this.secret = randomBytes(24).toString('hex'));
    fs.mkdirSync(path.join(this.folder, 'www'));
    fs.writeFileSync(path.join(this.folder, 'www/index.html'), '<!doctype html><title>x</title>');
  }

  async start() {
    this.server = await start(configuration(this.folder), this.folder);
    return this;
  }

  writeSecrets(...secrets) {
    fs.writeFileSync(path.join(this.folder, 'secret'), `${secrets.join('\n')}\n`);
  }

  token(user, seconds = HOUR) {
    const program = path.join(repository, 'plugins/auth_example/token');
    const made = execFileSync(program, [path.join(this.folder, 'secret'), user, String(seconds)], { encoding: 'utf8' });
    this.tokens.push(made.trim());
    return made.trim();
  }

  /** A client whose token is one of its subprotocols. */
  async join(room, token) {
    return connect(this.server.wsUrl(`/auth/${room}/`), ['auth.v1', `bearer.${token}`]);
  }

  /** What is answered to a handshake with these fields. */
  async answer(fields) {
    const raw = new Raw(this.server.port);
    const response = await raw.write(handshake('/auth/kitchen/', fields)).response();
    raw.destroy();
    return response;
  }
}

const offer = (token) => ({ 'Sec-WebSocket-Protocol': `auth.v1, bearer.${token}` });
const cookie = (token) => ({ Cookie: `theme=dark; session=${token}` });

/** Returns when the client is a member: it has heard its own word. */
async function settle(client, user) {
  client.send('hello');
  while (await client.next() !== `${user}: hello`);
}

describe('one secret', () => {
  const guarded = new Guarded();
  before(() => guarded.start());

  test('two people hear each other, each by name', async () => {
    const ann = await guarded.join('kitchen', guarded.token('Ann'));
    const ben = await guarded.join('kitchen', guarded.token('王 Ben'));
    assert.equal(ann.socket.protocol, 'auth.v1');
    await settle(ann, 'Ann');
    await settle(ben, '王 Ben');
    ben.send('dinner is ready');
    while (await ann.next() !== '王 Ben: dinner is ready');
    await Promise.all([ann.close(), ben.close()]);
  });

  test('the answer holds the chosen subprotocol and nothing of the token', async () => {
    const token = guarded.token('Ann');
    for (const fields of [offer(token), offer(`${token}x`), cookie(token), cookie(`${token}x`)]) {
      const { status, headers, body } = await guarded.answer(fields);
      const good = !JSON.stringify(fields).includes(`${token}x`);
      assert.equal(status, good ? 101 : 401);
      assert.equal(headers['sec-websocket-protocol'], good && !fields.Cookie ? 'auth.v1' : undefined);
      assert.ok(!JSON.stringify(headers).includes(token.slice(0, 10)), JSON.stringify(headers));
      assert.ok(!body.includes(token.slice(0, 10)), body);
    }
  });

  for (const [what, body, fields] of [
    ['no token', 'bring a token\n', () => ({})],
    ['a token that was changed', 'this token is wrong\n', () => offer(guarded.token('Ann').replace(/^../, 'QQ'))],
    ['an expired token', 'this token has expired\n', () => offer(guarded.token('Ann', -1))],
    ['an expired cookie', 'this token has expired\n', () => cookie(guarded.token('Ann', -HOUR))],
  ]) {
    test(`${what} is refused before the handshake`, async () => {
      const response = await guarded.answer(fields());
      assert.equal(response.status, 401);
      assert.equal(response.body, body);
      assert.match(response.headers['www-authenticate'],
        body === 'bring a token\n' ? /^Bearer$/ : /^Bearer error="invalid_token"$/);
    });
  }

  test('a cookie counts for pages of the same host, and not for others', async () => {
    const host = `127.0.0.1:${guarded.server.port}`;
    const token = guarded.token('Ann');
    const from = async (origin) => (await guarded.answer({ Host: host, ...origin && { Origin: origin }, ...cookie(token) })).status;
    assert.equal(await from(`http://${host}`), 101);
    assert.equal(await from(undefined), 101);
    assert.equal(await from('http://evil.example'), 403);
    assert.equal(await from(`http://127.0.0.1:${guarded.server.port + 1}`), 403);
    assert.equal(await from('null'), 403);
  });

  test('4401 when the token expires; who renewed it stays', async () => {
    // Making a token takes a moment, too: those that expire are made last.
    const [hers, his] = [guarded.token('Ann'), guarded.token('Ben')];
    const short = ['Ann', 'Ben'].map((user) => guarded.token(user, 5 * slowness));
    const [ann, ben] = await Promise.all(short.map((token) => guarded.join('cellar', token)));
    await settle(ann, 'Ann');
    ann.send(`renew ${his}`);
    while (await ann.next() !== 'not renewed');
    ann.send(`renew ${hers}`);
    while (await ann.next() !== 'renewed');
    // The other's token, of the same time, is the clock.
    assert.deepEqual(await ben.closed(15), { code: 4401, reason: 'the token has expired' });
    await settle(ann, 'Ann');
    assert.ok(ben.unread.every((heard) => !heard.includes('renew')), ben.unread.join('\n'));
    await ann.close();
  });

  test('no log has a token', async () => {
    const secret = fs.readFileSync(path.join(guarded.folder, 'secret'), 'utf8').trim();
    const logs = () => guarded.server.log + fs.readFileSync(path.join(guarded.folder, 'access.log'), 'utf8');
    await guarded.answer(offer(`${guarded.token('Ann')}x`));
    await guarded.server.stop();
    assert.match(logs(), /GET \/auth\/kitchen\/.* 401 /); // what was refused is there
    for (const hidden of [secret, ...guarded.tokens.map((token) => token.split('.')[2])]) {
      assert.ok(!logs().includes(hidden), `${hidden} in\n${logs()}`);
    }
  });
});

describe('in a browser', () => {
  let browser;
  before(async () => { browser = await launchBrowser(); });
  after(() => browser?.close());

  /** What a page sees of a WebSocket that says hello once it is open: [protocol, heard or code]. */
  const speak = (page, url, protocols) => within(20, 'the page', page.evaluate(([to, offered]) =>
    new Promise((resolve) => {
      const socket = offered ? new WebSocket(to, offered) : new WebSocket(to);
      socket.onopen = () => socket.send('hello');
      socket.onmessage = (event) => resolve([socket.protocol, event.data]);
      socket.onclose = (event) => resolve([socket.protocol, event.code]);
    }), [url, protocols]));

  test('a page brings its token as a subprotocol or in a cookie, and no other page has that', async () => {
    const guarded = await new Guarded().start();
    const { server } = guarded;
    const page = await newPage(browser);
    await page.goto(server.url());
    const url = server.wsUrl('/auth/kitchen/');
    assert.deepEqual(await speak(page, url, ['auth.v1', `bearer.${guarded.token('Ann')}`]), ['auth.v1', 'Ann: hello']);
    assert.deepEqual(await speak(page, url), ['', 1006]);
    await page.context().addCookies([{ name: 'session', value: guarded.token('Ben'), url: server.url() }]);
    assert.deepEqual(await speak(page, url), ['', 'Ben: hello']);
    // A page of the same site, by its port, and another origin: the cookie comes, and is not enough.
    const other = await new Guarded().start();
    await page.goto(other.server.url());
    assert.deepEqual(await speak(page, url), ['', 1006]);
    await page.context().close();
  });
});

describe('another secret', () => {
  test('takes over by reloads, and nobody is turned away meanwhile', async () => {
    const guarded = await new Guarded().start();
    const { server, secret } = guarded;
    const fresh = randomBytes(24).toString('hex');
    const old = guarded.token('Ann');
    const early = await guarded.join('kitchen', old);

    guarded.writeSecrets(secret, fresh);
    await order(server, 'reload');
    guarded.writeSecrets(fresh, secret);
    const young = guarded.token('Ann');
    for (const token of [old, young]) await (await guarded.join('kitchen', token)).close();

    guarded.writeSecrets(fresh);
    await order(server, 'reload');
    await (await guarded.join('kitchen', young)).close();
    assert.equal((await guarded.answer(offer(old))).status, 401);

    // Who came before has the secrets of that time.
    early.send(`renew ${young}`);
    assert.equal(await early.next(), 'not renewed');
    early.send(`renew ${old}`);
    assert.equal(await early.next(), 'renewed');
    await early.close();

    guarded.writeSecrets('short');
    await refused(server, /secret-file.*holds a line shorter than 32 bytes/);
    await (await guarded.join('kitchen', young)).close();
  });
});

describe('-t', () => {
  for (const [what, spoil, fault] of [
    ['a missing file', (file) => fs.rmSync(file), 'No such file or directory'],
    ['a short secret', (file) => fs.writeFileSync(file, 'short\n'), 'holds a line shorter than 32 bytes'],
    ['an empty file', (file) => fs.writeFileSync(file, ''), 'holds no secret'],
  ]) {
    test(`${what} is told with the option's place`, async () => {
      const { folder } = new Guarded();
      const secrets = path.join(folder, 'secret');
      const file = writeConfiguration(configuration(folder), folder);
      assert.equal((await run('-t', '-c', file)).code, 0);
      spoil(secrets);
      const { code, out, err } = await run('-t', '-c', file);
      assert.equal(code, 78);
      const lines = fs.readFileSync(file, 'utf8').split('\n');
      const line = lines.findIndex((text) => text.includes('secret-file'));
      const column = lines[line].indexOf(secrets) + 1;
      const place = `${file}:${line + 1}:${column}: error: option \`secret-file\`: ${secrets}: ${fault}`;
      assert.ok((out + err).includes(place), `${place}\n${out}${err}`);
      assert.ok((out + err).includes(`${file}: refused, 1 error`), out + err);
    });
  }
});
