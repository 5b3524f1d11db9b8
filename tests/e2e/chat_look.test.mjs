// How the site looks: themes, widths, languages, accessibility by axe-core, and what people with bad
// intentions write. SLUICE_PICTURES=docs/pictures also writes the README's pictures.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { Proxy } from './support/proxy.mjs';
import { logs, repository, within } from './support/server.mjs';
import { connected, enter, here, launchBrowser, newPage, said, say, serveTheSite, waitForHere } from './support/site.mjs';

const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = path.resolve(repository, process.env.SLUICE_PICTURES ?? path.join(logs, 'pictures'));

const VIEWS = [
  { name: 'desktop-light', viewport: { width: 1200, height: 720 }, colorScheme: 'light', locale: 'en-GB' },
  { name: 'desktop-dark', viewport: { width: 1200, height: 720 }, colorScheme: 'dark', locale: 'en-GB' },
  { name: 'desktop-light-zh', viewport: { width: 1200, height: 720 }, colorScheme: 'light', locale: 'zh-CN' },
  { name: 'phone-light', viewport: { width: 390, height: 780 }, colorScheme: 'light', locale: 'en-GB' },
  { name: 'phone-dark-zh', viewport: { width: 390, height: 780 }, colorScheme: 'dark', locale: 'zh-CN' },
];

let server;
let browser;

before(async () => {
  fs.mkdirSync(pictures, { recursive: true });
  server = await serveTheSite();
  browser = await launchBrowser();
});
after(() => browser?.close());

const picture = (page, name) => page.screenshot({ path: path.join(pictures, `${name}.png`) });

/** What axe finds, with where. A phone shows who is here in place of the room's main part. */
async function faultsOf(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document,
    { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return violations.filter(({ id }) => id !== 'landmark-one-main').map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ target }) => target).join('; ')}`);
}

/** Nothing sticks out of the page sideways. */
async function assertFits(page, what = '') {
  const over = await page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    return [...document.querySelectorAll('body *:not(.quiet, .said *)')]
      .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > wide + 1)
      .map((one) => `${one.tagName}#${one.id}.${one.className}`);
  });
  assert.deepEqual(over, [], what);
  const log = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.getElementById('log');
    return scrollWidth - clientWidth;
  });
  assert.ok(log <= 0, `the log is ${log} pixels too wide`);
}

/** Somebody who talks chat.v1 without a page. */
async function join(nick, room) {
  const url = server.wsUrl(`/ws/chat/${encodeURIComponent(room)}/?${new URLSearchParams({ nick })}`, 'wss');
  const client = await connect(url, ['chat.v1']);
  await client.until('welcome');
  return client;
}

async function tell(client, text) {
  client.send(JSON.stringify({ type: 'say', text, ref: 'own' }));
  await client.until('said', ({ ref }) => ref === 'own');
}

/** A room in which something is going on. */
async function fill(page, room) {
  const [ann, ben, yu] = [await join('Ann Becker', room), await join('Ben', room), await join('小雨', room)];
  await tell(ann, 'Has anybody watered the tomatoes today?');
  await tell(ann, 'It gets to 31° by noon: https://weather.example/today?place=garden&days=3.');
  await tell(ben, 'I did, at seven. The blue can leaks now, so half of it went over my shoes.\nI’ll bring tape tomorrow.');
  await tell(yu, '我带了新的种子 🌱');
  await said(page, '🌱').waitFor();
  await say(page, 'There is a spare can behind the shed, next to the compost. Take that one.');
  await say(page, 'And mind the wasps.');
  const jo = await join('Jo', room);
  await tell(jo, 'Wasps again? Oh no.');
  await said(page, 'Oh no').waitFor();
  yu.send(JSON.stringify({ type: 'typing' }));
  await page.locator('#typing:not(:empty)').waitFor();
  return [ann, ben, yu, jo];
}

