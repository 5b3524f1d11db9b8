// Those who wish a server ill, all at once, in a thread of their own so that they don't hold up who
// measures: started as a Worker with {port, securePort, seconds}, it posts how often each of them
// came to an end.
import net from 'node:net';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { frame, handshake } from './raw.mjs';

const { port, securePort, seconds } = isMainThread ? {} : workerData;
const until = performance.now() + seconds * 1000;
const rest = (ms) => new Promise((resolve) => { setTimeout(resolve, Math.max(0, Math.min(ms, until - performance.now()))); });
const due = () => performance.now() >= until;

/** A connection, or null; `gone` resolves when it ends, however. */
function open(to = port) {
  const socket = net.connect({ port: to, host: '127.0.0.1' });
  socket.gone = new Promise((resolve) => { socket.once('close', resolve); });
  socket.on('error', () => {}); // `close` follows
  return Promise.race([new Promise((resolve) => { socket.once('connect', () => resolve(socket)); }), socket.gone.then(() => null)]);
}

/** A WebSocket that reads nothing behind its handshake. */
async function openWebSocket() {
  const socket = await open();
  if (!socket) return null;
  socket.write(handshake('/echo/'));
  await Promise.race([new Promise((resolve) => { socket.once('data', resolve); }), socket.gone]);
  socket.pause();
  return socket;
}

/** Writes the block over and over, as long as the server takes it and for so long at most. */
async function pour(socket, block, ms) {
  const end = Math.min(until, performance.now() + ms);
  while (!socket.destroyed && performance.now() < end) {
    if (socket.write(block)) await new Promise(setImmediate);
    else await Promise.race([new Promise((resolve) => { socket.once('drain', resolve); }), socket.gone, rest(ms)]);
  }
}

const PINGS = Buffer.concat(Array.from({ length: 200 }, () => frame('x'.repeat(125), { opcode: 9 })));
const MESSAGES = Buffer.concat(Array.from({ length: 50 }, () => frame('x'.repeat(2000))));
const HEAD = 'GET / HTTP/1.1\r\nHost: localhost\r\n';

const attacks = {
  // A head that goes on and on, a line at a time.
  slowloris: [100, async () => {
    const socket = await open();
    if (!socket) return;
    socket.resume().write(HEAD);
    for (let line = 0; !socket.destroyed && !due(); line += 1) {
      socket.write(`X-Line-${line}: x\r\n`);
      await Promise.race([rest(100), socket.gone]);
    }
    socket.resetAndDestroy();
  }],
  // Asks for megabytes and reads none of them.
  slowRead: [50, async () => {
    const socket = await open();
    if (!socket) return;
    socket.pause();
    socket.write(`${HEAD.replace('/', '/large')}\r\n`);
    await Promise.race([rest(5000), socket.gone]);
    socket.resetAndDestroy();
  }],
  headers: [10, async () => {
    const socket = await open();
    if (!socket) return;
    socket.resume().write(HEAD + Array.from({ length: 2000 }, (_, line) => `X-Line-${line}: ${'x'.repeat(20)}\r\n`).join(''));
    await Promise.race([rest(2000), socket.gone]);
    socket.resetAndDestroy();
  }],
  resets: [50, async () => {
    const socket = await open();
    if (!socket) return;
    if (Math.random() < 0.5) socket.write(HEAD.slice(0, Math.floor(Math.random() * HEAD.length)));
    if (Math.random() < 0.5) await rest(1);
    socket.resetAndDestroy();
  }],
  // Handshakes of TLS that are begun, or are none.
  halfTls: [20, async () => {
    const socket = await open(securePort);
    if (!socket) return;
    socket.resume().write(Math.random() < 0.5 ? Buffer.from([22, 3, 1, 2, 0, 1, 0]) : Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await Promise.race([rest(300), socket.gone]);
    socket.resetAndDestroy();
  }],
  pings: [10, async () => {
    const socket = await openWebSocket();
    if (!socket) return;
    await pour(socket, PINGS, 2000);
    socket.resetAndDestroy();
  }],
  messages: [10, async () => {
    const socket = await openWebSocket();
    if (!socket) return;
    await pour(socket, MESSAGES, 2000);
    socket.resetAndDestroy();
  }],
  // Opened properly, and gone without a word.
  vanishing: [20, async () => {
    const socket = await openWebSocket();
    socket?.resetAndDestroy();
  }],
};

async function run() {
  const counts = {};
  await Promise.all(Object.entries(attacks).flatMap(([name, [many, attack]]) => Array.from({ length: many }, async () => {
    counts[name] ??= 0;
    while (!due()) {
      await attack();
      counts[name] += 1;
      await rest(1);
    }
  })));
  parentPort.postMessage(counts);
}

if (!isMainThread) await run();
