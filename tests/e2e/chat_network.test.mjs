// The site when the network, the server or a window goes away.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { slowness } from './support/server.mjs';
import { Proxy } from './support/proxy.mjs';
import { connected, enter, launchBrowser, newPage, said, say, serveTheSite, texts, waitForHere } from './support/site.mjs';

// A silent client is asked after a second and counted as gone a second later; a browser that is slow
// to answer is not silent.
const PING = { route: `limits: {ping: ${slowness}s, pong: ${slowness}s}` };

let server;
let browser;
const proxies = [];

before(async () => {
  server = await serveTheSite(PING);
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  for (const proxy of proxies) proxy.close();
});

async function visit(nick, room, url = server.url('/', 'https')) {
  return enter(await newPage(browser), url, nick, room);
}

/** A visitor whose network may break: {page, proxy}. */
async function visitThrough(nick, room) {
  const proxy = await Proxy.to(new URL(server.url('/', 'https')).port);
  proxies.push(proxy);
  const page = await visit(nick, room, `https://127.0.0.1:${proxy.port}/`);
  return { page, proxy };
}

describe('a connection that breaks', () => {
  test('is told with the time of the next try; what is written meanwhile goes out afterwards', async () => {
    const { page, proxy } = await visitThrough('rob', 'broken');
    const ann = await visit('ann', 'broken');
    await say(page, 'before');
    await page.evaluate(() => { Math.random = () => 0.999; });
    proxy.cut();
    await page.locator('#state[data-state="lost"]').waitFor();
    assert.equal(await page.locator('#state').textContent(), 'Connection lost');
    await page.locator('#trouble').getByText(/Connection lost\. (Next try in \d+ s\.|Trying again…)/).waitFor();
    const text = page.getByLabel('Message', { exact: true });
    for (const one of ['first', 'second']) {
      await text.fill(one);
      await text.press('Enter');
    }
    assert.equal(await page.locator('#log .pending').count(), 2);
    await page.getByText('Goes out when connected').first().waitFor();
    await say(ann, 'meanwhile');
    proxy.mend();
    await connected(page);
    await said(page, 'second').waitFor();
    await said(ann, 'second').waitFor();
    const all = ['before', 'meanwhile', 'first', 'second'];
    assert.deepEqual(await texts(ann), all);
    assert.deepEqual(await texts(page), all);
    // Where the page left off is marked, and nothing is said to be missing.
    assert.deepEqual(await page.locator('#log .new + .group .text').allTextContents(), ['meanwhile']);
    assert.equal(await page.getByText(/not shown here|missing here/).count(), 0);
    await page.context().close();
    await ann.context().close();
  });

  test('is tried at once when the network is said to be back', async () => {
    const { page, proxy } = await visitThrough('ivy', 'online');
    await page.evaluate(() => {
      Math.random = () => 0.999;
      window.heard = [];
      const spoken = document.getElementById('spoken');
      new MutationObserver(() => window.heard.push(spoken.textContent)).observe(spoken, { childList: true });
    });
    proxy.cut();
    // After some tries the waits are long: a return within three seconds is none of theirs.
    await page.waitForFunction(() => Number(document.getElementById('trouble').textContent.match(/\d+/)?.[0] ?? 0) > 4);
    proxy.mend();
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await page.locator('#state[data-state="open"]').waitFor({ timeout: 3000 * slowness });
    assert.deepEqual(await page.evaluate(() => window.heard), ['Connection lost', 'Connected'], 'not each try is read out');
    await page.context().close();
  });

  test('that is silent is found out when the tab wakes, and a message under way arrives once', async () => {
    const { page, proxy } = await visitThrough('joy', 'silent');
    // Before the welcome nothing would go out at all.
    await waitForHere(page, 'joy');
    proxy.silence();
    const text = page.getByLabel('Message', { exact: true });
    await text.fill('is anybody there?');
    await text.press('Enter');
    await page.getByText('Sending…').waitFor();
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await page.locator('#state:not([data-state="open"])').waitFor();
    proxy.mend();
    await connected(page);
    await said(page, 'is anybody there?').waitFor();
    assert.equal(await page.locator('#log .pending').count(), 0);
    assert.deepEqual(await texts(page), ['is anybody there?']);
    await page.context().close();
  });

  test('waits as long as a server that restarts asks for', async () => {
    const page = await newPage(browser);
    const routes = [];
    await page.routeWebSocket(/\/ws\/chat\//, (route) => {
      routes.push(route);
      route.connectToServer();
    });
    await enter(page, server.url('/', 'https'), 'pat', 'restart');
    await page.evaluate(() => { Math.random = () => 0; });
    const before = performance.now();
    await routes[0].close({ code: 1012, reason: 'retry=3000' });
    await page.locator('#trouble').getByText(/^The server is restarting\. (Next try in [123] s\.|Trying again…)$/).waitFor();
    assert.equal(await page.locator('#state').textContent(), 'Connection lost');
    assert.equal(await page.locator('#spoken').textContent(), 'The server is restarting');
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await connected(page);
    assert.ok(performance.now() - before >= 2990);
    assert.equal(routes.length, 2);
    await page.context().close();
  });

  test('without an end leaves the room within the ping limit', async () => {
    const { page, proxy } = await visitThrough('far', 'limit');
    const ann = await visit('ann', 'limit');
    await waitForHere(ann, 'ann', 'far');
    const before = performance.now();
    proxy.silence();
    await waitForHere(ann, 'ann');
    const took = performance.now() - before;
    assert.ok(took < (1000 + 1000 + 1000) * slowness, `it took ${took} ms`);
    await page.context().close();
    await ann.context().close();
  });
});

