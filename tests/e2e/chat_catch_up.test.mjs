// The site catches up with what was said while it was away. The room is the test's own, so that it
// can lose, repeat and forget; chat_story has the same with the real one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { FakeRoom } from './support/fake_room.mjs';
import { logs } from './support/server.mjs';
import { connected, enter, launchBrowser, newPage, said, say, serveTheSite, texts } from './support/site.mjs';

const MISSING = 'Some of what was said meanwhile may be missing here.';

let server;
let browser;

before(async () => {
  server = await serveTheSite();
  browser = await launchBrowser();
});
after(() => browser?.close());

/** A page in a room of its own, with so many messages in it: {page, room}. */
async function visit({ kept = 0, keeps = true, ...options } = {}) {
  const page = await newPage(browser, options);
  // Its tries come soon.
  await page.addInitScript(() => { Math.random = () => 0.01; });
  const room = await FakeRoom.on(page);
  room.keeps = keeps;
  for (let one = 1; one <= kept; one += 1) room.said(`old ${one}`);
  await enter(page, server.url('/', 'https'), 'me', 'fake');
  if (kept) await said(page, `old ${kept}`).last().waitFor();
  return { page, room };
}

async function lose({ page, room }) {
  room.up = false;
  await room.drop();
  await page.locator('#state[data-state="lost"]').waitFor();
}

async function comeBack({ page, room }) {
  room.up = true;
  await connected(page);
}

/** Out of sight and back: no test can cover a window of a browser without a screen. */
function hide(page, hidden) {
  return page.evaluate((now) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => now });
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => (now ? 'hidden' : 'visible') });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
}

async function write(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
}

/** The lines of the log that are shown: what was said, "---" for the mark, "* …" for notes. */
const lines = (page) => page.locator('#log .messages').evaluate((all) =>
  [...all.querySelectorAll('.group:not(.pending) .text, .new, .note')].map((one) => (one.matches('.new') ? '---'
    : one.matches('.note') ? `* ${one.textContent}` : one.textContent)));

async function picture(page, name) {
  fs.mkdirSync(logs, { recursive: true });
  await page.screenshot({ path: path.join(logs, `catch-up-${name}.png`) });
}

describe('what was said while one was away', () => {
  test('is asked for from where one was, and shown once behind a mark', async () => {
    const it = await visit({ kept: 2 });
    assert.deepEqual(await lines(it.page), ['old 1', 'old 2'], 'no mark on a first visit');
    await lose(it);
    it.room.said('missed 1');
    it.room.said('missed 2');
    await comeBack(it);
    await said(it.page, 'missed 2').waitFor();
    // A server that says it twice is heard once.
    it.room.send(it.room.kept.at(-1));
    it.room.said('live');
    await said(it.page, 'live').waitFor();
    assert.deepEqual(await lines(it.page), ['old 1', 'old 2', '---', 'missed 1', 'missed 2', 'live']);
    assert.deepEqual(it.room.places, [null, '00000000000000e1:2']);

    // The mark goes along with whoever leaves again, and off when one speaks.
    await lose(it);
    it.room.said('missed 3');
    await comeBack(it);
    await said(it.page, 'missed 3').waitFor();
    assert.deepEqual((await lines(it.page)).slice(2), ['missed 1', 'missed 2', 'live', '---', 'missed 3']);
    await say(it.page, 'hello again');
    assert.equal((await lines(it.page)).includes('---'), false);
    assert.deepEqual(it.page.faults, []);
    await it.page.context().close();
  });

  test('with nothing said there is no mark and no word', async () => {
    const it = await visit({ kept: 1 });
    await lose(it);
    await comeBack(it);
    it.room.said('live');
    await said(it.page, 'live').waitFor();
    assert.deepEqual(await lines(it.page), ['old 1', 'live']);
    await it.page.context().close();
  });

  test('and came to a page out of sight is marked and counted until it is seen', async () => {
    const { page, room } = await visit({ kept: 1 });
    await hide(page, true);
    room.said('unseen 1');
    room.said('unseen 2');
    await page.waitForFunction(() => document.title.startsWith('(2) '));
    await hide(page, false);
    assert.equal(await page.title(), 'fake · Sluice chat');
    assert.deepEqual(await lines(page), ['old 1', '---', 'unseen 1', 'unseen 2']);
    room.said('in sight');
    await said(page, 'in sight').waitFor();
    // Whoever goes once more has read it.
    await hide(page, true);
    assert.deepEqual(await lines(page), ['old 1', 'unseen 1', 'unseen 2', 'in sight']);
    room.said('unseen 3');
    await said(page, 'unseen 3').waitFor();
    assert.deepEqual((await lines(page)).slice(-2), ['---', 'unseen 3']);
    await page.context().close();
  });

  test('and has gone from the server is told, before what is left of it', async () => {
    const it = await visit({ kept: 2, colorScheme: 'dark' });
    await lose(it);
    it.room.said('gone');
    it.room.said('left');
    it.room.kept = it.room.kept.slice(-1);
    await comeBack(it);
    await said(it.page, 'left').waitFor();
    assert.deepEqual(await lines(it.page), ['old 1', 'old 2', `* ${MISSING}`, '---', 'left']);
    await picture(it.page, 'missing-dark');
    await it.page.context().close();
  });

  test('is all new where the server has forgotten everything, also with the same numbers', async () => {
    const it = await visit({ kept: 2 });
    await lose(it);
    it.room.forget('00000000000000e2');
    it.room.said('anew');
    await comeBack(it);
    await said(it.page, 'anew').waitFor();
    assert.deepEqual(await lines(it.page), ['old 1', 'old 2', `* ${MISSING}`, '---', 'anew']);
    await lose(it);
    await comeBack(it);
    it.room.said('live');
    await said(it.page, 'live').waitFor();
    assert.equal(it.room.places.at(-1), '00000000000000e2:1');
    await it.page.context().close();
  });

  test('does not move what somebody reads further up, and whoever is at the end stays there', async () => {
    const it = await visit({ kept: 50, viewport: { width: 390, height: 780 } });
    const fromEnd = () => it.page.locator('#log').evaluate(({ scrollHeight, scrollTop, clientHeight }) =>
      Math.round(scrollHeight - scrollTop - clientHeight));
    await lose(it);
    for (let one = 1; one <= 30; one += 1) it.room.said(`missed ${one}`, { id: `${one % 2}`, from: `${one % 2}` });
    await comeBack(it);
    await said(it.page, 'missed 30').waitFor();
    await it.page.waitForFunction(() => {
      const { scrollHeight, scrollTop, clientHeight } = document.getElementById('log');
      return scrollHeight - scrollTop - clientHeight < 2;
    });
    await it.page.locator('#log').hover();
    await it.page.mouse.wheel(0, -900);
    await it.page.waitForFunction(() => document.getElementById('log').classList.contains('reading'));
    // In sight: the place of a line in the window is what must not change.
    const where = () => said(it.page, 'missed 12').evaluate((one) => Math.round(one.getBoundingClientRect().top));
    await said(it.page, 'missed 12').evaluate((one) => one.scrollIntoView({ block: 'center' }));
    const top = await where();
    await lose(it);
    for (let one = 31; one <= 60; one += 1) it.room.said(`missed ${one}`);
    await comeBack(it);
    await it.page.getByRole('button', { name: '30 new messages' }).waitFor();
    assert.ok(Math.abs(await where() - top) <= 1, `${await where()} and not ${top}`);
    await picture(it.page, 'reading');
    await it.page.locator('#newer').click();
    await it.page.waitForFunction(() => !document.getElementById('log').classList.contains('reading'));
    assert.ok(await fromEnd() < 48);
    await picture(it.page, 'phone');
    await it.page.context().close();
  });
});

