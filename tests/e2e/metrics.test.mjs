// What the server counts, as Prometheus and the status page read it, while real clients act.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { connect, Client } from './support/client.mjs';
import { readExposition } from './support/exposition.mjs';
import { handshake, Raw } from './support/raw.mjs';
import { slowness, start, temporaryFolder, withRing, writeConfiguration } from './support/server.mjs';

const ECHO = String.raw`^/ws/echo/(?P<name>[^/"\\]+)/$`;
const ROOM = String.raw`/ws/room/(?P<group>\w+)/`;

const configuration = String.raw`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: [PLUGINS, TEST_PLUGINS]
max-connections: 50
hosts:
  default:
    routes:
      - {match: '${ECHO}', consumer: echo}
      - {match: '${ROOM}', consumer: relay, limits: {message: 1m, close: 60s}}
      - {match: '/figures(/json)?', metrics: ON}
    paths:
      /metrics: {metrics: ON}
      /off: {metrics: OFF}
      /status: {status: ON}
`;

/** One connection for all that is asked, so that asking changes nothing but the count of answers. */
class Reader {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  #server;

  constructor(server) { this.#server = server; }

  async ask(where = '/metrics', method = 'GET') {
    const request = http.request(this.#server.url(where), { agent: this.#agent, method }).end();
    const [response] = await once(request, 'response');
    let body = '';
    for await (const text of response.setEncoding('utf8')) body += text;
    return { status: response.statusCode, headers: response.headers, body };
  }

  async figures() { return readExposition((await this.ask()).body); }

  /** The figures once they are as wanted: {name: value} or [name, labels, value]. */
  async until(wanted, seconds = 10) {
    const end = Date.now() + seconds * slowness * 1000;
    for (;;) {
      const figure = await this.figures();
      const wrong = wanted.filter(([name, labels, value]) => (typeof value === 'function'
        ? !value(figure(name, labels)) : figure(name, labels) !== value));
      if (wrong.length === 0) return figure;
      assert.ok(Date.now() < end, wrong.map(([name, labels, value]) =>
        `${name} ${JSON.stringify(labels)} is ${figure(name, labels)}, not ${value}`).join('; '));
      await pause(20); // what is counted on another thread is only seen by asking again
    }
  }

  close() { this.#agent.destroy(); }
}

async function startReading(t, text = configuration) {
  const server = await start(text);
  const reader = new Reader(server);
  t.after(() => reader.close());
  return { server, reader };
}

describe('the strict reader', () => {
  const head = '# HELP a_total Help.\n# TYPE a_total counter\n';
  const bad = {
    'no end of the last line': `${head}a_total 1`,
    'no head': 'a_total 1\n',
    'no type': '# HELP a Help.\na 1\n',
    'the type of another': '# HELP a Help.\n# TYPE b gauge\na 1\n',
    'a counter without _total': '# HELP a Help.\n# TYPE a counter\na 1\n',
    'a gauge with _total': '# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n',
    'a series twice': `${head}a_total{x="1",y="2"} 1\na_total{y="2",x="1"} 1\n`,
    'a metric twice': `${head}a_total 1\n${head}a_total{x="1"} 1\n`,
    'a series of another metric': `${head}b_total 1\n`,
    'a label twice': `${head}a_total{x="1",x="2"} 1\n`,
    'a bare quote': `${head}a_total{x="1"2"} 1\n`,
    'an unknown escape': `${head}a_total{x="\\w"} 1\n`,
    'no comma': `${head}a_total{x="1"y="2"} 1\n`,
    'a negative value': `${head}a_total -1\n`,
    'no value': `${head}a_total\n`,
    'an empty line': `${head}\na_total 1\n`,
  };
  for (const [name, text] of Object.entries(bad)) {
    test(`refuses ${name}`, () => { assert.throws(() => readExposition(text), assert.AssertionError); });
  }

  test('reads escapes and finds a series by its labels in any order', () => {
    const figure = readExposition(`${head}a_total{x="\\\\\\"\\n",y="}"} 1.5\na_total 2\n`);
    assert.equal(figure('a_total', { y: '}', x: '\\"\n' }), 1.5);
    assert.equal(figure('a_total'), 2);
    assert.equal(figure('a_total', { y: '}' }), undefined);
  });
});

describe('metrics', () => {
  test('have their type, and none but GET and HEAD at their own paths', async (t) => {
    const { reader } = await startReading(t);
    const answer = await reader.ask();
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.ok(readExposition(answer.body).size > 50);
    const head = await reader.ask('/metrics', 'HEAD');
    assert.equal(head.status, 200);
    assert.ok(Number(head.headers['content-length']) > 1000);
    assert.equal(head.body, '');
    for (const wrong of ['/metrics/other', '/metrics/json/more', '/off', '/status/metrics'])
      assert.equal((await reader.ask(wrong)).status, 404, wrong);
    assert.equal((await reader.ask('/metrics', 'POST')).status, 404);
  });

  test('follow what clients do', async (t) => {
    const { server, reader } = await startReading(t);
    const route = { route: ECHO, consumer: 'echo' };
    const room = { route: ROOM, consumer: 'relay' };
    await reader.until([['sluice_connections', {}, 1], ['sluice_websockets', {}, 0],
      ['sluice_handshakes_total', { code: '101' }, 0], ['sluice_closes_total', { code: '1000' }, 0],
      ['sluice_route_websockets', route, 0], ['sluice_hook_calls_total', route, 0],
      ['sluice_threads', {}, 2], ['sluice_generation', {}, 1]]);

    const alone = await connect(server.wsUrl('/ws/echo/a/'));
    alone.send('hello');
    await alone.next();
    await reader.until([['sluice_connections', {}, 2], ['sluice_connections_accepted_total', {}, 2],
      ['sluice_websockets', {}, 1], ['sluice_handshakes_total', { code: '101' }, 1],
      ['sluice_messages_received_total', {}, 1], ['sluice_received_bytes_total', {}, 11],
      ['sluice_messages_sent_total', { by: 'consumer' }, 1], ['sluice_messages_sent_total', { by: 'group' }, 0],
      ['sluice_sent_bytes_total', {}, 7], ['sluice_route_websockets', route, 1],
      ['sluice_hook_calls_total', route, 1], ['sluice_hook_calls_total', room, 0]]);

    const members = await Promise.all(Array.from({ length: 3 }, () => connect(server.wsUrl('/ws/room/r/'))));
    members[0].send('to all');
    for (const member of members) assert.equal(await member.next(), 'to all');
    await reader.until([['sluice_messages_sent_total', { by: 'group' }, 3], ['sluice_group_messages_total', {}, 1],
      ['sluice_messages_sent_total', { by: 'consumer' }, 1], ['sluice_groups', {}, 1],
      ['sluice_group_memberships', {}, 3], ['sluice_sent_bytes_total', {}, 7 + 3 * 8],
      ['sluice_route_websockets', room, 3], ['sluice_hook_calls_total', room, 4],
      ['sluice_timers', {}, (count) => count >= 4]]);

    await alone.close(1000);
    await members[0].close(4001);
    members[1].socket.terminate();
    await reader.until([['sluice_closes_total', { code: '1000' }, 1], ['sluice_closes_total', { code: '4000-4999' }, 1],
      ['sluice_closes_total', { code: '1006' }, 1], ['sluice_websockets', {}, 1], ['sluice_connections', {}, 2],
      ['sluice_connections_accepted_total', {}, 5], ['sluice_group_memberships', {}, 1],
      ['sluice_route_websockets', route, 0], ['sluice_route_websockets', room, 1]]);
    await members[2].close();
    await reader.until([['sluice_groups', {}, 0], ['sluice_websockets', {}, 0]]);
  });

  test('tell refusals by their cause and status', async (t) => {
    const { server, reader } = await startReading(t);
    const before = await reader.figures();
    const asked = async (text) => {
      const client = new Raw(server.port);
      const { status } = await client.write(text).response();
      client.destroy();
      return status;
    };
    const plain = (target, method = 'GET', fields = 'Host: a\r\n') => asked(`${method} ${target} HTTP/1.1\r\n${fields}\r\n`);
    assert.equal(await asked(handshake('/ws/echo/a/', { Origin: 'http://evil.example' })), 403);
    assert.equal(await asked(handshake('/ws/echo/a/', { 'Sec-WebSocket-Version': '8' })), 426);
    assert.equal(await asked(handshake('/ws/echo/a/', { 'Sec-WebSocket-Key': 'short' })), 400);
    assert.equal(await plain('/ws/echo/a/'), 426);
    assert.equal(await plain('/a%00'), 400);
    assert.equal(await plain('/.git/config'), 404);
    assert.equal(await plain('/', 'TRACE'), 405);
    assert.equal(await plain('/', 'GET', 'Host: a\r\nHost: b\r\n'), 400);
    assert.equal(await plain('/nowhere'), 404);
    const cause = (name) => ['sluice_refused_total', { cause: name }];
    const figure = await reader.until([[...cause('origin'), 1], [...cause('handshake'), 2], [...cause('no-handshake'), 1],
      [...cause('path'), 1], [...cause('dot-file'), 1], [...cause('method'), 1], [...cause('head'), 1],
      [...cause('max-connections'), 0], [...cause('match-limit'), 0], [...cause('thread-full'), 0],
      ['sluice_handshakes_total', { code: '403' }, 1], ['sluice_handshakes_total', { code: '426' }, 1],
      ['sluice_handshakes_total', { code: '400' }, 1], ['sluice_handshakes_total', { code: '101' }, 0],
      ['sluice_http_responses_total', { code: '403' }, 1], ['sluice_http_responses_total', { code: '426' }, 2],
      ['sluice_http_responses_total', { code: '400' }, 3], ['sluice_http_responses_total', { code: '404' }, 2],
      ['sluice_http_responses_total', { code: '405' }, 1]]);
    const answers = ['sluice_http_responses_total', { code: '200' }];
    assert.ok(figure(...answers) > before(...answers));
  });

  test('tell connections over the limit', async (t) => {
    const { server, reader } = await startReading(t, configuration.replace('max-connections: 50', 'max-connections: 2'));
    await reader.figures(); // one of the two
    const client = await connect(server.wsUrl('/ws/echo/a/'));
    const refused = new Client(server.wsUrl('/ws/echo/b/'));
    const [, response] = await once(refused.socket, 'unexpected-response');
    assert.equal(response.statusCode, 503);
    response.destroy();
    await reader.until([['sluice_refused_total', { cause: 'max-connections' }, 1], ['sluice_connections', {}, 2],
      ['sluice_connections_accepted_total', {}, 2]]);
    await client.close();
  });

  test('tell what waits for a client that does not read, and what it missed', async (t) => {
    const { server, reader } = await startReading(t);
    const deaf = new Raw(server.port);
    deaf.write(handshake('/ws/room/r/'));
    assert.equal((await deaf.response()).status, 101);
    deaf.socket.pause();
    const loud = await connect(server.wsUrl('/ws/room/r/'));
    const figure = await reader.until([['sluice_group_memberships', {}, 2]]);
    assert.equal(figure('sluice_queued_bytes'), 0);
    const closed = () => reader.figures().then((now) => now('sluice_messages_dropped_total', { reason: 'closed' }));
    for (let sent = 0; await closed() === 0; sent++) {
      assert.ok(sent < 200, 'the kernel holds only so much');
      loud.send('x'.repeat(200000));
      await loud.next();
    }
    await reader.until([['sluice_queued_bytes', {}, (bytes) => bytes > 100000], ['sluice_group_missed_total', {}, (count) => count >= 1],
      ['sluice_messages_dropped_total', { reason: 'drop-oldest' }, 0], ['sluice_closes_total', { code: '1013' }, 0]]);
    deaf.destroy();
    await reader.until([['sluice_queued_bytes', {}, 0], ['sluice_websockets', {}, 1]]);
    await loud.close();
  });

  test('go on over reloads, and tell them and restarts', async (t) => {
    const folder = temporaryFolder();
    const server = await start(configuration, folder);
    const reader = new Reader(server);
    t.after(() => reader.close());
    const client = await connect(server.wsUrl('/ws/echo/a/'));
    const life = (accepted, refused, restarts, generation) => [
      ['sluice_reloads_total', { result: 'accepted' }, accepted], ['sluice_reloads_total', { result: 'refused' }, refused],
      ['sluice_restarts_total', {}, restarts], ['sluice_generation', {}, generation]];
    await reader.until(life(0, 0, 0, 1));
    writeConfiguration(withRing(configuration.replace('/off: {metrics: OFF}', '/new: {metrics: ON}')), folder);
    server.signal('SIGHUP');
    await reader.until([...life(1, 0, 0, 2), ['sluice_websockets', {}, 1], ['sluice_handshakes_total', { code: '101' }, 1]], 20);
    assert.equal((await reader.ask('/new')).status, 200);
    writeConfiguration('listen: nowhere\n', folder);
    server.signal('SIGHUP');
    await reader.until(life(1, 1, 0, 2), 20);
    client.send('still here');
    assert.equal(await client.next(), 'still here');
    await reader.until([['sluice_messages_received_total', {}, 1],
      ['sluice_hook_calls_total', { route: ECHO, consumer: 'echo' }, 1]]);
    await client.close();
  });

  test('a path of a route answers them too', async (t) => {
    const { reader } = await startReading(t);
    const text = await reader.ask('/figures');
    assert.equal(readExposition(text.body)('sluice_threads'), 2);
    assert.equal(JSON.parse((await reader.ask('/figures/json')).body).threads, 2);
  });
});

describe('as JSON', () => {
  test('the figures are those of Prometheus', async (t) => {
    const { server, reader } = await startReading(t);
    const client = await connect(server.wsUrl('/ws/echo/a/'));
    client.send('hello');
    await client.next();
    await client.close(3000);
    const figure = await reader.until([['sluice_closes_total', { code: '3000-3999' }, 1], ['sluice_connections', {}, 1]]);
    const answer = await reader.ask('/metrics/json');
    assert.equal(answer.headers['content-type'], 'application/json');
    const json = JSON.parse(answer.body);
    const same = (value, name, labels) => assert.equal(value, figure(`sluice_${name}`, labels), name);
    for (const name of ['connections', 'websockets', 'queued_bytes', 'groups', 'group_memberships', 'generation', 'threads'])
      same(json[name], name);
    for (const name of ['connections_accepted', 'messages_received', 'received_bytes', 'sent_bytes', 'restarts'])
      same(json[name], `${name}_total`);
    for (const [name, label] of [['refused', 'cause'], ['messages_sent', 'by'], ['messages_dropped', 'reason'],
      ['handshakes', 'code'], ['closes', 'code'], ['reloads', 'result']]) {
      assert.ok(Object.keys(json[name]).length > 0, name);
      for (const [value, count] of Object.entries(json[name])) same(count, `${name}_total`, { [label]: value });
    }
    const route = json.routes.find(({ consumer }) => consumer === 'echo');
    assert.equal(route.route, ECHO);
    for (const name of ['hook_calls', 'hook_seconds', 'hooks_over_budget'])
      same(route[name], `${name}_total`, { route: ECHO, consumer: 'echo' });
    assert.match(json.version, /^\d+\.\d+\.\d+/);
    assert.equal(figure('sluice_build_info', { version: json.version, libh2o: json.libh2o }), 1);
    assert.equal(figure('sluice_transport_info', { io: json.transport }), 1);
    assert.ok(json.now - json.started < 60 * slowness);
    assert.ok(json.resident_bytes > 1e6 && json.processor_seconds > 0);
  });

  test("H2O's status has them as a section", async (t) => {
    const { reader } = await startReading(t);
    const whole = JSON.parse((await reader.ask('/status/json')).body);
    assert.equal(whole.sluice.threads, 2);
    assert.equal(typeof whole['status-errors.404'], 'number');
    assert.deepEqual(Object.keys(JSON.parse((await reader.ask('/status/json?show=sluice')).body)), ['sluice']);
    assert.equal(JSON.parse((await reader.ask('/status/json?show=requests')).body).sluice, undefined);
  });
});
