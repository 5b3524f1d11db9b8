// What memory a process takes.
import fs from 'node:fs';

const read = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(
  fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

/** Bytes that are in memory now. */
export const resident = (pid) => read(pid, 'VmRSS');

/** The most bytes that were in memory at once, since the last forgetPeak. The kernel keeps the
 * figure, so that nothing is missed between two looks. */
export const peak = (pid) => read(pid, 'VmHWM');

export const forgetPeak = (pid) => fs.writeFileSync(`/proc/${pid}/clear_refs`, '5');