describe('a window that is killed', () => {
  test('leaves the room within a second', async () => {
    const [ann, dead] = await Promise.all([visit('ann', 'killed'), visit('dead', 'killed')]);
    await waitForHere(ann, 'ann', 'dead');
    const before = performance.now();
    const crashed = new Promise((resolve) => { dead.once('crash', resolve); });
    dead.goto('chrome://crash').catch(() => {});
    await crashed;
    await waitForHere(ann, 'ann');
    const took = performance.now() - before;
    assert.ok(took < 1000 * slowness, `it took ${took} ms`);
    await ann.context().close();
    await dead.context().close();
  });
});

describe('a connection that is closed', () => {
  test('by its user stays so until Reconnect', async () => {
    const page = await visit('cal', 'closing');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.getByText('You closed the connection.', { exact: true }).first().waitFor();
    assert.equal(await page.locator('#state').textContent(), 'Closed');
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    assert.equal(await page.locator('#state').getAttribute('data-state'), 'closed');
    await page.locator('aside').getByRole('button', { name: 'Reconnect' }).click();
    await connected(page);
    await say(page, 'here again');
    await page.context().close();
  });

  test('leaves nobody without a place by keyboard, on a phone too', async () => {
    const page = await visit('key', 'focus');
    const focus = () => page.evaluate(() => document.activeElement.id);
    await page.locator('#close').press('Enter');
    assert.equal(await focus(), 'reconnect');
    await page.setViewportSize({ width: 390, height: 780 });
    await page.locator('#who').press('Enter');
    await page.locator('#reconnect').press('Enter');
    await connected(page);
    assert.equal(await focus(), 'text');
    await page.context().close();
  });

  test('takes no new name, and says why', async () => {
    const page = await visit('val', 'noname');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.locator('#called').fill('vera');
    await page.getByRole('button', { name: 'Change' }).click();
    await page.locator('#rename').getByRole('alert').getByText('Closed').waitFor();
    await page.context().close();
  });

  test('by the server is told with code and reason, and not tried again by itself', async () => {
    const page = await newPage(browser);
    let ask;
    await page.routeWebSocket(/\/ws\/chat\//, (near) => {
      const far = near.connectToServer();
      ask = () => far.send(JSON.stringify({ type: 'close' }));
    });
    await enter(page, server.url('/', 'https'), 'sam', 'ended');
    ask();
    await page.locator('#trouble').getByText('The server closed the connection: as you asked (1000).').waitFor();
    assert.equal(await page.locator('#state').textContent(), 'Closed');
    await page.locator('#strip').getByRole('button', { name: 'Reconnect' }).click();
    await connected(page);
    await page.context().close();
  });
});

describe('a server that refuses', () => {
  test('is heard by those who do not see it, and a name that it takes no more is told', async () => {
    const page = await newPage(browser);
    let refusal;
    await page.routeWebSocket(/\/ws\/chat\//, (near) => {
      const far = near.connectToServer();
      far.onMessage((message) => near.send(message));
      near.onMessage((message) => {
        const { ref } = JSON.parse(message);
        if (refusal) near.send(JSON.stringify({ type: 'error', field: '', message: '', ref, ...refusal }));
        else far.send(message);
      });
    });
    await enter(page, server.url('/', 'https'), 'ned', 'refused');
    await waitForHere(page, 'ned');
    refusal = { code: 'busy' };
    await page.locator('#text').fill('please');
    await page.locator('#text').press('Enter');
    await page.getByRole('status').getByText('Not sent: The server is busy. Please try again.').waitFor();
    refusal = { code: 'flood', retry_ms: 2500 };
    await page.locator('#called').fill('neil');
    await page.locator('#called').press('Enter');
    await page.locator('#rename').getByText('Too many messages. Please try again in 3 s.').waitFor();
    await page.context().close();
  });
});

describe('a server that restarts', () => {
  test('is found again by all pages, who then talk on', async () => {
    const [ann, bob] = await Promise.all([visit('ann', 'restart'), visit('bob', 'restart')]);
    await say(ann, 'before');
    await said(bob, 'before').waitFor();
    const ports = ['http', 'https'].map((scheme) => new URL(server.url('/', scheme)).port);
    await server.stop();
    await Promise.all([ann, bob].map((page) => page.locator('#state[data-state="lost"]').waitFor()));
    server = await serveTheSite({ ...PING, ports });
    await Promise.all([ann, bob].map(connected));
    await waitForHere(ann, 'ann', 'bob');
    await say(ann, 'after');
    await said(bob, 'after').waitFor();
    assert.deepEqual(await texts(bob), ['before', 'after']);
    // In memory alone nothing outlives the server, and the page does not hide that.
    assert.equal(await bob.getByText('Some of what was said meanwhile may be missing here.').count(), 1);
    await ann.context().close();
    await bob.context().close();
  });
});
