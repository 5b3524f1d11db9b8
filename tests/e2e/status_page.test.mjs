// The live status page, as conf/examples/status.yaml serves it, in a real browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { load } from './support/page.mjs';
import { logs, repository, start, temporaryFolder } from './support/server.mjs';
import { launchBrowser, newPage } from './support/site.mjs';

const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = path.resolve(repository, process.env.SLUICE_PICTURES ?? path.join(logs, 'pictures'));

/** Ports that were free just now: a host's key has to name one. */
async function freePorts(count) {
  const holders = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(holders.map((holder) => once(holder, 'listening')));
  const ports = holders.map((holder) => holder.address().port);
  await Promise.all(holders.map((holder) => once(holder.close(), 'close')));
  return ports;
}

async function serve() {
  const [open, own] = await freePorts(2);
  const folder = temporaryFolder();
  fs.cpSync(path.join(repository, 'www'), path.join(folder, 'www'), { recursive: true });
  fs.mkdirSync(path.join(folder, 'conf/examples'), { recursive: true });
  const text = fs.readFileSync(path.join(repository, 'conf/examples/status.yaml'), 'utf8')
    .replace('port: 8080', `{port: ${open}, host: 127.0.0.1}`).replaceAll('9180', String(own));
  const server = await start(`${text}hook-budget: 30ms\n`, path.join(folder, 'conf/examples'));
  return { server, page: `http://localhost:${own}/`, own, chat: `ws://127.0.0.1:${open}/ws/chat/tea/` };
}

let served;
let browser;

before(async () => {
  fs.mkdirSync(pictures, { recursive: true });
  served = await serve();
  browser = await launchBrowser();
});
after(() => browser?.close());

const state = (page, name) => page.locator(`#state[data-state="${name}"]`).waitFor();

/** The value of now under a plot's heading, once the text fits. */
const value = (page, name, pattern) => page.locator('#plots section').filter({ has: page.getByRole('heading', { name }) })
  .locator('.value').filter({ hasText: pattern }).waitFor();

