// What the server's TLS agrees to, and that it agrees to nothing else: every version, cipher suite
// and group that has a number is offered to it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { ask, GROUPS, hello, helloOfSsl2, SIGNATURES } from './support/hello.mjs';
import { makeCertificate, start, temporaryFolder } from './support/server.mjs';

const TLS12 = 0x0303;
const TLS13 = 0x0304;
// AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305, each with ECDHE.
const ECDSA = [0xc02b, 0xc02c, 0xcca9];
const RSA = [0xc02f, 0xc030, 0xcca8];
const OF_TLS13 = [0x1301, 0x1302, 0x1303];
const SIGNALS = [0x00ff, 0x5600]; // numbers among the suites that are none: RFC 5746, RFC 7507

const ports = {};

before(async () => {
  const folder = temporaryFolder();
  makeCertificate(folder);
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost', '-keyout', path.join(folder, 'rsa.key'), '-out',
    path.join(folder, 'rsa.pem')], { stdio: 'pipe' });
  const server = await start(`
listen:
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: rsa.pem, key-file: rsa.key}}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem, minimum-version: TLSv1.3}}
hosts: {default: {}}
`, folder);
  [ports.ecdsa, ports.rsa, ports.only13] = server.urls.map((url) => Number(new URL(url).port));
});

/** libh2o closes without the alert that says why, so what is no hello is a refusal; each test shows
 * with a hello next to it that this was not for another reason. */
async function refused(port, what) {
  const answer = await ask(port, Buffer.isBuffer(what) ? what : hello(what));
  assert.ok(answer.closed || answer.alert, JSON.stringify(answer));
}

async function chosen(port, what) {
  const answer = await ask(port, hello(what));
  assert.ok('suite' in answer, JSON.stringify(answer));
  return answer.suite;
}

/** All numbers but those, so many at once that a hello fits into a record. */
function* allBut(numbers, most) {
  const others = Array.from({ length: 0x10000 }, (_, number) => number).filter((number) => !numbers.includes(number));
  for (let at = 0; at < others.length; at += most) yield others.slice(at, at + most);
}

describe('versions', () => {
  for (const [name, version] of [['SSL 3.0', 0x0300], ['TLS 1.0', 0x0301], ['TLS 1.1', 0x0302]]) {
    test(`${name} is refused`, () => refused(ports.ecdsa, { version, suites: [...ECDSA, 0xc00a, 0xc009, 0x002f, 0x000a] }));
  }

  test('SSL 2.0 is refused', () => refused(ports.ecdsa, helloOfSsl2()));

  test('TLS 1.2 and 1.3 are spoken, 1.2 not where the configuration says so', async () => {
    assert.equal((await ask(ports.ecdsa, hello({ version: TLS12, suites: ECDSA }))).version, TLS12);
    for (const port of [ports.ecdsa, ports.only13]) {
      assert.equal((await ask(port, hello({ version: TLS13, suites: OF_TLS13 }))).version, TLS13);
    }
    await refused(ports.only13, { version: TLS12, suites: ECDSA });
  });

  test('who came down to 1.2 though both know 1.3 is stopped', () =>
    refused(ports.ecdsa, { version: TLS12, suites: [...ECDSA, 0x5600] }));
});

describe('cipher suites', () => {
  for (const [certificate, own12] of [['ecdsa', ECDSA], ['rsa', RSA]]) {
    for (const [name, version, own] of [['1.2', TLS12, own12], ['1.3', TLS13, OF_TLS13]]) {
      test(`TLS ${name}, ${certificate}: its three, and none else of 65,531`, async () => {
        const port = ports[certificate];
        for (const suite of own) assert.equal(await chosen(port, { version, suites: [suite] }), suite);
        for (const suites of allBut([...own, ...SIGNALS], 4000)) {
          await refused(port, { version, suites });
          assert.equal(await chosen(port, { version, suites: [...suites, own[0]] }), own[0]);
        }
      });
    }
  }

  test('the server chooses, but leaves ChaCha20 to who names it first', async () => {
    for (const [version, [fast, strong, chacha]] of [[TLS12, ECDSA], [TLS13, OF_TLS13]]) {
      assert.equal(await chosen(ports.ecdsa, { version, suites: [strong, chacha, fast] }), fast);
      assert.equal(await chosen(ports.ecdsa, { version, suites: [chacha, strong, fast] }), chacha);
    }
  });
});

describe('groups and signatures', () => {
  // In TLS 1.2 the groups hold for the certificate as well: that of RSA has none.
  for (const [name, version, suites] of [['1.2', TLS12, RSA], ['1.3', TLS13, OF_TLS13]]) {
    test(`TLS ${name}: X25519, P-256 and P-384, and no other group`, async () => {
      // RFC 8446 section 4.2.8: without a share of its own the server may ask for one of any group.
      const extensions = version === TLS13 ? { 51: Buffer.from([0, 0]) } : {};
      for (const group of GROUPS) {
        assert.ok(suites.includes(await chosen(ports.rsa, { version, suites, groups: [group], extensions })));
      }
      for (const groups of allBut(GROUPS, 4000)) {
        await refused(ports.rsa, { version, suites, groups, extensions });
        assert.ok(suites.includes(await chosen(ports.rsa, { version, suites, groups: [...groups, 29], extensions })));
      }
    });
  }

  test('no signature over SHA-1 or MD5', async () => {
    const weak = [0x0203, 0x0201, 0x0202, 0x0101, 0x0103];
    for (const [certificate, suites] of [['ecdsa', ECDSA], ['rsa', RSA]]) {
      await refused(ports[certificate], { version: TLS12, suites, signatures: weak });
      assert.ok(suites.includes(await chosen(ports[certificate], { version: TLS12, suites, signatures: [...weak, ...SIGNATURES] })));
    }
  });
});

describe('extensions', () => {
  test('nothing is compressed', async () => {
    const answer = await ask(ports.ecdsa, hello({ version: TLS12, suites: ECDSA, compressions: [1, 64, 0] }));
    assert.equal(answer.compression, 0);
    await refused(ports.ecdsa, { version: TLS12, suites: ECDSA, compressions: [1] });
  });

  test('no heartbeats; renegotiation and master secret are the safe ones', async () => {
    const answer = await ask(ports.ecdsa, hello({ version: TLS12, suites: ECDSA, extensions: { 15: Buffer.from([1]) } }));
    assert.equal(answer.extensions[15], undefined);
    assert.deepEqual(answer.extensions[65281], Buffer.from([0]));
    assert.ok(answer.extensions[23]);
  });

  test('HTTP/2 is not agreed on', async () => {
    const offer = (...names) => {
      const list = Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([name.length]), Buffer.from(name)])));
      const extensions = { 16: Buffer.concat([Buffer.from([0, list.length]), list]) };
      return { version: TLS12, suites: ECDSA, extensions };
    };
    await refused(ports.ecdsa, offer('h2'));
    const { extensions } = await ask(ports.ecdsa, hello(offer('h2', 'http/1.1')));
    assert.equal(extensions[16].subarray(3).toString(), 'http/1.1');
  });
});
