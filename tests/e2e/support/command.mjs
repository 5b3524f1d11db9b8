// Commands that a server hears by its control socket, which lies beside its configuration.
import assert from 'node:assert/strict';
import path from 'node:path';
import { run } from './server.mjs';

export const controlOf = (server) => path.join(path.dirname(server.file), 'control');

/** `sluice WORDS` for a server whose configuration says `control: control`: {code, out, err}. */
export const ask = (server, ...words) => run(...words, '--control', controlOf(server));

/** The same for a command that must be carried out; returns what it says. */
export async function order(server, ...words) {
  const { code, out, err } = await ask(server, ...words);
  assert.equal(code, 0, `sluice ${words.join(' ')}: ${out}${err}\n${server.log}`);
  return out;
}

/** A reload that must be refused, with a reason that matches. */
export async function refused(server, reason) {
  const { code, out, err } = await ask(server, 'reload');
  assert.equal(code, 78, `${out}${err}`);
  assert.match(err, reason);
}

export const statusOf = async (server) => JSON.parse(await order(server, 'status', '--json'));
