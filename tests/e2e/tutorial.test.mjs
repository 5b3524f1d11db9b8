// The tutorial that Sluice began from, and the two Vue components: Chromium over https and wss.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { logs, makeCertificate, repository, start, temporaryFolder } from './support/server.mjs';
import { launchBrowser, newPage, serveTheSite } from './support/site.mjs';

let server;
let browser;
const folder = temporaryFolder();

/** conf/examples/vue.yaml itself over TLS, with the tutorial beside it. */
function serve(port = 0) {
  const pages = path.join(repository, 'tests/e2e/tutorial');
  const text = fs.readFileSync(path.join(repository, 'conf/examples/vue.yaml'), 'utf8')
    .replace('port: 8080\n', `port: ${port}\n    ssl: {certificate-file: cert.pem, key-file: key.pem}\n`)
    .replace('../../www', path.join(repository, 'www'))
    .replace('consumer: echo\n', 'consumer: PLUGINS/echo.so\n')
    .replace('consumer: qr_code\n', 'consumer: PLUGINS/qr_code.so\n')
    .replace('    routes:\n',
      '    routes:\n      - match: /tutorial/(?P<who>\\w+)/\n        consumer: TEST_PLUGINS/tutorial.so\n')
    .replace('    paths:\n', `    paths:\n      /pages/:\n        file.dir: ${pages}\n`);
  return start(text, folder);
}

before(async () => {
  makeCertificate(folder);
  server = await serve();
  browser = await launchBrowser();
});
after(() => browser?.close());

/** A page of its own profile with these options; prepare(page) comes before it is loaded. */
async function visit(suffix, prepare = async () => {}, options = {}) {
  const page = await newPage(browser, options);
  page.sockets = [];
  page.on('websocket', (socket) => page.sockets.push(socket));
  await prepare(page);
  await page.goto(server.url(suffix, 'https'));
  return page;
}

/** A visitor of the tutorial's page; waits for the greeting. */
async function enter(who) {
  const page = await visit(`/pages/?who=${who}`);
  await event(page, 'message: Welcome').waitFor();
  return page;
}

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const list = (page) => page.getByRole('list', { name: 'Events', exact: true }).getByRole('listitem');
const event = (page, text) => list(page).filter({ hasText: text });
const events = (page) => list(page).allTextContents();

/** What the consumer saw of the visitor, from the log, once its connection is released. */
async function seen(who) {
  await server.logged(new RegExp(`tutorial: ${who}: release`));
  return [...server.log.matchAll(new RegExp(`tutorial: ${who}: (.*)`, 'g'))].map((match) => match[1].trim());
}

