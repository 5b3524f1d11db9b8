// The shipped site as people see it: Chromium over https and wss.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { slowness } from './support/server.mjs';
import { connected, enter, here, launchBrowser, newPage, openPage, said, say, serveTheSite, texts, waitForHere }
  from './support/site.mjs';

let server;
let browser;

before(async () => {
  server = await serveTheSite();
  browser = await launchBrowser();
});
after(() => browser?.close());

async function visit(nick, room, { scheme = 'https', ...options } = {}) {
  return enter(await newPage(browser, options), server.url('/', scheme), nick, room);
}

/** Ends the pages; nothing may have gone wrong in them. */
async function part(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
}

describe('talking', () => {
  test('two people in a room hear each other in one order, a third in another room hears nothing', async () => {
    const [ann, bob, eve] = await Promise.all([visit('ann', 'kitchen'), visit('bob', 'kitchen'), visit('eve', 'cellar')]);
    await say(ann, 'dinner is ready');
    await said(bob, 'dinner is ready').waitFor();
    await say(bob, 'coming 🍲');
    await Promise.all([say(ann, 'bring water'), say(bob, 'wine as well?'), say(ann, 'no')]
      .map((sent) => sent.catch(() => {})));
    await said(ann, 'wine as well?').waitFor();
    await said(bob, 'no').waitFor();
    await say(eve, 'anybody?');
    assert.deepEqual(await texts(ann), await texts(bob));
    assert.equal(new Set(await texts(ann)).size, (await texts(ann)).length);
    assert.deepEqual(await texts(eve), ['anybody?']);
    assert.deepEqual(await here(eve), ['eve']);
    await part(ann, bob, eve);
  });

  test('http and https meet in one room', async () => {
    const [plain, secure] = await Promise.all([visit('paul', 'hall', { scheme: 'http' }), visit('sue', 'hall')]);
    await say(plain, 'over ws');
    await said(secure, 'over ws').waitFor();
    await say(secure, 'over wss');
    await said(plain, 'over wss').waitFor();
    await part(plain, secure);
  });

  test('messages of one author stand in one group with the name and the time, under the day', async () => {
    const [ann, bob] = await Promise.all([visit('ann', 'groups'), visit('bob', 'groups')]);
    await say(ann, 'one');
    await say(ann, 'two');
    await said(bob, 'two').waitFor();
    await say(bob, 'three');
    const groups = bob.locator('#log .group:not(.pending)');
    assert.equal(await groups.count(), 2);
    assert.deepEqual(await groups.nth(0).locator('.text').allTextContents(), ['one', 'two']);
    assert.equal(await groups.nth(0).locator('.by b').textContent(), 'ann');
    assert.match(await groups.nth(0).locator('.by time').textContent(), /^\d\d:\d\d$/);
    assert.match(await groups.nth(1).getAttribute('class'), /own/);
    assert.equal(await bob.locator('#log .day').count(), 1);
    assert.match(await bob.locator('#log .day').textContent(), /^\w+day.? \d+ \w+ \d{4}$/);
    await part(ann, bob);
  });

  test('Enter sends, Shift+Enter breaks the line, Enter within an input method does neither', async () => {
    const page = await visit('may', 'keys');
    const text = page.getByLabel('Message', { exact: true });
    await text.pressSequentially('first');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('second');
    assert.equal(await text.inputValue(), 'first\nsecond');
    await page.keyboard.press('Enter');
    await said(page, 'first').waitFor();
    assert.deepEqual(await texts(page), ['first\nsecond']);

    const browserSide = await page.context().newCDPSession(page);
    await browserSide.send('Input.imeSetComposition', { text: 'ni', selectionStart: 2, selectionEnd: 2 });
    await text.evaluate((area) => {
      for (const [isComposing, keyCode] of [[true, 13], [false, 229]]) {
        area.dispatchEvent(new KeyboardEvent('keydown',
          { key: 'Enter', isComposing, keyCode, bubbles: true, cancelable: true }));
      }
    });
    assert.equal(await page.locator('#log .said').count(), 1);
    await browserSide.send('Input.insertText', { text: '你好' });
    assert.equal(await text.inputValue(), '你好');
    await page.keyboard.press('Enter');
    await said(page, '你好').waitFor();
    await part(page);
  });

  test('who types is shown to the others until it is said', async () => {
    const [ann, bob] = await Promise.all([visit('ann', 'typing'), visit('bob', 'typing')]);
    await waitForHere(bob, 'ann', 'bob');
    await bob.getByLabel('Message', { exact: true }).pressSequentially('hm');
    await ann.getByText('bob is typing…').waitFor();
    assert.equal(await bob.locator('#typing').textContent(), '');
    await bob.keyboard.press('Enter');
    await said(ann, 'hm').waitFor();
    assert.equal(await ann.locator('#typing').textContent(), '');
    await part(ann, bob);
  });

  test('who types no more is forgotten', async () => {
    const [ann, bob] = await Promise.all([visit('ann', 'idle'), visit('bob', 'idle')]);
    await waitForHere(bob, 'ann', 'bob');
    await bob.getByLabel('Message', { exact: true }).pressSequentially('h');
    await ann.getByText('bob is typing…').waitFor();
    await ann.waitForFunction(() => document.getElementById('typing').textContent === '');
    await part(ann, bob);
  });

  test('a flood is slowed, told, and arrives whole and in order by itself', async () => {
    const strict = await serveTheSite({ chat: 'rate: 6' });
    const [ann, bob] = await Promise.all(['ann', 'bob'].map(async (nick) =>
      enter(await newPage(browser), strict.url('/', 'https'), nick, 'flood')));
    await waitForHere(bob, 'ann', 'bob');
    const all = Array.from({ length: 8 }, (_, number) => `number ${number}`);
    await ann.evaluate((texts) => {
      for (const text of texts) {
        document.getElementById('text').value = text;
        document.getElementById('say').requestSubmit();
      }
    }, all);
    await ann.getByText(/^Too fast: goes out in \d+ s$/).waitFor();
    await said(bob, 'number 7').waitFor();
    assert.deepEqual(await texts(bob), all);
    assert.deepEqual(await texts(ann), all);
    assert.equal(await ann.locator('#log .pending').count(), 0);
    await part(ann, bob);
  });

  test('a text over the limit stays where it is, and the page says by how much', async () => {
    const page = await visit('lot', 'long');
    const text = page.getByLabel('Message', { exact: true });
    const alert = page.locator('#say ~ [role="alert"]');
    await text.fill('ä'.repeat(1900));
    await page.getByText('200 bytes left').waitFor();
    await text.fill('ä'.repeat(2005));
    await page.getByText('Too long by 10 bytes.').waitFor();
    assert.equal(await alert.textContent(), '', 'nothing is read out while one types');
    await text.press('Enter');
    await alert.getByText('Too long by 10 bytes.').waitFor();
    await page.getByText('Too long by 10 bytes.').waitFor();
    assert.equal(await page.locator('#log .said').count(), 0);
    await text.fill('ä'.repeat(2000));
    await text.press('Enter');
    await said(page, 'ä'.repeat(2000)).waitFor();
    assert.equal(await alert.textContent(), '');
    await part(page);
  });

  test('what comes out of sight is counted, in the log and in the title', async () => {
    const [ann, bob] = await Promise.all([visit('ann', 'unseen'), visit('bob', 'unseen', { viewport: { width: 600, height: 400 } })]);
    for (let count = 0; count < 12; count++) await say(ann, `line ${count}`);
    await said(bob, 'line 11').waitFor();
    await bob.locator('#log').hover();
    await bob.mouse.wheel(0, -4000);
    await bob.locator('#log.reading').waitFor();
    await say(ann, 'while you read');
    const newer = bob.getByRole('button', { name: '1 new message', exact: true });
    await newer.waitFor();
    await newer.click();
    await said(bob, 'while you read').waitFor();
    await newer.waitFor({ state: 'hidden' });

    const hide = (hidden) => bob.evaluate((now) => {
      Object.defineProperty(document, 'hidden', { value: now, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    await say(ann, 'while away');
    await say(ann, 'still away');
    await bob.waitForFunction(() => document.title === '(2) unseen · Sluice chat');
    await hide(false);
    assert.equal(await bob.title(), 'unseen · Sluice chat');
    await part(ann, bob);
  });
});

describe('who is here', () => {
  test('comings and goings are seen, and one person with two windows once', async () => {
    const ann = await visit('ann', 'porch');
    const bob = await visit('bob', 'porch');
    await waitForHere(ann, 'ann', 'bob');
    await ann.getByText('bob joined').waitFor();
    const second = await openPage(bob.context());
    await second.goto(server.url('/?room=porch', 'https'));
    await connected(second);
    await ann.getByText('2 windows').waitFor();
    assert.deepEqual((await here(ann)).sort(), ['ann', 'bob']);
    assert.equal(await ann.locator('#here').textContent(), '2 people here');
    await second.close();
    await ann.getByText('2 windows').waitFor({ state: 'hidden' });
    await waitForHere(ann, 'ann', 'bob');

    const before = performance.now();
    await bob.close();
    await waitForHere(ann, 'ann');
    const took = performance.now() - before;
    assert.ok(took < 1000 * slowness, `it took ${took} ms to see that bob had gone`);
    assert.equal(await ann.getByText('bob left').count() + await ann.getByText('bob joined').count(), 0,
      'who came and went leaves no line');
    await part(ann);
    await bob.context().close();
  });

  test('a name that somebody has is numbered at the entrance and refused afterwards', async () => {
    const ann = await visit('Ann', 'names');
    const other = await visit('ann', 'names');
    await other.getByText('ann is somebody else here; you are ann 2.').waitFor();
    await waitForHere(ann, 'Ann', 'ann 2');
    const name = other.locator('#called');
    assert.equal(await name.inputValue(), 'ann 2');
    await name.fill('ANN');
    await other.getByRole('button', { name: 'Change' }).click();
    await other.getByText('Somebody else has this name.').waitFor();
    await name.fill('Nina');
    await name.press('Enter');
    await ann.getByText('ann 2 is now Nina').waitFor();
    await waitForHere(ann, 'Ann', 'Nina');
    await say(other, 'it is me');
    await said(ann, 'it is me').waitFor();
    assert.equal(await ann.locator('#log .by b').last().textContent(), 'Nina');
    await part(ann, other);
  });

  test('a name that the server tidies up is asked for once', async () => {
    const page = await newPage(browser);
    const asked = [];
    page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => {
      if (payload.includes('"nick"')) asked.push(payload);
    }));
    await enter(page, server.url('/', 'https'), 'Jo\u3000Ann', 'blanks');
    await waitForHere(page, 'Jo Ann');
    for (const [name, tidy] of [['Jo\u3000 Bea', 'Jo  Bea'], ['Jo\u202eCleo', 'JoCleo'], ['Jo\u00a0Dan', 'Jo Dan']]) {
      await page.locator('#called').fill(name);
      await page.getByRole('button', { name: 'Change' }).click();
      await waitForHere(page, tidy);
    }
    await say(page, 'done');
    assert.ok(asked.length <= 4, `${asked}`);
    assert.deepEqual(await page.locator('#log .note').allTextContents(), ['Welcome to this room.',
      'Jo Ann is now Jo  Bea', 'Jo  Bea is now JoCleo', 'JoCleo is now Jo Dan']);
    await page.getByRole('button', { name: 'Leave' }).click();
    assert.equal(await page.locator('#nick').inputValue(), 'Jo Dan');
    await part(page);
  });

  test('a browser that keeps nothing is one person all the same', async () => {
    const page = await newPage(browser);
    await page.addInitScript(() => {
      Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });
    });
    const secrets = new Set();
    page.on('websocket', (socket) => secrets.add(new URL(socket.url()).searchParams.get('person')));
    await enter(page, server.url('/', 'https'), 'pim', 'private');
    await page.locator('#called').fill('pam');
    await page.getByRole('button', { name: 'Change' }).click();
    await waitForHere(page, 'pam');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.locator('aside').getByRole('button', { name: 'Reconnect' }).click();
    await connected(page);
    await waitForHere(page, 'pam');
    assert.equal(secrets.size, 1);
    await part(page);
  });

  test('a name written before the welcome is neither overwritten nor lost', async () => {
    const page = await newPage(browser);
    let welcome = null;
    const greeted = new Promise((resolve) => { welcome = resolve; });
    await page.routeWebSocket(/\/ws\/chat\//, (mine) => {
      const theirs = mine.connectToServer();
      theirs.onMessage(async (text) => {
        await greeted;
        mine.send(text);
      });
    });
    await enter(page, server.url('/', 'https'), 'Ada', 'early');
    const called = page.locator('#called');
    await called.fill('Ida');
    await page.getByRole('button', { name: 'Change' }).click();
    await called.fill('Ede');
    welcome();
    await waitForHere(page, 'Ida');
    assert.equal(await called.inputValue(), 'Ede');
    await called.press('Enter');
    await waitForHere(page, 'Ede');
    await part(page);
  });

  test('a new name goes to all windows of the person', async () => {
    const one = await visit('Lea', 'windows');
    const two = await openPage(one.context());
    await two.goto(server.url('/?room=windows', 'https'));
    await connected(two);
    await waitForHere(one, 'Lea');
    await one.locator('#called').fill('Lia');
    await one.getByRole('button', { name: 'Change' }).click();
    await waitForHere(one, 'Lia');
    await waitForHere(two, 'Lia');
    assert.equal(await two.locator('#called').inputValue(), 'Lia');
    await part(one);
  });
});

