// How the program starts, is asked, and ends.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { takenPort } from './support/ports.mjs';
import { handshake, Raw } from './support/raw.mjs';
import {
  confinement, launch, run, serving, slowness, start, temporaryFolder, testPlugins, wayOf, withRing, writeConfiguration,
} from './support/server.mjs';

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
drain-timeout: 1s
hosts:
  default:
    routes:
      - match: /ws/chat/(?P<group>\\w+)/
        consumer: relay
      - match: /echo/
        consumer: echo
`;

/** A server whose consumer asks in a pool thread before it accepts, and a client that it asks about
 * for so many milliseconds. */
async function startAsking(drain, wait) {
  const text = configuration.replace('1s', drain).replace('num-threads: 2', 'num-threads: 1')
    .replace('consumer: echo', `consumer: ${path.join(testPlugins, 'async_auth.so')}`);
  const server = await launch(writeConfiguration(withRing(text))).ready();
  const client = new Raw(server.port);
  await once(client.socket, 'connect');
  client.write(handshake(`/echo/?token=letmein&wait=${wait}`));
  // the one thread has read the handshake before it answers a later one
  const later = await connect(server.wsUrl('/ws/chat/a/'));
  await later.close();
  return { server, client };
}

describe('the end', () => {
  test('without connections SIGTERM ends at once', async () => {
    const server = await start(configuration.replace('1s', '60s'));
    await server.stop();
  });

  test('clients are told 1001 and the program ends with 0', async () => {
    const server = await start(configuration);
    const clients = await Promise.all(Array.from({ length: 20 }, (_, index) =>
      connect(server.wsUrl(`/ws/chat/room${index % 3}/`))));
    const closes = clients.map((client) => client.closed());
    await server.stop();
    for (const { code } of await Promise.all(closes)) assert.equal(code, 1001);
  });

  test('a client that answers nothing does not hold the program up', async () => {
    const server = await start(configuration);
    const silent = new Raw(server.port);
    silent.write(handshake('/echo/'));
    assert.equal((await silent.response()).status, 101);
    const began = Date.now();
    await server.stop();
    assert.ok(Date.now() - began < 8000 * slowness, 'the drain timeout is 1 s');
    silent.destroy();
  });

  test('an idle connection that never asked does not hold the program up', async () => {
    const server = await start(configuration);
    const idle = new Raw(server.port);
    await once(idle.socket, 'connect');
    await server.stop();
    idle.destroy();
  });

  test('a handshake that is being decided is refused, and its work comes back before the end', async () => {
    const { server, client } = await startAsking('60s', 1000);
    await server.stop();
    assert.equal((await client.response()).status, 503);
    assert.match(server.log, /answered too late/);
    client.destroy();
  });

  test('work that does not end does not hold the program up', async () => {
    const { server, client } = await startAsking('500ms', 30000);
    const began = Date.now();
    server.signal('SIGTERM');
    assert.equal(await server.ended(), 1);
    assert.ok(Date.now() - began < 10000 * slowness);
    assert.match(server.log, /offloaded work did not end in time/);
    client.destroy();
  });

  test('a second SIGTERM ends the waiting', async () => {
    const server = await start(configuration.replace('1s', '60s'));
    const silent = new Raw(server.port);
    silent.write(handshake('/echo/'));
    assert.equal((await silent.response()).status, 101);
    server.signal('SIGTERM');
    await server.logged(/stopping within/);
    await server.stop();
    silent.destroy();
  });

  test('SIGINT ends as SIGTERM does', async () => {
    const server = await start(configuration);
    server.signal('SIGINT');
    assert.equal(await server.ended(), 0);
  });

  test('SIGHUP reloads, and a WebSocket lives on', async () => {
    const server = await start(configuration);
    const client = await connect(server.wsUrl('/echo/'));
    server.signal('SIGHUP');
    await server.logged(/info: reloaded: generation 2$/m);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    await client.close();
    await server.stop();
  });
});

/** What the log says of how WebSockets are read and written, and whether the program, which has
 * served one, has a ring. */
async function wayOfServing(server) {
  const client = await connect(server.wsUrl('/echo/'));
  client.send('read and written'); // the ring comes when the 101 has left
  await client.next();
  const folder = `/proc/${server.worker}/fd`;
  const rings = fs.readdirSync(folder).filter((fd) => {
    try {
      return fs.readlinkSync(path.join(folder, fd)) === 'anon_inode:[io_uring]';
    } catch {
      return false; // closed meanwhile
    }
  });
  await client.close();
  return { way: server.log.match(/info: (WebSockets: .*)/)[1], rings: rings.length };
}

describe('io_uring', () => {
  test('is not there with OFF', async () => {
    const server = await start(`${configuration}io-uring: OFF\n`);
    assert.deepEqual(await wayOfServing(server), { way: 'WebSockets: a system call each', rings: 0 });
  });

  test('is there with ON, or nothing starts; and with AUTO where the kernel allows it', async () => {
    const on = launch(writeConfiguration(`${configuration}io-uring: ON\n`));
    const allowed = await Promise.race([on.ready().then(() => true, () => false), on.ended(60).then(() => false)]);
    if (!allowed) {
      assert.equal(await on.ended(), 78);
      assert.match(on.log, /this machine refuses it/);
    }
    for (const server of [...allowed ? [on] : [], await start(`${configuration}io-uring: AUTO\n`)]) {
      const { way, rings } = await wayOfServing(server);
      assert.equal(rings > 0, allowed);
      assert.match(way, allowed ? /^WebSockets: io_uring$/ : /^WebSockets: a system call each, since /);
      await server.stop();
    }
  });

  test('a configuration without the word has that of this run of the tests', async (t) => {
    const word = process.env.SLUICE_IO_URING ?? 'AUTO';
    assert.equal(withRing('io-uring: ON\n', 'OFF'), 'io-uring: ON\n');
    assert.equal(withRing('# io-uring: ON', 'OFF'), '# io-uring: ON\nio-uring: OFF\n');
    const server = await start(configuration);
    const { way, rings } = await wayOfServing(server);
    assert.match(server.log, wayOf(`io-uring: ${word}\n`));
    assert.equal(rings > 0, way === 'WebSockets: io_uring');
    t.diagnostic(`by ${word}, ${way}`);
  });
});

describe('the sandbox', () => {
  test('holds every thread, and the log says so', async () => {
    const server = await start(configuration);
    assert.match(server.log, /info: sandbox: on$/m);
    for (const pid of serving(server.pid)) {
      assert.deepEqual([...new Set(confinement(pid))], ['Seccomp: 2, NoNewPrivs: 1']);
    }
  });

  test('is not there with OFF, and the log warns', async () => {
    const server = await start(`${configuration}sandbox: OFF\n`);
    assert.match(server.log, /warning: sandbox: off, as the configuration says$/m);
    for (const pid of serving(server.pid)) {
      for (const thread of confinement(pid)) assert.ok(confinement(process.pid).includes(thread), thread);
    }
  });

  test('ends the making of rings with a filter of its own once they are there', async () => {
    const filters = (pid) => Number(
      fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^Seccomp_filters:\s*(\d+)$/m)[1]);
    for (const io of ['AUTO', 'OFF']) {
      const server = await start(`${configuration}io-uring: ${io}\n`);
      await wayOfServing(server);
      for (const pid of serving(server.pid)) assert.equal(filters(pid) - filters(process.pid), 2);
    }
  });
});

describe('the start', () => {
  test('a port in use is a plain sentence', async (t) => {
    const port = await takenPort(t);
    const server = launch(writeConfiguration(configuration.replace('port: 0', `port: ${port}`)));
    assert.equal(await server.ended(), 1);
    assert.match(server.log, new RegExp(`${port}.*in use|in use.*${port}`));
    assert.doesNotMatch(server.log, /info: ready/);
  });

  test("a start that fails leaves another server's pid file alone", async () => {
    const folder = temporaryFolder();
    const text = `pid-file: run.pid\n${configuration}`;
    const server = await start(text, folder);
    const second = launch(writeConfiguration(text.replace('port: 0', `port: ${server.port}`), folder));
    assert.equal(await second.ended(), 1);
    assert.equal(Number(fs.readFileSync(path.join(folder, 'run.pid'), 'utf8')), server.pid);
    await server.stop();
  });

  test('the pid file holds the process id while it runs', async () => {
    const folder = temporaryFolder();
    const server = await start(`pid-file: run.pid\n${configuration}`, folder);
    assert.equal(Number(fs.readFileSync(path.join(folder, 'run.pid'), 'utf8')), server.pid);
    await server.stop();
    assert.equal(fs.existsSync(path.join(folder, 'run.pid')), false);
  });

  test('a wrong file does not start and exits with 78', async () => {
    const server = launch(writeConfiguration(configuration.replace('consumer: echo', 'consumer: eco')));
    assert.equal(await server.ended(), 78);
  });
});

describe('the command line', () => {
  test('-t passes a right file', async () => {
    const { code, out, err } = await run('-t', '-c', writeConfiguration(configuration));
    assert.equal(code, 0, out + err);
  });

  test('-t opens no socket', async (t) => {
    const port = await takenPort(t);
    const { code } = await run('-t', '-c', writeConfiguration(configuration.replace('port: 0', `port: ${port}`)));
    assert.equal(code, 0);
  });

  test('-t tells all faults with their places and exits with 78', async () => {
    const file = writeConfiguration(configuration
      .replace('consumer: echo', 'consumer: eco')
      .replace('num-threads: 2', 'num-threads: two')
      .replace('(?P<group>', '(?P<group'));
    const { code, err } = await run('-t', '-c', file);
    assert.equal(code, 78);
    for (const [line, word] of [[3, 'two'], [9, 'match|pattern'], [12, 'eco']]) {
      assert.match(err, new RegExp(`sluice\\.yaml:${line}(:\\d+)?: error: .*(${word})`), err);
    }
  });

  test('-t tells a file that is not there', async () => {
    const { code, err } = await run('-t', '-c', '/nowhere/sluice.yaml');
    assert.equal(code, 78);
    assert.match(err, /\/nowhere\/sluice\.yaml/);
  });

  test('--routes lists the patterns in their order', async () => {
    const { code, out } = await run('--routes', '-c', writeConfiguration(configuration));
    assert.equal(code, 0);
    const chat = out.indexOf('/ws/chat/(?P<group>\\w+)/');
    assert.ok(chat >= 0, out);
    assert.ok(out.indexOf('/echo/') > chat, out);
    assert.match(out, /relay/);
  });

  test('--route shows where a path goes, with its captures', async () => {
    const file = writeConfiguration(configuration);
    const { code, out } = await run('--route', '/ws/chat/kitchen/', '-c', file);
    assert.equal(code, 0);
    assert.match(out, /relay/);
    assert.match(out, /group.*kitchen/);
  });

  test('--route says when no route takes the path', async () => {
    const { code, out, err } = await run('--route', '/nothing/', '-c', writeConfiguration(configuration));
    assert.match(out + err, /no route/i);
    assert.notEqual(code, 78);
  });

  test('--version prints the version', async () => {
    const { code, out } = await run('--version');
    assert.equal(code, 0);
    assert.match(out, /^sluice \d+\.\d+\.\d+/i);
  });

  test('an argument that it does not know is told, with the usage', async () => {
    const { code, err } = await run('--colour');
    assert.notEqual(code, 0);
    assert.match(err, /--colour/);
  });
});
