// More connections than the process may have descriptors: those that are there are served, the log
// says it once, the processor rests, and others come in as soon as there is room.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from './support/client.mjs';
import { descriptors, processorSeconds } from './support/process.mjs';
import { slowness, start, within } from './support/server.mjs';

const CONNECTIONS = 600;

for (const threads of [1, 2]) {
  test(`at the limit of descriptors, ${threads} threads`, async () => {
    const server = await start(`
listen: {port: 0, host: 127.0.0.1}
plugin-dir: PLUGINS
num-threads: ${threads}
max-connections: 5000
hosts: {default: {routes: [{match: /echo, consumer: echo}]}}
`);
    const old = await connect(server.wsUrl('/echo'));
    const room = descriptors(server.worker) + 40;
    execFileSync('prlimit', ['--pid', String(server.worker), `--nofile=${room}:${room}`]);
    const flood = [];
    for (let i = 0; i < CONNECTIONS; i++) {
      const socket = net.connect({ host: '127.0.0.1', port: server.port });
      socket.on('error', () => {});
      flood.push(socket);
    }
    await within(20, 'the connections', Promise.all(flood.map((socket) => once(socket, 'connect'))));
    await server.logged(/error: .*new connections wait: Too many open files/);

    const before = processorSeconds(server.worker);
    const began = performance.now();
    for (let i = 0; i < 20; i++) {
      old.send(`${i}`);
      assert.equal(await old.next(), `${i}`);
      await pause(100);
    }
    const share = (processorSeconds(server.worker) - before) / ((performance.now() - began) / 1000);
    assert.ok(share < 0.15 * slowness, `waiting took ${(100 * share).toFixed(0)} % of a processor`);

    // Who waited is answered as soon as others go, and so is who comes then.
    const last = flood.pop();
    const answered = once(last, 'data');
    last.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    for (const socket of flood) socket.destroy();
    assert.match((await within(10, 'an answer to one who waited', answered)).toString(), /^HTTP\/1\.1 200 /);
    const next = await connect(server.wsUrl('/echo'));
    next.send('in');
    assert.equal(await next.next(), 'in');
    old.send('still here');
    assert.equal(await old.next(), 'still here');
    assert.equal(server.log.match(/new connections wait/g).length, 1, server.log);
    last.destroy();
    await next.close();
    await old.close();
    await server.stop();
  });
}
