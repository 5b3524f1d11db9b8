// Ports of this machine that are taken, or not.
import { once } from 'node:events';
import net from 'node:net';

async function hold() {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  return { holder, port: holder.address().port };
}

/** One that another program listens on, until the test's end. */
export async function takenPort(t) {
  const { holder, port } = await hold();
  t.after(() => holder.close());
  return port;
}

/** One that nobody listens on. */
export async function freePort() {
  const { holder, port } = await hold();
  holder.close();
  await once(holder, 'close');
  return port;
}
