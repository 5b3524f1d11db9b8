// RFC 6455 as a client meets it: the handshake and its refusals, messages, control frames, ends.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { closeOf, closePayload, frame, handshake, Raw } from './support/raw.mjs';
import { start } from './support/server.mjs';

const configuration = `
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /echo/
        consumer: echo
      - match: /small/
        consumer: echo
        limits: {message: 1k}
      - match: /lively/
        consumer: echo
        limits: {ping: 1s, pong: 10s}
      - match: /dead/
        consumer: echo
        limits: {ping: 1s, pong: 1s}
      - match: /idle/
        consumer: echo
        limits: {idle: 1s}
      - match: /open/
        consumer: echo
        origins: ['*']
      - match: /named/
        consumer: echo
        origins: ['https://example.org']
      - match: /probe/(?P<group>\\w+)/
        consumer: TEST_PLUGINS/probe.so
        options: {subprotocol: v2.probe}
        limits: {message: 16k, queue: 32k}
`;

let server;
before(async () => { server = await start(configuration); });

/** A raw connection that has sent the text. */
function raw(text) {
  const client = new Raw(server.port);
  client.write(text);
  return client;
}

async function answer(text) {
  const client = raw(text);
  try {
    return await client.response();
  } finally {
    client.destroy();
  }
}

/** A raw connection whose handshake is done. */
async function opened(path = '/echo/') {
  const client = raw(handshake(path));
  const response = await client.response();
  assert.equal(response.status, 101);
  return client;
}

async function closedWith(client) {
  const found = closeOf(await client.frame());
  client.destroy();
  return found.code;
}

