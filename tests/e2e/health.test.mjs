// /healthz: 200 on every host and path, a route of one's own first.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from './support/server.mjs';

const configuration = (routes) => `
listen: {host: 127.0.0.1, port: 0}
num-threads: 1
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /ws/
        consumer: echo
${routes}
    paths:
      /: {status: ON}
`;

test('the server says that it is well', async () => {
  const server = await start(configuration(''));
  const response = await fetch(server.url('/healthz'));
  assert.equal(response.status, 200);
  assert.equal(await response.text(), 'ok\n');
  assert.equal(response.headers.get('cache-control'), 'no-store');
  const head = await fetch(server.url('/healthz'), { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), '3');
  assert.equal((await fetch(server.url('/healthz/'))).status, 404);
  assert.notEqual((await fetch(server.url('/healthz'), { method: 'POST' })).status, 200);
  await server.stop();
});

test('a route for the same path goes before it', async () => {
  const server = await start(configuration(`
      - match: /healthz
        redirect: {status: 302, url: /elsewhere}`));
  const response = await fetch(server.url('/healthz'), { redirect: 'manual' });
  assert.equal(response.status, 302);
  await server.stop();
});
