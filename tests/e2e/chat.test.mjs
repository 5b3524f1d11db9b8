// The shipped site as people see it: Chromium, three pages, https and wss.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { logs, makeCertificate, repository, slowness, start, temporaryFolder } from './support/server.mjs';

let server;
let browser;

/** conf/sluice-tls.yaml itself, with a certificate of its own and ports that the kernel chooses. */
async function serveTheSite(ports = [0, 0]) {
  const folder = temporaryFolder();
  const tls = path.join(folder, 'tls');
  fs.mkdirSync(tls);
  makeCertificate(tls);
  fs.cpSync(path.join(repository, 'www'), path.join(folder, 'www'), { recursive: true });
  const conf = path.join(folder, 'conf');
  fs.mkdirSync(conf);
  const text = fs.readFileSync(path.join(repository, 'conf/sluice-tls.yaml'), 'utf8')
    .replace('port: 8080\n', `port: ${ports[0]}\n    host: 127.0.0.1\n`)
    .replace('port: 8443\n', `port: ${ports[1]}\n    host: 127.0.0.1\n`);
  return start(text, conf);
}

before(async () => {
  server = await serveTheSite();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser?.close());

/** A page of its own profile that has entered the room; its errors are kept in page.faults. */
async function visit(nick, room, scheme = 'https') {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(15000 * slowness);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  await page.goto(server.url(`/?room=${encodeURIComponent(room)}`, scheme));
  await page.getByLabel('Your name').fill(nick);
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByText('Connected', { exact: true }).waitFor();
  return page;
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

/** The line of the log that holds the text. */
const line = (page, text) => page.getByRole('log').getByRole('listitem').filter({ hasText: text });

describe('the chat site', () => {
  test('two people in a room over wss hear each other, a third in another room hears nothing', async () => {
    const [ann, bob, eve] = await Promise.all([
      visit('ann', 'kitchen'), visit('bob', 'kitchen'), visit('eve', 'cellar')]);
    await say(ann, 'dinner is ready');
    await line(bob, 'ann: dinner is ready').waitFor();
    await line(ann, 'ann: dinner is ready').waitFor();
    await say(bob, 'coming 🍲');
    await line(ann, 'bob: coming 🍲').waitFor();
    await say(eve, 'anybody?');
    await line(eve, 'eve: anybody?').waitFor();
    assert.equal(await line(eve, /ann|bob/).count(), 0);
    assert.equal(await line(ann, 'eve').count(), 0);

    fs.mkdirSync(logs, { recursive: true });
    await ann.screenshot({ path: path.join(logs, 'chat.png') });
    await bob.emulateMedia({ colorScheme: 'dark' });
    await bob.screenshot({ path: path.join(logs, 'chat-dark.png') });
    for (const page of [ann, bob, eve]) {
      assert.deepEqual(page.faults, []);
      await page.context().close();
    }
  });

  test('http and https meet in one room', async () => {
    const [plain, secure] = await Promise.all([visit('paul', 'hall', 'http'), visit('sue', 'hall')]);
    await say(plain, 'over ws');
    await line(secure, 'paul: over ws').waitFor();
    await say(secure, 'over wss');
    await line(plain, 'sue: over wss').waitFor();
    for (const page of [plain, secure]) await page.context().close();
  });

  test('markup is shown as text', async () => {
    const page = await visit('mal', 'markup');
    await say(page, '<img src=x onerror=alert(1)><b>bold</b>');
    await line(page, '<b>bold</b>').waitFor();
    assert.equal(await page.locator('#log img, #log b').count(), 0);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test('a room has a name of letters, digits and _, of any script', async () => {
    const page = await visit('zoë', 'küche_2');
    await say(page, 'grüß dich');
    await line(page, 'zoë: grüß dich').waitFor();
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.getByLabel('Room').fill('not a room');
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.getByRole('alert').getByText('letters, digits').waitFor();
    await page.context().close();
  });

  test('a page whose connection is lost says so and comes back', async () => {
    const page = await visit('rob', 'lost');
    const ports = ['http', 'https'].map((scheme) => new URL(server.url('/', scheme)).port);
    await server.stop();
    await page.getByText('Connection lost').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Send' }).isDisabled(), true);
    server = await serveTheSite(ports);
    await page.getByText('Connected', { exact: true }).waitFor();
    await say(page, 'here again');
    await line(page, 'rob: here again').waitFor();
    await page.context().close();
  });
});
