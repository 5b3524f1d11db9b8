// Every rule of RFC 6455 and RFC 7692 against a client that keeps none of them, over each way that
// the program has: ws and wss, compression agreed on or not, io_uring or a system call a socket, one
// thread and two.
//
// One cell of that matrix plays all cases, and one all of compression. The others play some of each
// part, every second, fourth or so, each cell beginning with another one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, describe, test } from 'node:test';
import { bombs, faults, messages, offers, takeovers, wrongOffers } from './conformance/compressed.mjs';
import { closings, serverClosings } from './conformance/ends.mjs';
import { choppedSizes, controls, firstBytes, fragmentation, lengths, masks, orders, sizes, stream } from './conformance/frames.mjs';
import { handshakes } from './conformance/handshakes.mjs';
import { everyCharacter, sequences } from './conformance/text.mjs';
import { Peer, isLast, playAll } from './support/peer.mjs';
import { makeCertificate, slowness, start, temporaryFolder } from './support/server.mjs';

const LIMIT = 150000;
const OFFER = 'permessage-deflate; client_max_window_bits';

const configuration = (ring, threads) => `
listen:
  - {host: 127.0.0.1, port: 0}
  - {host: 127.0.0.1, port: 0, ssl: {certificate-file: cert.pem, key-file: key.pem}}
num-threads: ${threads}
io-uring: ${ring}
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - {match: /echo/, consumer: echo, limits: {message: ${LIMIT}, queue: 4m}, compress-messages: {threshold: 0}}
      - {match: /keeps/, consumer: echo, limits: {message: ${LIMIT}, queue: 4m}, compress-messages: {takeover: ON, threshold: 0}}
      - match: /large/
        consumer: echo
        limits: {message: ${LIMIT}, queue: 4m}
        compress-messages: {takeover: ON, window-bits: 15, threshold: 0}
      - {match: '/probe/(?P<group>\\w+)/', consumer: TEST_PLUGINS/probe.so}
      - {match: /small/, consumer: echo, limits: {message: ${LIMIT}, queue: 4m}, compress-messages: {window-bits: 9, threshold: 0}}
`;

/** What, how many share a case among the cells that do not play all, and the cases. */
const parts = [
  ['sizes', 4, () => sizes(LIMIT)],
  ['sizes in small pieces', Infinity, choppedSizes],
  ['masks', 4, masks],
  ['lengths', 4, () => lengths(LIMIT)],
  ['control frames', 4, controls],
  ['fragments', 2, fragmentation],
  ['orders of frames', 4, () => orders(3)],
  ['random streams', 4, () => Array.from({ length: 40 }, (_, seed) => stream(seed))],
  ['UTF-8', 16, sequences],
  ['every character', 16, everyCharacter],
  ['closing', 2, closings],
];

/** Those where compression was not agreed on, and where it was. */
const plainParts = [
  ['first bytes', 8, () => firstBytes(false)],
];
const compressedParts = [
  ['first bytes', 8, () => firstBytes(true)],
  ['compressed messages', 4, () => messages(LIMIT)],
  ['bad compressed messages', 8, () => faults(LIMIT)],
  ['bombs', 2, bombs],
];

/** Those that open their connections themselves. */
const plainHandshakes = [
  ['handshakes', 4, () => handshakes(LIMIT)],
  ['closing by the server', 2, serverClosings],
];
const compressedHandshakes = [
  ['offers', 32, () => offers(['/echo/', '/keeps/', '/large/', '/small/'])],
  ['wrong offers', 4, wrongOffers],
  ['takeovers', 2, takeovers],
];

const peak = (pid) => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

const made = new Map();

/** The part's cases, which are made once for all cells. */
function casesOf(make) {
  if (!made.has(make)) made.set(make, make());
  return made.get(make);
}

/** All cases, or every so many, beginning with another one in each cell. TLS is dear, above all its
 * handshakes, so that there it is fewer. */
function choose(cases, share, cell) {
  if (cell.full) return cases;
  return cases.filter((one, at) => {
    const every = !cell.secure ? share : isLast(one) ? 4 * share : 2 * share;
    return at % every === cell.number % every;
  });
}

function play(cell, list, open) {
  for (const [what, share, make] of list) {
    if (!cell.full && share === Infinity) continue;
    test(what, async (t) => {
      const cases = choose(casesOf(make), share, cell);
      assert.ok(cases.length > 0);
      await playAll(cases, open);
      t.diagnostic(`${cases.length} cases`);
    });
  }
}

const cells = { ws: 0, wss: 0 };
for (const ring of ['AUTO', 'OFF']) {
  for (const threads of [1, 2]) {
    describe(`io-uring: ${ring}, ${threads} thread${threads > 1 ? 's' : ''}`, () => {
      let server;
      before(async () => {
        const folder = temporaryFolder();
        makeCertificate(folder);
        server = await start(configuration(ring, threads), folder);
      });

      for (const secure of [false, true]) {
        for (const deflates of [false, true]) {
          const number = cells[secure ? 'wss' : 'ws']++;
          const cell = { number, secure, deflates, full: !secure && ring === 'AUTO' && threads === 1 };
          describe(`${secure ? 'wss' : 'ws'}${deflates ? ', compression agreed on' : ''}`, () => {
            const bare = () => new Peer({ port: Number(new URL(server.url('/', secure ? 'https' : 'http')).port), secure });
            const open = async () => {
              const peer = bare();
              await peer.open('/echo/', deflates ? OFFER : undefined);
              return peer;
            };
            play({ ...cell, full: cell.full && !deflates }, parts, open);
            play(cell, deflates ? compressedParts : plainParts, open);
            play(cell, deflates ? compressedHandshakes : plainHandshakes, bare);
            test('memory stays bounded', () => {
              // A sanitizer keeps for a while what was freed.
              assert.ok(peak(server.worker) < (slowness > 1 ? 1024 : 64) * 1024, `${peak(server.worker)} kB`);
            });
          });
        }
      }
    });
  }
}
