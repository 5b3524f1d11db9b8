// A process that holds many WebSockets, since one alone may not have enough descriptors: forked with
// a port and a count. It tells how many are {upgraded, refused (503), lost}, and lets go of all on 'end'.
import net from 'node:net';
import { handshake } from './raw.mjs';

const [port, count] = process.argv.slice(2).map(Number);
const sockets = new Set();
let isEnding = false;
const told = { upgraded: 0, refused: 0, lost: 0 };

const tell = setInterval(() => process.send(told), 100);

function open() {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    sockets.add(socket);
    let said = '';
    socket.setEncoding('latin1').once('connect', () => { socket.write(handshake('/echo')); resolve(); });
    socket.once('data', (text) => {
      said = text.slice(0, 12);
      if (said === 'HTTP/1.1 101') told.upgraded += 1;
    });
    socket.on('error', () => {}).once('close', () => {
      if (said === 'HTTP/1.1 503') told.refused += 1;
      else if (!isEnding) told.lost += 1;
      sockets.delete(socket);
      resolve();
    });
  });
}

process.on('message', (word) => {
  if (word !== 'end') return;
  isEnding = true;
  for (const socket of sockets) socket.destroy();
  clearInterval(tell);
  process.disconnect();
});

let left = count;
await Promise.all(Array.from({ length: 50 }, async () => { while (left-- > 0) await open(); }));