describe('handshake', () => {
  test('the accept key is the one of RFC 6455 section 1.3', async () => {
    const response = await answer(handshake('/echo/'));
    assert.equal(response.status, 101);
    assert.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    assert.equal(response.headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(response.headers.connection.toLowerCase(), 'upgrade');
    assert.equal(response.headers['sec-websocket-extensions'], undefined);
  });

  const refusals = [
    ['a missing key', '/echo/', { 'Sec-WebSocket-Key': undefined }, 400],
    ['a key that is too short', '/echo/', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, 400],
    ['a key that is no base64', '/echo/', { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }, 400],
    ['a missing version', '/echo/', { 'Sec-WebSocket-Version': undefined }, 426],
    ['an old version', '/echo/', { 'Sec-WebSocket-Version': '8' }, 426],
    ['a strange origin', '/echo/', { Origin: 'https://elsewhere.example' }, 403],
    ['the right host on another port', '/echo/', { Origin: 'http://localhost:1' }, 403],
    ['an origin that is not named', '/named/', { Origin: 'https://example.com' }, 403],
    ['the origin null', '/echo/', { Origin: 'null' }, 403],
    ['a second origin', '/echo/', { Origin: 'http://localhost', ORIGIN: 'https://elsewhere.example' }, 403],
    ['an unknown path', '/nowhere/', {}, 404],
    ['a path that matches only in part', '/echo/more', {}, 404],
  ];
  for (const [what, path, changes, status] of refusals) {
    test(`${what} is refused with ${status}`, async () => {
      const response = await answer(handshake(path, changes));
      assert.equal(response.status, status);
      if (status === 426) assert.equal(response.headers['sec-websocket-version'], '13');
    });
  }

  test('a plain GET is told to upgrade', async () => {
    const response = await answer('GET /echo/ HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.equal(response.status, 426);
    assert.equal(response.headers.upgrade.toLowerCase(), 'websocket');
  });

  test('a POST with the fields of a handshake is none', async () => {
    const response = await answer(handshake('/echo/', { 'Content-Length': '0' }, 'POST'));
    assert.notEqual(response.status, 101);
    assert.ok(response.status >= 400 && response.status < 500, `status ${response.status}`);
  });

  const welcome = [
    ['no origin', '/echo/', {}],
    ['the same host', '/echo/', { Host: 'example.org:8080', Origin: 'http://example.org:8080' }],
    ['any origin where all are', '/open/', { Origin: 'https://elsewhere.example' }],
    ['a named origin', '/named/', { Origin: 'https://example.org' }],
  ];
  for (const [what, path, changes] of welcome) {
    test(`${what} passes`, async () => {
      assert.equal((await answer(handshake(path, changes))).status, 101);
    });
  }

  test('the consumer chooses one of the offered subprotocols', async () => {
    const client = await connect(server.wsUrl('/probe/sub/'), ['v1.probe', 'v2.probe']);
    assert.equal(client.socket.protocol, 'v2.probe');
    assert.equal((await client.close()).code, 1000);
  });

  test('no subprotocol is chosen when none fits', async () => {
    const { status, headers } = await answer(handshake('/probe/sub/', { 'Sec-WebSocket-Protocol': 'v9' }));
    assert.equal(status, 101);
    assert.equal(headers['sec-websocket-protocol'], undefined);
  });

  test('the consumer refuses with its own status, header and body', async () => {
    const response = await answer(handshake('/probe/x/?deny=451'));
    assert.equal(response.status, 451);
    assert.equal(response.headers['x-reason'], 'asked for');
    assert.equal(response.body, 'not you');
  });

  test('a capture of the pattern reaches the consumer', async () => {
    const client = await connect(server.wsUrl('/probe/Ren%C3%A9/'));
    client.send('param group');
    assert.equal(await client.next(), 'René');
    await client.close();
  });

  test('frames sent in one packet with the handshake are answered', async () => {
    const client = new Raw(server.port);
    client.write(Buffer.concat([Buffer.from(handshake('/echo/')), frame('first'), frame('second')]));
    assert.equal((await client.response()).status, 101);
    assert.equal((await client.frame()).payload.toString(), 'first');
    assert.equal((await client.frame()).payload.toString(), 'second');
    client.destroy();
  });
});

describe('events', () => {
  test('are not joined for by a consumer without the hook', async () => {
    const client = await connect(server.wsUrl('/probe/events/'));
    client.send('join-events');
    assert.equal(await client.next(), 'result -4');
    await client.close();
  });
});

describe('messages', () => {
  test('text and binary come back as what they were', async () => {
    const client = await connect(server.wsUrl('/echo/'));
    client.send('Grüße, 世界 🌊');
    assert.equal(await client.next(), 'Grüße, 世界 🌊');
    const bytes = randomBytes(300);
    client.send(bytes);
    assert.deepEqual(await client.next(), bytes);
    client.send('');
    assert.equal(await client.next(), '');
    assert.equal((await client.close()).code, 1000);
  });

  for (const size of [125, 126, 65535, 65536]) {
    test(`${size} bytes come back whole`, async () => {
      const client = await connect(server.wsUrl('/echo/'));
      const bytes = randomBytes(size);
      client.send(bytes);
      assert.deepEqual(await client.next(), bytes);
      await client.close();
    });
  }

  test('a thousand messages come back in order', async () => {
    const client = await connect(server.wsUrl('/echo/'));
    const sent = Array.from({ length: 1000 }, (_, index) => `message ${index}`);
    for (const text of sent) client.send(text);
    assert.deepEqual(await client.take(1000), sent);
    await client.close();
  });

  test('a fragmented message is one, with a ping in between answered first', async () => {
    const client = await opened();
    client.write(frame('one ', { fin: false }));
    client.write(frame('tick', { opcode: 9 }));
    const pong = await client.frame();
    assert.equal(pong.opcode, 10);
    assert.equal(pong.payload.toString(), 'tick');
    client.write(frame('two ', { opcode: 0, fin: false }));
    client.write(frame('three', { opcode: 0 }));
    const whole = await client.frame();
    assert.equal(whole.opcode, 1);
    assert.equal(whole.fin, true);
    assert.equal(whole.payload.toString(), 'one two three');
    client.destroy();
  });

  test('a character may be split over fragments', async () => {
    const client = await opened();
    const euro = Buffer.from('€');
    client.write(frame(euro.subarray(0, 1), { fin: false }));
    client.write(frame(euro.subarray(1), { opcode: 0 }));
    assert.equal((await client.frame()).payload.toString(), '€');
    client.destroy();
  });

  test('a frame that comes byte by byte is understood', async () => {
    const client = await opened();
    client.socket.setNoDelay(true);
    for (const byte of frame('slowly')) {
      client.write(Buffer.from([byte]));
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    assert.equal((await client.frame()).payload.toString(), 'slowly');
    client.destroy();
  });
});

describe('violations', () => {
  const half = Buffer.from([0xe2, 0x82]);
  const violations = [
    ['text that is not UTF-8', [frame(Buffer.from([0xff, 0xfe]))], 1007],
    ['text that ends within a character', [frame(half)], 1007],
    ['a fragment that is not UTF-8, before the end', [frame(Buffer.from([0xc0, 0x80]), { fin: false })], 1007],
    ['a frame without a mask', [frame('x', { masked: false })], 1002],
    ['a reserved bit', [frame('x', { rsv: 4 })], 1002],
    ['a reserved opcode', [frame('x', { opcode: 3 })], 1002],
    ['a continuation of nothing', [frame('x', { opcode: 0 })], 1002],
    ['a new message within a message', [frame('x', { fin: false }), frame('y')], 1002],
    ['a fragmented ping', [frame('x', { opcode: 9, fin: false })], 1002],
    ['a ping of 126 bytes', [frame('x'.repeat(126), { opcode: 9 })], 1002],
    ['a close of one byte', [frame('x', { opcode: 8 })], 1002],
    ['a close with a reserved code', [frame(closePayload(1005), { opcode: 8 })], 1002],
    ['a close whose reason is not UTF-8', [frame(Buffer.from([0x03, 0xe8, 0xff]), { opcode: 8 })], 1007],
    ['a length that is longer than it must be', [Buffer.from([0x81, 0xfe, 0x00, 0x01, 0, 0, 0, 0, 0x78])], 1002],
  ];
  for (const [what, frames, code] of violations) {
    test(`${what} closes with ${code}`, async () => {
      const client = await opened();
      for (const bytes of frames) client.write(bytes);
      assert.equal(await closedWith(client), code);
    });
  }

  test('a message over the limit closes with 1009', async () => {
    const client = await connect(server.wsUrl('/small/'));
    client.send('x'.repeat(1024));
    assert.equal((await client.next()).length, 1024);
    client.send('x'.repeat(1025));
    assert.equal((await client.closed()).code, 1009);
  });

  test('fragments over the limit close with 1009 before the last one', async () => {
    const client = await opened('/small/');
    client.write(frame('x'.repeat(600), { fin: false }));
    client.write(frame('x'.repeat(600), { opcode: 0, fin: false }));
    assert.equal(await closedWith(client), 1009);
  });

  test('a length of 2^63 closes without waiting for the bytes', async () => {
    const client = await opened();
    client.write(Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]));
    assert.ok([1002, 1009].includes(await closedWith(client)));
  });
});

describe('ends', () => {
  test("the client's code and reason reach the consumer and are answered", async () => {
    const watcher = await connect(server.wsUrl('/probe/ends/?watch=1'));
    const client = await connect(server.wsUrl('/probe/ends/'));
    assert.equal((await client.close(4321, 'au revoir')).code, 4321);
    assert.equal(await watcher.next(), 'disconnect 4321 au revoir');
    await watcher.close();
  });

  test("the consumer's code and reason reach the client", async () => {
    const client = await connect(server.wsUrl('/probe/away/'));
    client.send('close 4001 go away');
    assert.deepEqual(await client.closed(), { code: 4001, reason: 'go away' });
  });

  test('a close without a code is 1005 for the consumer and answered without one', async () => {
    const watcher = await connect(server.wsUrl('/probe/silent/?watch=1'));
    const client = await opened('/probe/silent/');
    client.write(frame('', { opcode: 8 }));
    assert.equal(closeOf(await client.frame()).code, 1005);
    assert.equal(await watcher.next(), 'disconnect 1005 ');
    client.destroy();
    await watcher.close();
  });

  test('a client that vanishes is 1006 for the consumer', async () => {
    const watcher = await connect(server.wsUrl('/probe/lost/?watch=1'));
    const client = await opened('/probe/lost/');
    client.destroy();
    assert.equal(await watcher.next(), 'disconnect 1006 ');
    await watcher.close();
  });

  test('a stopped connection closes with 1000 and without a disconnect', async () => {
    const watcher = await connect(server.wsUrl('/probe/stopped/?watch=1'));
    const stopped = await connect(server.wsUrl('/probe/stopped/'));
    stopped.send('stop');
    assert.equal((await stopped.closed()).code, 1000);
    const other = await connect(server.wsUrl('/probe/stopped/'));
    await other.close(4000);
    assert.equal(await watcher.next(), 'disconnect 4000 ');
    await watcher.close();
  });

  test('the server closes the connection after the closing handshake', async () => {
    const client = await opened();
    client.write(frame(closePayload(1000), { opcode: 8 }));
    assert.equal(closeOf(await client.frame()).code, 1000);
    await client.ended();
    client.destroy();
  });

  test('a client that does not read is closed when its queue is full', async () => {
    const watcher = await connect(server.wsUrl('/probe/full/?watch=1'));
    const client = await opened('/probe/full/');
    client.socket.pause();
    client.write(frame('flood 100000'));
    assert.match(await watcher.next(20), /^disconnect (1006|1013)/);
    client.destroy();
    await watcher.close();
  });
});

describe('liveness', () => {
  test('a ping is answered with its payload', async () => {
    const client = await opened();
    client.write(frame('are you there', { opcode: 9 }));
    const pong = await client.frame();
    assert.equal(pong.opcode, 10);
    assert.equal(pong.payload.toString(), 'are you there');
    client.destroy();
  });

  test('a silent client is pinged, and one that answers stays', async () => {
    const client = await opened('/lively/');
    for (let count = 0; count < 2; count++) {
      const ping = await client.frame();
      assert.equal(ping.opcode, 9);
      client.write(frame(ping.payload, { opcode: 10 }));
    }
    client.write(frame('still here'));
    let found = await client.frame();
    while (found.opcode === 9) found = await client.frame();
    assert.equal(found.payload.toString(), 'still here');
    client.destroy();
  });

  test('a client that does not answer pings is lost', async () => {
    const client = await opened('/dead/');
    assert.equal((await client.frame()).opcode, 9);
    await client.ended();
    client.destroy();
  });

  test('a connection without messages is closed with 1001', async () => {
    const client = await opened('/idle/');
    assert.equal(await closedWith(client), 1001);
  });
});