/** A server of figures that a test makes up, with the page beside them. */
async function madeUp(t) {
  const made = { figures: {}, status: 200, asked: 0 };
  const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
  const server = http.createServer((request, response) => {
    if (request.url === '/metrics/json') {
      made.asked++;
      response.writeHead(made.status, { 'content-type': 'application/json' }).end(JSON.stringify(made.figures));
      return;
    }
    const file = path.join(repository, 'www', new URL(request.url, 'http://a').pathname);
    response.writeHead(200, { 'content-type': types[file.split('.').at(-1)] ?? 'text/plain' }).end(fs.readFileSync(file));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  made.url = `http://127.0.0.1:${server.address().port}/status.html`;
  made.close = () => { server.closeAllConnections(); server.close(); };
  t.after(made.close);
  made.figures = await (await fetch(`${served.page}metrics/json`)).json();
  return made;
}

describe('the status page', () => {
  test('shows what clients do, in words, figures and plots, without a fault', async () => {
    const page = await newPage(browser);
    await page.goto(served.page);
    await state(page, 'well');
    assert.match(await page.locator('#state').textContent(), /^All is well\. The server has been up for /);
    assert.match(await page.locator('#what').textContent(), /^Sluice \d+\.\d+\.\d+ on libh2o 2\.2\.5, \d+ threads?, (io_uring|a system call each)$/);
    const clients = [await connect(served.chat), await connect(served.chat), await connect(served.chat)];
    await value(page, 'WebSockets', /^3$/);
    clients[0].send('hello');
    await value(page, 'Messages a second', /^0?\.?[1-9]\d* in/);
    await page.locator('#routes tr').filter({ hasText: 'group_chat' }).filter({ hasText: String.raw`(?P<group>\w+)` }).waitFor();
    await clients.pop().close(4000);
    await page.locator('#closes div').filter({ hasText: 'codes of consumers' }).waitFor();
    await value(page, 'WebSockets', /^2$/);
    assert.match(await page.getByRole('img', { name: /^WebSockets: now 2; over 5 minutes at most 3$/ }).locator('.line').getAttribute('d'), /^M[\d.]+ [\d.]+L/);
    for (const client of clients) await client.close();
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test('is at its own port alone, whatever a client says', async () => {
    const refused = await new Promise((resolve, reject) => {
      const headers = { Host: `localhost:${served.own}` };
      http.get(served.chat.replace('ws:', 'http:').replace(/\/ws.*/, '/metrics'), { headers }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      }).on('error', reject);
    });
    assert.equal(refused, 404);
    assert.equal((await fetch(`${served.page}metrics`)).status, 200);
  });

  test('says since when there is no answer, keeps what was, and comes back', async (t) => {
    const made = await madeUp(t);
    const page = await newPage(browser);
    made.figures.websockets = 17;
    await page.goto(made.url);
    await value(page, 'WebSockets', /^17$/);
    const figures = made.figures;
    made.figures = undefined; // what is no JSON
    await state(page, 'silent');
    assert.match(await page.locator('#state').textContent(), /^The server does not answer since \d/);
    assert.match(await page.getByRole('img', { name: /^WebSockets/ }).getAttribute('aria-label'), /now –; over 5 minutes at most 17$/);
    made.status = 404;
    await page.locator('#state').filter({ hasText: /no figures at this address \(404\)/ }).waitFor();
    Object.assign(made, { status: 200, figures: { ...figures, websockets: 18 } });
    await state(page, 'well');
    await value(page, 'WebSockets', /^18$/);
    // The line has a gap where nothing was known: it begins anew.
    assert.equal((await page.locator('#plots .line').first().getAttribute('d')).match(/M/g).length, 2);
    await page.context().close();
  });

  test('says it when the server was never there', async (t) => {
    const made = await madeUp(t);
    const page = await newPage(browser);
    await page.goto(made.url);
    await state(page, 'well');
    await page.route('**/metrics/json', (route) => route.abort());
    await page.reload();
    await state(page, 'silent');
    assert.equal(await page.locator('#state').textContent(), 'The server does not answer. This page keeps asking.');
    await page.context().close();
  });

  test('tells what to look at, and forgets it with a restart of the server', async (t) => {
    const made = await madeUp(t);
    const page = await newPage(browser);
    await page.goto(made.url);
    await state(page, 'well');
    const more = structuredClone(made.figures);
    more.now += 2;
    more.routes.push({ route: '/slow/', consumer: 'sleepy', route_websockets: 0, hook_calls: 0, hook_seconds: 0, hooks_over_budget: 0 });
    more.routes.at(-1).hooks_over_budget = 4;
    more.messages_dropped.closed = 1;
    more.refused['max-connections'] = 3;
    made.figures = more;
    await state(page, 'look');
    assert.deepEqual(await page.locator('#notices li').allTextContents(), [
      'sleepy held a thread for too long 4 times (/slow/).',
      '1 message did not fit the queues of clients that read too slowly.',
      '3 connections refused: max-connections is reached.',
    ]);
    made.figures = { ...more, started: more.started + 5, now: more.now + 2, restarts: 1, refused: { ...more.refused, 'max-connections': 1 } };
    await page.locator('#notices li').filter({ hasText: 'The worker was started again 1 time.' }).waitFor();
    assert.equal(await page.locator('#notices li').filter({ hasText: '3 connections refused' }).count(), 1, 'still within the minutes');
    await page.context().close();
  });

  test('stands still when asked to, by keyboard', async (t) => {
    const made = await madeUp(t);
    const page = await newPage(browser);
    await page.goto(made.url);
    await state(page, 'well');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'pause');
    await page.keyboard.press('Enter');
    await state(page, 'paused');
    made.figures.websockets = 99;
    await page.keyboard.press('Enter'); // goes on at once
    assert.equal(await page.locator('#pause').textContent(), 'Pause');
    await value(page, 'WebSockets', /^99$/);
    await page.context().close();
  });

  for (const { name, ...options } of [
    { name: 'status-light', viewport: { width: 1200, height: 900 }, colorScheme: 'light' },
    { name: 'status-dark-zh', viewport: { width: 1200, height: 900 }, colorScheme: 'dark', locale: 'zh-CN' },
    { name: 'status-phone-light', viewport: { width: 390, height: 780 }, colorScheme: 'light' },
  ]) {
    test(`fits and is accessible: ${name}`, async (t) => {
      const made = await madeUp(t);
      const page = await newPage(browser, options);
      await page.clock.install();
      made.figures.now = made.figures.started + 250000;
      await page.goto(made.url);
      await page.locator('#routes tr').first().waitFor();
      for (let at = 1; at < 90; at++) {
        const asked = made.asked;
        const wave = Math.round(600 + 300 * Math.sin(at / 9) + 90 * Math.sin(at / 2.3));
        made.figures.now += 2;
        made.figures.websockets = wave;
        made.figures.messages_received += wave * 2;
        made.figures.messages_sent.group += wave * 9 + at * 40;
        made.figures.received_bytes += wave * 140;
        made.figures.sent_bytes += wave * 900 + at * 4000;
        made.figures.queued_bytes = at % 30 > 24 ? 40000 * (at % 30) : at * 30;
        made.figures.processor_seconds += 0.2 + (wave / 2000);
        made.figures.resident_bytes += 20000;
        made.figures.routes[0].hook_calls += wave * 2;
        made.figures.routes[0].hook_seconds += wave / 9000;
        made.figures.routes[0].route_websockets = wave;
        made.figures.closes['1001'] += 3;
        made.figures.refused.origin = 2;
        made.figures.messages_dropped.closed = at > 60 ? 2 : 0;
        await page.clock.runFor(2000);
        for (let wait = 0; made.asked === asked && wait < 500; wait++) await page.clock.runFor(20);
      }
      await page.locator('#notices li').first().waitFor();
      const over = await page.evaluate(() => [...document.querySelectorAll('body *:not(.quiet, .wide *)')]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map((one) => `${one.tagName}#${one.id}.${one.className}`));
      assert.deepEqual(over, []);
      assert.equal(await page.locator('html').getAttribute('lang'), options.locale ?? 'en');
      await page.evaluate(axe);
      await page.clock.resume();
      const { violations } = await page.evaluate(() => window.axe.run(document,
        { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join('; ')}`), []);
      await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
      assert.deepEqual(page.faults, []);
      await page.context().close();
    });
  }
});

describe('its parts', () => {
  test('the scale is the next of 1, 2 and 5', async () => {
    const { scale } = await load('plot.js');
    assert.deepEqual([0, 0.03, 0.5, 1, 1.1, 2, 2.1, 5, 9, 10, 1e9].map(scale), [1, 0.05, 0.5, 1, 2, 2, 5, 5, 10, 10, 1e9]);
  });

  test('a path ends at the right and breaks where nothing is known', async () => {
    const { path: draw } = await load('plot.js');
    assert.equal(draw([], 10, 4), '');
    assert.equal(draw([5], 10, 4), 'M300.0 40.0L300.0 40.0');
    assert.equal(draw([0, null, 10, 5], 10, 4), 'M0.0 80.0L0.0 80.0M200.0 0.0L200.0 0.0L300.0 40.0');
  });

  test('the languages say the same things', async () => {
    const [{ default: en }, { default: zh }] = await Promise.all([load('status-words/en.js'), load('status-words/zh-CN.js')]);
    const shape = (words) => Object.entries(words).map(([key, word]) => [key, typeof word, word.length,
      typeof word === 'object' && Object.keys(word)]);
    assert.deepEqual(shape(zh).filter(([key]) => typeof en[key] !== 'string'), shape(en).filter(([key]) => typeof en[key] !== 'string'));
    assert.deepEqual(Object.keys(zh), Object.keys(en));
  });
});
