// What libh2o lets through and the gateway must not: one test for each way in, over raw sockets.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { before, describe, test } from 'node:test';
import { handshake, Raw } from './support/raw.mjs';
import { makeCertificate, start, temporaryFolder, within } from './support/server.mjs';

const folder = temporaryFolder();
let server;

/** An RSA certificate, which every old cipher suite could use. */
function makeRsaCertificate() {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=rsa',
    '-addext', 'subjectAltName=DNS:rsa.example', '-keyout', path.join(folder, 'rsa.key'),
    '-out', path.join(folder, 'rsa.pem')], { stdio: 'pipe' });
}

function makeFiles() {
  const www = path.join(folder, 'www');
  fs.mkdirSync(path.join(www, '.well-known'), { recursive: true });
  fs.mkdirSync(path.join(www, '.git'));
  fs.mkdirSync(path.join(www, 'sub'));
  fs.writeFileSync(path.join(www, 'a.txt'), '0123456789');
  fs.writeFileSync(path.join(www, '.secret'), 'secret');
  fs.writeFileSync(path.join(www, '.git/config'), 'secret');
  fs.writeFileSync(path.join(www, 'sub/.htaccess'), 'secret');
  fs.writeFileSync(path.join(www, '.well-known/security.txt'), 'contact');
}

before(async () => {
  makeFiles();
  makeCertificate(folder);
  makeRsaCertificate();
  server = await start(`
listen:
  - {host: 127.0.0.1, port: 0}
  - host: 127.0.0.1
    port: 0
    ssl:
      - {certificate-file: cert.pem, key-file: key.pem}
      - {certificate-file: rsa.pem, key-file: rsa.key}
num-threads: 1
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /ws/\\w+/
        consumer: echo
    paths:
      /:
        file.dir: www
      /plain:
        redirect: {status: 302, url: /elsewhere}
`, folder);
});

/** Sends the text and returns {status, headers, body, closed}: whether the server then closes. */
async function ask(text) {
  const client = new Raw(server.port);
  try {
    client.write(Buffer.from(text, 'latin1'));
    const answer = await client.response();
    if (answer.headers.connection === 'close') await client.ended();
    return { ...answer, closed: answer.headers.connection === 'close' };
  } finally {
    client.destroy();
  }
}

function get(target, fields = '', version = '1.1') {
  return `GET ${target} HTTP/${version}\r\nHost: localhost\r\n${fields}\r\n`;
}

