// What the kernel says of a process.
import fs from 'node:fs';

/** Descriptors that are open. */
export const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

/** Seconds of a processor that it has used, all its threads together; the kernel counts hundredths. */
export function processorSeconds(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