describe('one’s own message', () => {
  test('that was under way goes again by itself, with its ref, and stands once', async () => {
    const it = await visit();
    it.room.fate = () => {
      it.room.up = false;
      return 'lost';
    };
    await write(it.page, 'mine');
    await it.page.locator('#state[data-state="lost"]').waitFor();
    await it.page.locator('.pending').getByText('Sending…').waitFor();
    it.room.fate = () => 'said';
    await comeBack(it);
    await said(it.page, 'mine').waitFor();
    const [first, second, ...more] = it.room.says;
    assert.deepEqual([second.ref, more], [first.ref, []]);
    assert.equal(await it.page.locator('#log .pending').count(), 0);
    assert.deepEqual(await texts(it.page), ['mine']);
    await it.page.context().close();
  });

  test('that had come through is not sent again when it comes with what was missed', async () => {
    const it = await visit();
    it.room.fate = (ref) => {
      it.room.keepQuietly('mine', ref);
      return 'lost';
    };
    await write(it.page, 'mine');
    await said(it.page, 'mine').waitFor();
    it.room.said('live');
    await said(it.page, 'live').waitFor();
    assert.equal(it.room.says.length, 1);
    assert.deepEqual(await texts(it.page), ['mine', 'live']);
    await it.page.context().close();
  });

  test('that the server has had since long is shown nevertheless', async () => {
    const it = await visit();
    it.room.fate = (ref) => ({ type: 'kept', ref, at: 1 });
    await write(it.page, 'mine');
    await said(it.page, 'mine').waitFor();
    assert.equal(await it.page.locator('#log .pending').count(), 0);
    await it.page.context().close();
  });

  test('that could not be kept can be sent again, with the same ref', async () => {
    const it = await visit();
    it.room.fate = (ref) => ({ type: 'error', code: 'not-kept', field: '', message: 'no', ref });
    await write(it.page, 'mine');
    await it.page.getByText('Not sent: The server could not keep it. Please try again.').first().waitFor();
    await picture(it.page, 'not-kept');
    it.room.fate = () => 'said';
    await it.page.getByRole('button', { name: 'Send again' }).click();
    await said(it.page, 'mine').waitFor();
    assert.equal(it.room.says[0].ref, it.room.says[1].ref);
    await it.page.context().close();
  });

  test('that a server may have forgotten is left to whoever wrote it', async () => {
    const it = await visit({ kept: 1 });
    it.room.fate = () => {
      it.room.forget('00000000000000e2');
      return 'lost';
    };
    await write(it.page, 'mine');
    await it.page.getByText('Perhaps not sent').waitFor();
    assert.equal(it.room.says.length, 1);
    assert.deepEqual(await lines(it.page), ['old 1', `* ${MISSING}`]);
    await it.page.context().close();
  });
});