describe('the tutorial: page and consumer see each event exactly once', () => {
  test('open, message and a close by the client', async () => {
    const page = await enter('ann');
    await press(page, 'Send');
    await event(page, 'I have heard you').waitFor();
    await press(page, 'Close');
    await event(page, 'close:').waitFor();
    assert.deepEqual(await seen('ann'), ['connect', 'receive', 'disconnect 1000', 'release']);
    assert.deepEqual(await events(page),
      ['open', 'message: Welcome', 'message: I have heard you', 'close: 1000 enough']);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test('a close by the server', async () => {
    const page = await enter('bob');
    await press(page, 'Ask the server to close');
    await event(page, 'close:').waitFor();
    assert.deepEqual(await seen('bob'), ['connect', 'receive', 'disconnect 1000', 'release']);
    assert.deepEqual(await events(page), ['open', 'message: Welcome', 'close: 1000 as you asked']);
    await page.context().close();
  });

  test('a stop, which the consumer chose and is not told of', async () => {
    const page = await enter('cat');
    await press(page, 'Ask the server to stop');
    await event(page, 'close:').waitFor();
    assert.deepEqual(await seen('cat'), ['connect', 'receive', 'release']);
    assert.deepEqual(await events(page), ['open', 'message: Welcome', 'close: 1000']);
    await page.context().close();
  });

  test('a closed window', async () => {
    const page = await enter('dan');
    await page.close();
    const [connect, disconnect, ...rest] = await seen('dan');
    assert.equal(connect, 'connect');
    // Chromium says 1001 when it has the time, and else just goes.
    assert.match(disconnect, /^disconnect (1001|1006)$/);
    assert.deepEqual(rest, ['release']);
    await page.context().close();
  });

  test('a path that is refused before the handshake', async () => {
    const page = await visit('/pages/?who=nobody');
    await event(page, 'close:').waitFor();
    assert.deepEqual(await seen('nobody'), ['refused', 'release']);
    assert.deepEqual(await events(page), ['error', 'close: 1006, not clean']);
    await page.context().close();
  });
});

describe('the Vue page', () => {
  const part = (page, title) => page.getByRole('region', { name: title, exact: true });
  const lines = (page, title) => part(page, title).getByRole('log').getByRole('listitem');
  const connected = (page, title) => part(page, title).getByText('Connected', { exact: true }).waitFor();

  test('sends JSON at open, shows what comes and comes back when the server does', async () => {
    const page = await visit('/vue.html');
    await lines(page, 'JSON').filter({ hasText: '{"type":"hello","from":"vue"}' }).waitFor();
    await part(page, 'JSON').getByLabel('Message', { exact: true }).fill('<b>bold</b>');
    await press(part(page, 'JSON'), 'Send');
    await lines(page, 'JSON').filter({ hasText: '{"type":"say","text":"<b>bold</b>"}' }).waitFor();
    assert.equal(await page.locator('b').count(), 0);
    assert.equal(await lines(page, 'JSON').count(), 2);
    assert.deepEqual(page.faults, []);

    const { port } = new URL(server.url('/', 'https'));
    await server.stop();
    await part(page, 'JSON').getByText('Connection lost').or(part(page, 'JSON').getByText('Connecting…')).waitFor();
    server = await serve(port);
    await connected(page, 'JSON');
    await connected(page, 'Captures');
    await lines(page, 'JSON').nth(2).waitFor();
    assert.equal(await lines(page, 'JSON').nth(2).textContent(), '{"type":"hello","from":"vue"}');
    await page.context().close();
  });

  test('shows the captures at the rate in its address', async () => {
    const page = await visit('/vue.html');
    await lines(page, 'Captures').first().waitFor();
    const begin = performance.now();
    await lines(page, 'Captures').nth(1).waitFor();
    // The page may show the first late, so the bound leaves room below.
    assert.ok(performance.now() - begin > 3000, 'the second came too early');
    assert.deepEqual(await lines(page, 'Captures').allTextContents(), Array(2).fill('{"ID":1,"refreshTime":5}'));
    await page.context().close();
  });

  test('a destroyed component closes its connection and stays away', async () => {
    const page = await visit('/vue.html', (one) => one.clock.install());
    for (const title of ['JSON', 'Captures']) {
      await connected(page, title);
      const socket = page.sockets.find((one) => one.url().includes(title === 'JSON' ? '/ws/vue/' : '/qrCodePage/'));
      const closed = socket.isClosed() ? null : socket.waitForEvent('close');
      await press(part(page, title), 'Destroy');
      await closed;
    }
    // Longer than any wait before the next try.
    await page.clock.fastForward(60000);
    assert.equal(page.sockets.length, 2);
    await press(part(page, 'JSON'), 'Create');
    await connected(page, 'JSON');
    assert.equal(page.sockets.length, 3);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

  /** Nothing is wider than the page, and axe finds no fault. */
  async function assertSound(page, what) {
    assert.deepEqual(await page.evaluate(() => {
      const wide = document.documentElement.clientWidth;
      return [document.documentElement, ...document.querySelectorAll('body *')]
        .filter((one) => one.scrollWidth > Math.max(one.clientWidth, 1) + 1 && getComputedStyle(one).display !== 'inline'
          || one.getBoundingClientRect().right > wide + 1)
        .map((one) => `${one.tagName}#${one.id}.${one.className}`);
    }), [], what);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document,
      { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join('; ')}`), [], what);
  }

  const views = [
    ['desktop-light', { width: 1200, height: 720 }, 'light'],
    ['desktop-dark', { width: 1200, height: 720 }, 'dark'],
    ['phone-light', { width: 390, height: 780 }, 'light'],
    ['phone-dark', { width: 320, height: 640 }, 'dark'],
  ];
  for (const [name, viewport, colorScheme] of views) {
    test(`${name}: fits and is readable, connected, full of long lines and lost`, async () => {
      let near;
      const page = await visit('/vue.html', (one) => one.routeWebSocket('**/ws/vue/', (socket) => {
        near = socket;
        socket.connectToServer();
      }), { viewport, colorScheme });
      fs.mkdirSync(logs, { recursive: true });
      await lines(page, 'JSON').first().waitFor();
      await lines(page, 'Captures').first().waitFor();
      const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 128);
      assert.equal(dark, colorScheme === 'dark');
      await assertSound(page, 'connected');
      for (const text of ['short', 'w'.repeat(600), 'word '.repeat(60), '<img src=x onerror=alert(1)>', '漢字'.repeat(100)]) {
        await part(page, 'JSON').getByLabel('Message', { exact: true }).fill(text);
        await press(part(page, 'JSON'), 'Send');
      }
      await lines(page, 'JSON').nth(5).waitFor();
      await assertSound(page, 'full');
      await page.screenshot({ path: path.join(logs, `vue-${name}.png`), fullPage: true });
      // It stays lost: the next try, a quarter of a second later or more, never comes.
      await page.evaluate(() => {
        const after = window.setTimeout;
        window.setTimeout = (act, ms = 0, ...rest) => (ms < 250 ? after(act, ms, ...rest) : 0);
      });
      await near.close({ code: 1013, reason: 'enough' });
      await part(page, 'JSON').getByText('Connection lost').waitFor();
      await press(part(page, 'Captures'), 'Destroy');
      await assertSound(page, 'lost');
      await page.screenshot({ path: path.join(logs, `vue-${name}-lost.png`), fullPage: true });
      assert.deepEqual(page.faults, []);
      await page.context().close();
    });
  }

  test('the newest line is in view, unless somebody has scrolled up', async () => {
    const page = await visit('/vue.html');
    const log = part(page, 'JSON').getByRole('log');
    const below = () => log.evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight);
    const say = async (text) => {
      await part(page, 'JSON').getByLabel('Message', { exact: true }).fill(text);
      await press(part(page, 'JSON'), 'Send');
      await lines(page, 'JSON').filter({ hasText: `"${text}"` }).waitFor();
    };
    await lines(page, 'JSON').first().waitFor();
    for (let i = 0; i < 20; i++) await say(`line ${i}`);
    assert.ok(await below() < 2, `${await below()} pixels below`);
    await log.evaluate((one) => { one.scrollTop = 0; });
    await say('the last one');
    assert.ok(await below() > 100, `${await below()} pixels below`);
    await page.context().close();
  });

  test('says that Vue is not served, with the shipped configuration', async () => {
    const site = await serveTheSite();
    for (const [name, viewport, colorScheme] of views) {
      const page = await newPage(browser, { viewport, colorScheme });
      await page.goto(site.url('/vue.html', 'https'));
      const alert = page.getByRole('alert').filter({ hasText: 'Vue is not served at /lib/vue/' });
      await alert.waitFor();
      assert.match(await alert.textContent(), /conf\/examples\/vue\.yaml/);
      await assertSound(page, name);
      // The missing script, and nothing else.
      assert.ok(page.faults.length > 0);
      for (const fault of page.faults) assert.match(fault, /404|vue\.runtime\.min\.js/);
      if (name === 'phone-dark') await page.screenshot({ path: path.join(logs, 'vue-not-served.png') });
      await page.context().close();
    }
  });
});
