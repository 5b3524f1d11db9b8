// Commands that a server hears by its control socket, which lies beside its configuration.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { run } from './server.mjs';
import { until } from './wait.mjs';

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

/** Seconds since the machine's start, and those of a process's: the kernel's ticks are hundredths. */
const uptime = () => Number(fs.readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
const bornAt = (pid) => Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[19]) / 100;

/** Waits until the worker has served for a second: a shorter life is one of five that end the
 * program. */
export async function servedForASecond(server) {
  const { worker } = await statusOf(server); // it serves
  const since = uptime();
  await until('a second of service', () => uptime() - Math.max(since, bornAt(worker)) > 1.1);
}
