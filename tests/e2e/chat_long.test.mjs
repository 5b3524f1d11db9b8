// A room in which much is said: how the page scrolls and what memory it takes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from './support/client.mjs';
import { enter, launchBrowser, newPage, serveTheSite } from './support/site.mjs';

const KEPT = 2000;
const TRIMMED = 200;

let server;
let browser;

before(async () => {
  server = await serveTheSite({ chat: 'rate: 100000' });
  browser = await launchBrowser();
});
after(() => browser?.close());

/** Says so many things, a hundred at once, and waits until the page shows the last. */
async function talk(client, page, from, to) {
  for (let number = from; number < to; number++) {
    client.send(JSON.stringify({ type: 'say', text: `Message ${number}: ${'word '.repeat(number % 40)}` }));
    if (number % 100 === 99) await client.until('said', ({ text }) => text.startsWith(`Message ${number}:`));
  }
  await page.waitForFunction((last) => {
    const all = document.querySelectorAll('#log .said');
    return all[all.length - 1]?.textContent.includes(`Message ${last}:`);
  }, to - 1, { timeout: 90000 });
}

/** What the browser counts for the page: bytes of heap, nodes, processor seconds of the main thread. */
async function count(inside) {
  const { metrics } = await inside.send('Performance.getMetrics');
  const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
  return { heap: value('JSHeapUsedSize'), nodes: value('Nodes'), worked: value('ThreadTime') };
}

/** The same when all that is not used any more has been collected. */
async function countUsed(inside) {
  await inside.send('HeapProfiler.collectGarbage');
  await inside.send('HeapProfiler.collectGarbage');
  return count(inside);
}

/** Scrolls from one end to the other in so many frames; how long each frame's own work took, in ms. */
function scroll(page, frames) {
  return page.evaluate(async (count) => {
    const log = document.getElementById('log');
    const frame = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
    const taken = [];
    for (let step = 0; step <= count; step++) {
      await frame();
      const before = performance.now();
      log.scrollTop = (log.scrollHeight - log.clientHeight) * (1 - step / count);
      log.getBoundingClientRect();
      // The message arrives when style, layout and paint of this frame are done.
      await new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = resolve;
        requestAnimationFrame(() => port2.postMessage(0));
      });
      taken.push(performance.now() - before);
    }
    return taken;
  }, frames);
}

test('2,000 messages scroll smoothly, and 6,000 take no more memory than 2,200', async (t) => {
  const page = await enter(await newPage(browser), server.url('/', 'https'), 'ann', 'long');
  const talker = await connect(server.wsUrl('/ws/chat/long/?nick=bob', 'wss'), ['chat.v1']);
  await talker.until('welcome');
  const inside = await page.context().newCDPSession(page);
  await inside.send('Performance.enable');

  await talk(talker, page, 0, KEPT);
  assert.equal(await page.locator('#log .said').count(), KEPT);
  assert.equal(await page.evaluate(() => {
    const log = document.getElementById('log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  }), true, 'the newest message is in sight');
  const { worked } = await count(inside);
  const taken = (await scroll(page, 120)).sort((one, other) => one - other);
  const median = taken[taken.length >> 1];
  // How long a frame takes depends on what else the machine does; what it costs does not.
  const cost = ((await count(inside)).worked - worked) / taken.length * 1000;
  t.diagnostic(`frames of a scroll through all: median ${median.toFixed(1)} ms, `
    + `95 % within ${taken[Math.floor(taken.length * 0.95)].toFixed(1)} ms, longest ${taken.at(-1).toFixed(1)} ms; `
    + `processor time a frame: ${cost.toFixed(1)} ms`);
  assert.ok(cost > 0 && cost < 33, `a frame takes ${cost} ms of processor time`);

  await page.locator('#newer, #log').first().waitFor();
  await page.evaluate(() => { const log = document.getElementById('log'); log.scrollTop = log.scrollHeight; });
  await talk(talker, page, KEPT, KEPT + TRIMMED);
  const first = await countUsed(inside);
  await talk(talker, page, KEPT + TRIMMED, 3 * KEPT);
  const last = await countUsed(inside);
  const kept = await page.locator('#log .said').count();
  t.diagnostic(`heap ${(first.heap / 1e6).toFixed(2)} MB with 2,200, ${(last.heap / 1e6).toFixed(2)} MB after 6,000; `
    + `nodes ${first.nodes} and ${last.nodes}`);
  assert.ok(kept >= KEPT && kept <= KEPT + TRIMMED, `${kept} messages are kept`);
  assert.ok(last.heap < first.heap * 1.1, `the heap grew from ${first.heap} to ${last.heap}`);
  assert.ok(last.nodes < first.nodes * 1.1, `the nodes grew from ${first.nodes} to ${last.nodes}`);
  assert.deepEqual(page.faults, []);
  await talker.close();
});

test('notes go too when there are too many', async () => {
  const page = await newPage(browser);
  let hear;
  await page.routeWebSocket(/\/ws\/chat\//, (near) => {
    near.connectToServer().onMessage((message) => near.send(message));
    hear = (message) => near.send(JSON.stringify(message));
  });
  await enter(page, server.url('/', 'https'), 'ann', 'notes');
  for (let number = 0; number < 2 * KEPT + 2 * TRIMMED; number++) {
    hear({ type: 'nick', id: 'x', from: `b${number}`, old: `b${number}`, new: `b${number + 1}` });
  }
  await page.getByText(`b${2 * KEPT + 2 * TRIMMED - 1} is now`).waitFor();
  const kept = await page.locator('#log .note').count();
  assert.ok(kept >= 2 * KEPT - TRIMMED && kept <= 2 * KEPT + TRIMMED, `${kept} notes are kept`);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('who reads further up stays there while others talk and the oldest go', async () => {
  const page = await enter(await newPage(browser), server.url('/', 'https'), 'ann', 'reading');
  const talker = await connect(server.wsUrl('/ws/chat/reading/?nick=bob', 'wss'), ['chat.v1']);
  await talker.until('welcome');
  await talk(talker, page, 0, KEPT);
  const place = () => page.evaluate(() => {
    const log = document.getElementById('log').getBoundingClientRect();
    const seen = [...document.querySelectorAll('#log .said')].find((one) => one.getBoundingClientRect().top >= log.top);
    return { text: seen.textContent.match(/Message \d+/)[0], top: Math.round(seen.getBoundingClientRect().top) };
  });
  await page.locator('#log').hover();
  await page.mouse.wheel(0, -3000);
  await page.locator('#log.reading').waitFor();
  await page.waitForFunction(() => {
    const { scrollTop } = document.getElementById('log');
    const still = window.lastTop === scrollTop;
    window.lastTop = scrollTop;
    return still;
  }, undefined, { polling: 200 });
  const before = await place();
  await talk(talker, page, KEPT, KEPT + 2 * TRIMMED);
  await page.getByRole('button', { name: '400 new messages' }).waitFor();
  const after_ = await place();
  assert.equal(after_.text, before.text);
  assert.ok(Math.abs(after_.top - before.top) <= 2, `moved from ${before.top} to ${after_.top}`);
  await talker.close();
});
