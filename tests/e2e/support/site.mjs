// The shipped site, its server and its visitors.
import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { makeCertificate, repository, slowness, start, temporaryFolder } from './server.mjs';

/**
 * Serves conf/sluice-tls.yaml itself, with a certificate of its own and ports that the kernel
 * chooses. The options replace words of the file: {route: "limits: …"} adds lines to the chat's
 * route, {chat: "rate: 1000"} options to its consumer, {top: "layer: …"} words of the whole server.
 */
export async function serveTheSite({ ports = [0, 0], route = '', chat = '', top = '' } = {}) {
  const folder = temporaryFolder();
  const tls = path.join(folder, 'tls');
  fs.mkdirSync(tls);
  makeCertificate(tls);
  fs.cpSync(path.join(repository, 'www'), path.join(folder, 'www'), { recursive: true });
  const conf = path.join(folder, 'conf');
  fs.mkdirSync(conf);
  const options = 'options: {greeting: "Welcome to this room."';
  const text = fs.readFileSync(path.join(repository, 'conf/sluice-tls.yaml'), 'utf8')
    .replace('port: 8080\n', `port: ${ports[0]}\n    host: 127.0.0.1\n`)
    .replace('port: 8443\n', `port: ${ports[1]}\n    host: 127.0.0.1\n`)
    .replace(options, `${options}${chat && `, ${chat}`}`)
    .replace('origins: [same-host]', `origins: [same-host]\n        ${route}`);
  return start(`${text}${top}\n`, conf);
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

/** A page of a profile of its own; what goes wrong in it is kept in page.faults. */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB', ...options });
  return openPage(context);
}

/** A further window of the same profile. */
export async function openPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(15000 * slowness);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  return page;
}

/** Goes in by the entrance, as somebody who comes for the first time. */
export async function enter(page, url, nick, room) {
  await page.goto(`${url}?room=${encodeURIComponent(room)}`);
  await page.getByRole('textbox', { name: 'Your name' }).fill(nick);
  await page.getByRole('button', { name: 'Enter' }).click();
  await connected(page);
  return page;
}

export const connected = (page) => page.locator('#state[data-state="open"]').waitFor();

/** Waits until the page shows one's own message among the others'. */
export async function say(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#send').click();
  await said(page, text).waitFor();
}

/** The message of the log that holds the text, confirmed by the server. */
export const said = (page, text) => page.locator('#log .group:not(.pending) .said').filter({ hasText: text });

/** What has been said, in order, without authors and times. */
export const texts = (page) => page.locator('#log .group:not(.pending) .text').allTextContents();

/** The names of who is here. */
export const here = (page) => page.locator('#people b').allTextContents();

/** Waits until exactly these names are here. */
export async function waitForHere(page, ...names) {
  await page.waitForFunction((wanted) => {
    const all = [...document.querySelectorAll('#people b')].map((one) => one.textContent);
    return JSON.stringify(all.sort()) === wanted;
  }, JSON.stringify(names.sort()));
}
