// Waiting for what nobody tells.
import { setTimeout as pause } from 'node:timers/promises';
import { slowness } from './server.mjs';

/** Looks again and again until look() returns something true, which is returned. */
export async function until(what, look, seconds = 10) {
  const end = Date.now() + seconds * slowness * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds * slowness} s`);
    await pause(10);
  }
}