describe('the site', () => {
  for (const [number, { name, ...view }] of VIEWS.entries()) {
    test(`${name}: entrance, empty, busy, who is here and disconnected, without a fault that axe finds`, async () => {
      const page = await newPage(browser, view);
      const look = async (what) => {
        await assertFits(page);
        assert.deepEqual(await faultsOf(page), [], what);
        await picture(page, what ? `${name}-${what}` : name);
      };
      const proxy = await Proxy.to(new URL(server.url('/', 'https')).port);
      const room = `garden${number || ''}`; // a room remembers what was said
      await page.goto(`https://127.0.0.1:${proxy.port}/?room=${room}`);
      await page.locator('#nick').fill('Mira');
      await look('entrance');
      await page.locator('#join button').click();
      await connected(page);
      await page.locator('#people li').waitFor({ state: 'attached' });
      await look('empty');
      const others = await fill(page, room);
      await waitForHere(page, 'Mira', 'Ann Becker', 'Ben', '小雨', 'Jo');
      await look('');
      const phone = view.viewport.width < 600;
      if (phone) {
        await page.locator('#who').click();
        await look('people');
        await page.locator('#who').click();
      }
      proxy.cut();
      await page.locator('#state[data-state="lost"]').waitFor();
      await page.locator('#text').fill('Is it me?');
      await page.locator('#text').press('Enter');
      await look('disconnected');
      assert.deepEqual(page.faults.filter((fault) => !/WebSocket connection/.test(fault)), []);
      for (const other of others) await other.close();
      await page.context().close();
      proxy.close();
    });
  }

  test('speaks the reader’s language, and English when there is no better one', async () => {
    for (const [locale, lang, word] of [['zh-CN', 'zh-CN', '进入'], ['zh-TW', 'zh-CN', '进入'], ['en-US', 'en', 'Enter'], ['fr-FR', 'en', 'Enter']]) {
      const page = await newPage(browser, { locale });
      await page.goto(server.url('/', 'https'));
      await page.getByRole('button', { name: word, exact: true }).waitFor();
      assert.equal(await page.locator('html').getAttribute('lang'), lang);
      await page.context().close();
    }
  });

  test('moves nothing for those who ask for that', async () => {
    const page = await newPage(browser, { reducedMotion: 'reduce' });
    await enter(page, server.url('/', 'https'), 'still', 'motion');
    await say(page, 'here');
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
    assert.equal(await page.locator('.said').evaluate((one) => getComputedStyle(one).animationName), 'none');
    await page.context().close();
  });

  test('has error pages of the same house, and their links work from anywhere', async () => {
    const page = await newPage(browser, { colorScheme: 'dark' });
    const response = await page.goto(server.url('/no/such/page', 'https'));
    assert.equal(response.status(), 404);
    await page.getByRole('heading', { name: 'Nothing here' }).waitFor();
    assert.equal(await page.locator('.mark').evaluate((mark) => mark.naturalWidth > 0), true);
    assert.deepEqual(await faultsOf(page), []);
    await page.screenshot({ path: path.join(logs, 'error-dark.png') });
    await page.getByRole('link').click();
    await page.getByRole('button', { name: 'Enter' }).waitFor();
    for (const file of fs.readdirSync(path.join(repository, 'www/errors'))) {
      await page.goto(server.url(`/errors/${file}`, 'https'));
      assert.deepEqual(await faultsOf(page), [], file);
    }
    await page.context().close();
  });
});

const ZALGO = `Z${'\u0301\u0317\u0488'.repeat(60)}algo`;