describe('a room that is left', () => {
  test('takes along what was not sent', async () => {
    const it = await visit({ kept: 1 });
    await lose(it);
    await write(it.page, 'never mind');
    await it.page.getByText('Goes out when connected').waitFor();
    await it.page.getByRole('button', { name: 'Leave' }).click();
    it.room.up = true;
    await it.page.getByRole('button', { name: 'Enter' }).click();
    await connected(it.page);
    await said(it.page, 'old 1').waitFor();
    assert.equal(await it.page.locator('#log .pending').count(), 0);
    await say(it.page, 'hello');
    assert.deepEqual(it.room.says.map(({ text }) => text), ['hello']);
    await it.page.context().close();
  });
});

describe('a page that is loaded anew', () => {
  test('has its messages from the server alone, and marks where one left off', async () => {
    const { page, room } = await visit({ kept: 3 });
    await page.goto('about:blank');
    room.kept[0].text = 'old, in other words';
    room.said('missed');
    await page.goBack();
    await said(page, 'missed').waitFor();
    assert.deepEqual(await lines(page), ['old, in other words', 'old 2', 'old 3', '---', 'missed']);
    await page.context().close();
  });

  test('marks what was said since in a room that was empty', async () => {
    const { page, room } = await visit();
    await page.waitForFunction(() => localStorage.getItem('seen fake'));
    await page.goto('about:blank');
    room.said('missed');
    await page.goBack();
    await said(page, 'missed').waitFor();
    assert.deepEqual(await lines(page), ['---', 'missed']);
    await page.context().close();
  });

  test('and loses its connection before the welcome begins once more', async () => {
    const { page, room } = await visit({ kept: 2 });
    room.welcomes = false;
    const came = room.places.length;
    await page.reload();
    await connected(page);
    assert.equal(room.places.length, came + 1);
    room.welcomes = true;
    await room.drop();
    await said(page, 'old 2').waitFor();
    assert.deepEqual(await lines(page), ['old 1', 'old 2']);
    await page.context().close();
  });

  test('says it where more was missed than comes', async () => {
    const { page, room } = await visit({ kept: 3 });
    await page.goto('about:blank');
    for (let one = 1; one <= 51; one += 1) room.said(`missed ${one}`);
    await page.goBack();
    await said(page, 'missed 51').waitFor();
    assert.deepEqual((await lines(page)).slice(0, 3), [`* ${MISSING}`, '---', 'missed 2']);
    await page.context().close();
  });

  test('still sends what was written before, with its ref', async () => {
    const it = await visit({ kept: 1 });
    it.room.fate = () => {
      it.room.up = false;
      return 'lost';
    };
    await write(it.page, 'under way');
    await write(it.page, 'later');
    await it.page.getByText('Goes out when connected').waitFor();
    await it.page.reload();
    await it.page.getByText('Goes out when connected').waitFor();
    it.room.fate = () => 'said';
    await comeBack(it);
    await said(it.page, 'later').waitFor();
    assert.deepEqual(await lines(it.page), ['old 1', 'under way', 'later']);
    assert.equal(it.room.says[0].ref, it.room.says[1].ref);
    await it.page.reload();
    await said(it.page, 'later').waitFor();
    assert.equal(it.room.says.length, 3, 'what is confirmed is not kept here');
    await it.page.context().close();
  });
});

describe('a server that does not remember', () => {
  test('leaves a gap that is told, and what was under way to whoever wrote it', async () => {
    const it = await visit({ keeps: false });
    it.room.said('before');
    await said(it.page, 'before').waitFor();
    it.room.fate = () => 'lost';
    await write(it.page, 'mine');
    await it.page.getByText('Perhaps not sent').waitFor();
    await it.page.getByText(/^What was said between \d\d:\d\d and \d\d:\d\d is not shown here\.$/).waitFor();
    it.room.fate = () => 'said';
    await it.page.getByRole('button', { name: 'Send again' }).click();
    await said(it.page, 'mine').waitFor();
    assert.notEqual(it.room.says[0].ref, it.room.says[1].ref);
    assert.deepEqual(it.room.places, [null, null]);
    await it.page.context().close();
  });

  test('any more is found out', async () => {
    const it = await visit({ kept: 1 });
    await lose(it);
    it.room.keeps = false;
    await comeBack(it);
    await it.page.getByText(/^What was said between .* is not shown here\.$/).waitFor();
    await it.page.context().close();
  });
});