describe('heads that two readers may read differently are 400, and the connection ends', () => {
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const length = 'Content-Length: 5\r\n';
  const heads = {
    'Transfer-Encoding and Content-Length': ['POST', `${chunked}${length}`, '0\r\n\r\n'],
    'Content-Length and Transfer-Encoding': ['POST', `${length}${chunked}`, '0\r\n\r\n'],
    'two lengths': ['POST', `${length}Content-Length: 6\r\n`, '123456'],
    'one length twice': ['POST', `${length}${length}`, '12345'],
    'a list of lengths': ['POST', 'Content-Length: 5, 5\r\n', '12345'],
    'a signed length': ['POST', 'Content-Length: +5\r\n', '12345'],
    'a length with a letter': ['POST', 'Content-Length: 5a\r\n', '12345'],
    'a length too large to count': ['POST', 'Content-Length: 99999999999999999999\r\n', ''],
    'gzip before chunked': ['POST', 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'],
    'chunked twice': ['POST', `${chunked}${chunked}`, '0\r\n\r\n'],
    'identity before chunked': ['POST', `Transfer-Encoding: identity\r\n${chunked}`, '0\r\n\r\n'],
    'a folded line': ['GET', 'X-A: a\r\n b\r\n', ''],
    'a folded Transfer-Encoding': ['POST', 'Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'],
    'a bare LF behind a field': ['GET', 'X-A: a\nX-B: b\r\n', ''],
    'a bare CR in a value': ['GET', 'X-A: a\rX-B: b\r\n', ''],
    'NUL in a value': ['GET', 'X-A: a\0b\r\n', ''],
    'a space before the colon': ['POST', 'Content-Length : 5\r\n', '12345'],
    'a second Host': ['GET', 'Host: other\r\n', ''],
  };
  for (const [name, [method, fields, body]] of Object.entries(heads)) {
    test(name, async () => {
      const answer = await ask(`${method} / HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n${body}`);
      assert.equal(answer.status, 400);
      assert.ok(answer.closed);
    });
  }

  const whole = {
    'no Host': 'GET / HTTP/1.1\r\n\r\n',
    'an empty Host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
    'a Host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
    'a Host with a list': 'GET / HTTP/1.1\r\nHost: a,b\r\n\r\n',
    'Transfer-Encoding in HTTP/1.0': `POST / HTTP/1.0\r\nHost: a\r\n${chunked}\r\n0\r\n\r\n`,
    'bare LFs alone': 'GET / HTTP/1.1\nHost: a\n\n',
    'HTTP/1.1 and bytes': 'GET / HTTP/1.1 x\r\nHost: a\r\n\r\n',
    'two spaces before the version': 'GET  HTTP/1.1\r\nHost: a\r\n\r\n',
    'a space in the target': 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n',
    'a fragment in the target': get('/a.txt#b'),
  };
  for (const [name, text] of Object.entries(whole)) {
    test(name, async () => {
      const answer = await ask(text);
      assert.equal(answer.status, 400);
      assert.ok(answer.closed);
    });
  }

  test('nothing behind a refused head is answered', async () => {
    const client = new Raw(server.port);
    client.write(`POST / HTTP/1.1\r\nHost: a\r\n${length}${chunked}\r\n0\r\n\r\n${get('/a.txt')}`);
    assert.equal((await client.response()).status, 400);
    await client.ended();
    await assert.rejects(client.response(), /ended before a response; it held ""/);
    client.destroy();
  });

  test('the same holds on routes, redirects and where nothing is', async () => {
    for (const target of ['/ws/a/', '/plain', '/absent']) {
      const answer = await ask(get(target, 'Host: other\r\n'));
      assert.equal(answer.status, 400, target);
      assert.ok(answer.closed);
    }
    assert.equal((await ask(handshake('/ws/a/', { 'X-Folded': 'a\r\n b' }))).status, 400);
  });

  test('what is right is served, and the connection stays', async () => {
    const client = new Raw(server.port);
    client.write(`\r\n${get('/a.txt', 'X-A: \xfcber\r\n')}`);
    client.write(get('/a.txt', 'Content-Length: 0\r\n'));
    client.write(`GET /a.txt HTTP/1.1\r\nHost: localhost \r\n${chunked}\r\n0\r\n\r\n`);
    for (let i = 0; i < 3; i++) assert.equal((await client.response()).body, '0123456789');
    client.destroy();
  });
});

describe('targets', () => {
  test('NUL, control characters and bytes that are no UTF-8 are 400', async () => {
    for (const target of ['/a.txt%00', '/a.txt%00.png', '/%00', '/a%0ab', '/a%0d%0ab', '/%7f', '/%ff', '/%c0%af',
      '/%ed%a0%80', '/\xff', '/ws/%00/']) {
      const answer = await ask(get(target));
      assert.equal(answer.status, 400, target);
      assert.ok(answer.closed);
    }
    assert.equal((await ask(get('/a.txt?%00%ff'))).status, 200);
  });

  test('dot files are 404, but /.well-known/ is served', async () => {
    for (const target of ['/.secret', '/%2esecret', '/.git/config', '/sub/.htaccess', '/sub/../.secret',
      '/sub/%2e%2e/.secret', '/.well-known/../.secret', '/.git', '/.well-known']) {
      const answer = await ask(get(target));
      assert.equal(answer.status, 404, target);
      assert.doesNotMatch(answer.body, /secret/);
    }
    assert.equal((await ask(get('/.well-known/security.txt'))).body, 'contact');
  });

  test('a dot file and a missing file look the same', async () => {
    const [hidden, missing] = [await ask(get('/.secret')), await ask(get('/missing'))];
    for (const answer of [hidden, missing]) delete answer.headers.date;
    assert.deepEqual(hidden, missing);
  });

  test('dot segments do not leave the folder', async () => {
    fs.writeFileSync(path.join(folder, 'outside.txt'), 'outside');
    for (const target of ['/../outside.txt', '/%2e%2e/outside.txt', '/..%2foutside.txt', '/sub/..%2f..%2foutside.txt',
      '/sub/../../outside.txt', '//../outside.txt', '/..%5coutside.txt']) {
      const answer = await ask(get(target));
      assert.equal(answer.status, 404, target);
    }
  });

  test('a symbolic link is followed, as SECURITY.md says, but none whose name begins with a dot', async () => {
    const www = path.join(folder, 'www');
    fs.writeFileSync(path.join(folder, 'linked.txt'), 'linked');
    for (const name of ['link.txt', '.link.txt']) fs.symlinkSync(path.join(folder, 'linked.txt'), path.join(www, name));
    fs.symlinkSync(www, path.join(www, 'circle'));
    fs.symlinkSync(path.join(www, 'endless'), path.join(www, 'endless'));
    assert.equal((await ask(get('/link.txt'))).body, 'linked');
    assert.equal((await ask(get('/circle/circle/a.txt'))).body, '0123456789');
    for (const target of ['/.link.txt', '/circle/.secret', '/endless']) {
      const answer = await ask(get(target));
      assert.ok(answer.status >= 403 && answer.status <= 404, `${target}: ${answer.status}`);
      assert.doesNotMatch(answer.body, /secret|linked/);
    }
  });

  test('an absolute target is taken apart', async () => {
    assert.equal((await ask(get('http://localhost/a.txt'))).body, '0123456789');
    assert.equal((await ask(get('http://localhost/.secret'))).status, 404);
    assert.equal((await ask(get('http://a@localhost/a.txt'))).status, 400);
    assert.equal((await ask(get('ftp://localhost/a.txt'))).status, 400);
    assert.equal((await ask(get('a.txt'))).status, 400);
  });

  test('OPTIONS * is answered, * is no path', async () => {
    const answer = await ask('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal(answer.status, 200);
    assert.match(answer.headers.allow, /GET/);
    assert.equal((await ask(get('*'))).status, 400);
  });

  test('CONNECT and TRACE are 405', async () => {
    for (const line of ['CONNECT a:443', 'TRACE /a.txt']) {
      const answer = await ask(`${line} HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.equal(answer.status, 405, line);
      assert.match(answer.headers.allow, /GET/);
      assert.ok(answer.closed);
    }
  });
});

describe('sizes', () => {
  test('several ranges get the whole file, one range a part', async () => {
    for (const fields of ['Range: bytes=0-1,3-4\r\n', 'Range: bytes=0-1\r\nRange: bytes=3-4\r\n']) {
      const answer = await ask(get('/a.txt', fields));
      assert.equal(answer.status, 200);
      assert.equal(answer.body, '0123456789');
    }
    const answer = await ask(get('/a.txt', 'Range: bytes=3-4\r\n'));
    assert.equal(answer.status, 206);
    assert.equal(answer.body, '34');
  });

  test('a file that shrinks under a request for several ranges does not hold the thread', async () => {
    const file = path.join(folder, 'www/shrinking.bin');
    fs.writeFileSync(file, '');
    fs.truncateSync(file, 64 << 20);
    const client = new Raw(server.port);
    await once(client.socket, 'connect');
    client.socket.pause();
    client.write(get('/shrinking.bin', 'Range: bytes=0-33554431,33554432-67108863\r\n'));
    // One thread: an answer to a later request shows that this one is being answered.
    assert.equal((await ask(get('/a.txt'))).status, 200);
    fs.truncateSync(file, 10);
    client.socket.resume();
    // What had been read of the file is sent, then its new end is met; the thread answers all along.
    for (let i = 0; i < 100; i++) assert.equal((await ask(get('/a.txt'))).status, 200);
    client.destroy();
  });

  test('a body above the limit is 413', async () => {
    const answer = await ask(`POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 << 20}\r\n\r\n`);
    assert.equal(answer.status, 413);
    assert.ok(answer.closed);
  });

  test('a chunked body that reaches the limit is 413', async () => {
    const block = Buffer.alloc(64 << 10, 'x');
    const chunk = Buffer.concat([Buffer.from(`${block.length.toString(16)}\r\n`), block, Buffer.from('\r\n')]);
    const client = new Raw(server.port);
    client.write('POST /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let i = 0; i < 16; i++) client.write(chunk);
    assert.equal((await client.response()).status, 413);
    await client.ended();
    client.destroy();
  });

  test('a head that does not end within the parser\'s limit is 400', async () => {
    const start = 'GET / HTTP/1.1\r\nHost: a\r\nX-A: ';
    const answer = await ask(`${start}${'a'.repeat(8192 + 4096 * 100 - start.length)}`);
    assert.equal(answer.status, 400);
    assert.ok(answer.closed);
  });

  test('more fields than 100 are 400', async () => {
    const answer = await ask(get('/a.txt', 'X-A: a\r\n'.repeat(120)));
    assert.equal(answer.status, 400);
  });

  test('a method longer than any is 501', async () => {
    assert.equal((await ask(`${'A'.repeat(40)} / HTTP/1.1\r\nHost: a\r\n\r\n`)).status, 501);
  });
});

/** A TLS connection to the second listener: {socket}, or {error} when the handshake failed. */
async function shake(options) {
  const { port } = new URL(server.url('/', 'https'));
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  return within(10, 'the handshake', new Promise((resolve) => {
    socket.once('secureConnect', () => resolve({ socket }));
    socket.once('error', (error) => resolve({ error }));
  }));
}

/** The handshake ends because the server closes, not because the client can't do what was asked of it. */
async function refused(options) {
  const { error } = await shake(options);
  assert.ok(error, `the handshake succeeded with ${JSON.stringify(options)}`);
  assert.equal(error.code, 'ECONNRESET', error.message);
}

describe('HTTP/2 is not spoken', () => {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  const settings = '\0\0\0\x04\0\0\0\0\0';

  test('the preface is 400', async () => {
    const answer = await ask(`${preface}${settings}`);
    assert.equal(answer.status, 400);
    assert.ok(answer.closed);
  });

  test('an upgrade to h2c is not taken', async () => {
    for (const name of ['h2c', 'h2c-14', 'h2c-16']) {
      const answer = await ask(get('/a.txt',
        `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${name}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n`));
      assert.equal(answer.status, 200, name);
      assert.equal(answer.body, '0123456789');
    }
  });

  test('h2 is not chosen where http/1.1 is offered', async () => {
    for (const ALPNProtocols of [['h2', 'http/1.1'], ['http/1.1', 'h2']]) {
      const { socket } = await shake({ ALPNProtocols });
      assert.equal(socket.alpnProtocol, 'http/1.1');
      socket.destroy();
    }
  });

  test('a client that offers h2 alone gets no connection', async () => {
    await refused({ ALPNProtocols: ['h2'] });
  });

  test('the preface over TLS is 400', async () => {
    const { socket } = await shake({});
    socket.write(`${preface}${settings}`);
    const [data] = await within(10, 'an answer', once(socket, 'data'));
    assert.match(data.toString(), /^HTTP\/1\.1 400 /);
    socket.destroy();
  });
});

describe('TLS', () => {
  const rsa = { servername: 'rsa.example', maxVersion: 'TLSv1.2' };

  test('versions 1.2 and 1.3, and none below', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const { socket } = await shake({ minVersion: version, maxVersion: version });
      assert.equal(socket.getProtocol(), version);
      socket.destroy();
    }
    for (const version of ['TLSv1', 'TLSv1.1']) {
      await refused({ minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
    }
  });

  test('ECDHE with AEAD is taken', async () => {
    for (const ciphers of ['ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES256-GCM-SHA384', 'ECDHE-RSA-CHACHA20-POLY1305']) {
      const { socket } = await shake({ ...rsa, ciphers });
      assert.equal(socket.getCipher().name, ciphers);
      assert.equal(socket.getPeerCertificate().subject.CN, 'rsa');
      socket.destroy();
    }
  });

  test('RSA key exchange, finite-field DH and CBC are refused', async () => {
    for (const ciphers of ['AES128-GCM-SHA256', 'AES256-SHA', 'DHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-SHA256',
      'ECDHE-RSA-AES256-SHA']) {
      await refused({ ...rsa, ciphers: `${ciphers}:@SECLEVEL=0` });
    }
  });

  test('a ticket resumes the session', async () => {
    const first = await shake({ maxVersion: 'TLSv1.2' });
    assert.equal(first.socket.isSessionReused(), false);
    const session = first.socket.getSession();
    first.socket.destroy();
    const second = await shake({ maxVersion: 'TLSv1.2', session });
    assert.equal(second.socket.isSessionReused(), true);
    second.socket.destroy();
  });

  test('plain HTTP on a TLS port ends the connection', async () => {
    const client = new Raw(Number(new URL(server.url('/', 'https')).port));
    client.write(get('/a.txt'));
    await client.ended();
    client.destroy();
  });
});

test('after all that the server still serves', async () => {
  assert.equal((await ask(get('/a.txt'))).body, '0123456789');
});