describe('hostile words', () => {
  const WORDS = {
    markup: '<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>',
    'a script address': 'javascript:alert(1) data:text/html,<script>alert(1)</script>',
    'a user in an address': 'https://bank.example@evil.example/ and https://good.example/a',
    'direction overrides': 'invoice\u202Egpj.exe \u2067rtl\u2069',
    'nothing to see': 'a\u200B\u200C\u200D\u2060b',
    'a long word': 'w'.repeat(3000),
    'a long address': `https://long.example/${'x'.repeat(2000)}`,
    'many lines': 'line\n'.repeat(400),
    'stacked marks': ZALGO.repeat(5),
    'template words': '{{constructor.constructor("alert(1)")()}} ${alert(1)} %s %n',
    'an Arabic sentence': 'مرحبا بالعالم (hello) 123',
    emoji: '👩‍👩‍👧‍👦'.repeat(60),
  };

  test('run nothing, break no layout and reach everybody', async () => {
    const [mal, ann] = await Promise.all([newPage(browser, { viewport: { width: 390, height: 780 } }), newPage(browser)]);
    for (const page of [mal, ann]) {
      page.dialogs = 0;
      page.on('dialog', (dialog) => { page.dialogs += 1; dialog.dismiss(); });
    }
    await enter(mal, server.url('/', 'https'), `<i>${ZALGO.slice(0, 36)}`, 'hostile');
    await enter(ann, server.url('/', 'https'), 'ann', 'hostile');
    let count = 0;
    for (const [what, text] of Object.entries(WORDS)) {
      await mal.getByLabel('Message', { exact: true }).fill(text);
      await mal.keyboard.press('Enter');
      count += 1;
      for (const page of [mal, ann]) {
        await page.waitForFunction((all) => document.querySelectorAll('#log .group:not(.pending) .said').length === all, count);
        await assertFits(page, what);
        const inside = await page.locator('#log .text *:not(a), #log .text a:not([href^="http"])').count();
        assert.equal(inside, 0, what);
      }
    }
    assert.deepEqual(await ann.locator('#log .text a').evaluateAll((all) => all.map(({ href, rel, target }) => [href, rel, target])),
      [['https://good.example/a', 'noopener noreferrer nofollow ugc', '_blank'],
        [`https://long.example/${'x'.repeat(2000)}`, 'noopener noreferrer nofollow ugc', '_blank']]);
    assert.equal((await ann.locator('#log .text').allTextContents()).join('').includes('\u202E'), false);
    await mal.screenshot({ path: path.join(logs, 'hostile.png') });
    for (const page of [mal, ann]) {
      assert.equal(page.dialogs, 0);
      assert.deepEqual(page.faults, []);
      await page.context().close();
    }
  });

  test('names of every kind fit where names stand', async () => {
    const room = 'names_of_all_kinds';
    const nicks = ['<script>alert(1)</script>', 'W'.repeat(40), ZALGO.slice(0, 40), '\u202Eevil', 'مرحبا', '👩‍👩‍👧‍👦 family'];
    const others = [];
    for (const nick of nicks) others.push(await join(nick, room));
    const page = await enter(await newPage(browser, { viewport: { width: 390, height: 780 } }), server.url('/', 'https'), 'ann', room);
    for (const other of others) await tell(other, 'hello');
    await page.waitForFunction((all) => document.querySelectorAll('#log .said').length === all, nicks.length);
    await assertFits(page);
    await page.locator('#who').click();
    await page.waitForFunction((all) => document.querySelectorAll('#people li').length === all, nicks.length + 1);
    await assertFits(page);
    await page.screenshot({ path: path.join(logs, 'hostile-names.png') });
    const heights = await page.locator('#people li').evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height));
    assert.ok(Math.max(...heights) < 60, `${heights}`);
    assert.equal((await here(page)).some((name) => name.includes('\u202E')), false);
    assert.deepEqual(page.faults, []);
    for (const other of others) await other.close();
    await page.context().close();
  });

  test('from a server that talks nonsense leave the page whole', async () => {
    const page = await newPage(browser);
    let say_;
    await page.routeWebSocket(/\/ws\/chat\//, (near) => {
      const far = near.connectToServer();
      far.onMessage((message) => near.send(message));
      say_ = (text) => near.send(text);
    });
    await enter(page, server.url('/', 'https'), 'ann', 'nonsense');
    const lines = ['', '{', 'null', '[]', '"text"', '{}', '{"type":null}', '{"type":"__proto__"}',
      '{"type":"toString"}', '{"type":"said"}', '{"type":"said","id":7,"from":{},"text":[1],"time":"never"}',
      '{"type":"who"}', '{"type":"who","people":{}}', '{"type":"joined"}', '{"type":"left","id":null,"nick":null}',
      '{"type":"nick"}', '{"type":"typing"}', '{"type":"error"}', '{"type":"welcome"}'];
    for (const line of lines) say_(line);
    await say(page, 'still here');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
});

test('a visitor without JavaScript is told', async () => {
  const page = await newPage(browser, { javaScriptEnabled: false });
  await page.goto(server.url('/', 'https'));
  await within(5, 'the sentence', page.locator('noscript p').waitFor());
  await page.context().close();
});