describe('rooms', () => {
  test('the address brings somebody to the room, and back and forward between rooms', async () => {
    const page = await visit('zoë', 'küche_2');
    assert.equal(new URL(page.url()).searchParams.get('room'), 'küche_2');
    assert.equal(await page.locator('#address').inputValue(), page.url());
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.getByLabel('Room', { exact: true }).fill('flur');
    await page.getByRole('button', { name: 'Enter' }).click();
    await connected(page);
    assert.equal(await page.locator('#where').textContent(), 'flur');
    await page.goBack();
    await page.goBack();
    await connected(page);
    assert.equal(await page.locator('#where').textContent(), 'küche_2');
    await page.reload();
    await connected(page);
    assert.equal(await page.locator('#where').textContent(), 'küche_2');
    await part(page);
  });

  test('whoever came by an address goes back to where the address was', async () => {
    const page = await newPage(browser);
    await page.goto(server.url('/errors/404.html', 'https'));
    await enter(page, server.url('/', 'https'), 'lin', 'linked');
    await page.goBack();
    await page.getByRole('heading', { name: 'Nothing here' }).waitFor();
    await part(page);
  });

  test('a room with a name that is too long is not tried', async () => {
    const page = await visit('ann', 'short');
    await page.goto(server.url(`/?room=${'x'.repeat(51)}`, 'https'));
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.getByRole('alert').getByText('up to 50 letters').waitFor();
    await part(page);
  });

  test('wrong names of people and rooms are told before anything is sent', async () => {
    const page = await newPage(browser);
    await page.goto(server.url('/?room=not%20a%20room', 'https'));
    const enterNow = page.getByRole('button', { name: 'Enter' });
    await enterNow.click();
    await page.getByRole('alert').getByText('Please give a name.').waitFor();
    await page.getByRole('textbox', { name: 'Your name' }).fill('x'.repeat(41));
    await enterNow.click();
    await page.getByRole('alert').getByText('A name has up to 40 characters.').waitFor();
    await page.getByRole('textbox', { name: 'Your name' }).fill('ann');
    await enterNow.click();
    await page.getByRole('alert').getByText('letters, digits').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'room');
    await part(page);
  });

  test('all of it works by keyboard alone, on a phone too', async () => {
    const page = await newPage(browser, { viewport: { width: 390, height: 780 } });
    await page.goto(server.url('/', 'https'));
    await page.keyboard.type('kay');
    await page.keyboard.press('Tab');
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.type('keyboard');
    await page.keyboard.press('Enter');
    await connected(page);
    await page.keyboard.type('typed');
    await page.keyboard.press('Enter');
    await said(page, 'typed').waitFor();
    const focus = () => page.evaluate(() => document.activeElement.id);
    const seen = [];
    for (let step = 0; step < 12 && !seen.includes('who'); step++) {
      await page.keyboard.press('Shift+Tab');
      seen.push(await focus());
    }
    assert.deepEqual(seen, ['log', 'who']);
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Leave' }).waitFor();
    assert.equal(await page.locator('#who').getAttribute('aria-expanded'), 'true');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Leave' }).waitFor({ state: 'hidden' });
    assert.equal(await focus(), 'who');
    await part(page);
  });
});
