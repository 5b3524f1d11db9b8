// Two people talk while the server is killed and their networks go away; what is kept is in a file.
// In the end both pages show the same, and nothing twice.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Proxy } from './support/proxy.mjs';
import { connected, enter, launchBrowser, newPage, said, say, serveTheSite, texts } from './support/site.mjs';
import { logs, temporaryFolder } from './support/server.mjs';

const ROOM = 'story';
const proxies = [];
let browser;
let file;
let server;

/** The server that begins anew has the same file and the same ports. */
async function serve(ports) {
  server = await serveTheSite({ ports, top: `layer: {sqlite: ${file}}` });
}

before(async () => {
  file = path.join(temporaryFolder(), 'history.db');
  await serve();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  for (const proxy of proxies) proxy.close();
});

async function visit(nick, options) {
  const proxy = await Proxy.to(new URL(server.url('/', 'https')).port);
  proxies.push(proxy);
  const page = await newPage(browser, options);
  // Its tries come soon.
  await page.addInitScript(() => { Math.random = () => 0.01; });
  await enter(page, `https://127.0.0.1:${proxy.port}/`, nick, ROOM);
  return { page, proxy };
}

async function write(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
}

async function picture(page, name) {
  fs.mkdirSync(logs, { recursive: true });
  await page.screenshot({ path: path.join(logs, `story-${name}.png`) });
}

const wereLost = (...pages) => Promise.all(pages.map((page) =>
  page.locator('#state:not([data-state="open"])').waitFor()));

test('a killed server, a lost network and a message written meanwhile leave both pages the same', async () => {
  const [ann, ben] = [await visit('Ann'), await visit('Ben', { viewport: { width: 390, height: 780 } })];
  await say(ann.page, 'one');
  await said(ben.page, 'one').waitFor();
  await say(ben.page, 'two');
  await said(ann.page, 'two').waitFor();

  // The worker dies while a message is written: the supervisor has another at once.
  const worker = server.worker;
  process.kill(worker, 'SIGKILL');
  await write(ann.page, 'three');
  await said(ann.page, 'three').waitFor();
  await said(ben.page, 'three').waitFor();

  // Ben's network goes; both go on writing.
  ben.proxy.cut();
  await wereLost(ben.page);
  await say(ann.page, 'four');
  await write(ben.page, 'five, from nowhere');
  await ben.page.getByText('Goes out when connected').waitFor();
  await say(ann.page, 'six');
  await picture(ben.page, 'offline');

  // All of the server dies, too, and is started anew.
  const ports = ['http', 'https'].map((scheme) => new URL(server.url('/', scheme)).port);
  const last = server.worker;
  server.kill();
  process.kill(last, 'SIGKILL');
  await server.ended();
  await wereLost(ann.page);
  await write(ann.page, 'seven, to nobody');
  await serve(ports);
  await connected(ann.page);
  await said(ann.page, 'seven, to nobody').waitFor();
  ben.proxy.mend();
  await connected(ben.page);
  await said(ann.page, 'five, from nowhere').waitFor();
  await said(ben.page, 'five, from nowhere').waitFor();

  const all = ['one', 'two', 'three', 'four', 'six', 'seven, to nobody', 'five, from nowhere'];
  assert.deepEqual(await texts(ann.page), all);
  assert.deepEqual(await texts(ben.page), all);
  for (const { page } of [ann, ben]) {
    assert.equal(await page.getByText(/not shown here|missing here/).count(), 0);
    assert.equal(await page.locator('#log .pending').count(), 0);
  }
  // What came while Ben was away is marked.
  assert.deepEqual(await ben.page.locator('#log .new + .group .text').allTextContents(), ['four', 'six', 'seven, to nobody']);
  await picture(ann.page, 'ann');
  await picture(ben.page, 'ben');

  // A reload of the page, and somebody new, see the same.
  await ann.page.reload();
  await connected(ann.page);
  await said(ann.page, 'five, from nowhere').waitFor();
  assert.deepEqual(await texts(ann.page), all);
  assert.deepEqual(await ann.page.locator('#log .group.own .text').allTextContents(),
    ['one', 'three', 'four', 'six', 'seven, to nobody']);
  const cleo = await visit('Cleo', { colorScheme: 'dark' });
  await said(cleo.page, 'five, from nowhere').waitFor();
  assert.deepEqual(await texts(cleo.page), all);
  await picture(cleo.page, 'cleo');
});
