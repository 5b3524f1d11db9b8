// RFC 6455 section 4: requests that open a WebSocket and those that must not. For peers that have
// not opened yet.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { BINARY, TEXT, closes, close, frame, gets, inPieces } from '../support/peer.mjs';
import { handshake } from '../support/raw.mjs';
import { content } from './frames.mjs';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

function answers(text, status, name, value) {
  const step = async (peer) => {
    const found = await peer.ask(text);
    assert.equal(found.status, status);
    if (name) assert.equal(found.headers[name], value);
  };
  step.last = true;
  return step;
}

function refuses(text) {
  const step = async (peer) => {
    const { status } = await peer.ask(text);
    assert.ok(status >= 400 && status <= 505, `status ${status}`);
  };
  step.last = true;
  return step;
}

/** Opens, and speaks. */
function welcomes(text, key = KEY) {
  const step = async (peer) => {
    const { status, headers } = await peer.ask(text);
    assert.equal(status, 101);
    assert.equal(headers['sec-websocket-accept'], createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64'));
    assert.equal(headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(headers.connection.toLowerCase(), 'upgrade');
    assert.equal(headers['sec-websocket-extensions'], undefined);
    assert.equal(headers['sec-websocket-protocol'], undefined);
    peer.write(frame('hello'));
    await gets(TEXT, 'hello')(peer);
    peer.write(close());
    await closes(null)(peer);
  };
  step.last = true;
  return step;
}

const changed = (changes, method) => handshake('/echo/', changes, method);
const twice = (name, one, other) => handshake('/echo/', { [name]: `${one}\r\n${name}: ${other}` });

export function handshakes(limit) {
  const cases = [];
  for (const method of ['POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'get', 'GETT']) {
    cases.push([`method ${method}`, refuses(changed({}, method))]);
  }
  for (const version of ['1.0', '0.9', '2.0', '1.', '1.1x', '']) {
    cases.push([`HTTP/${version}`, refuses(changed({}).replace('HTTP/1.1', `HTTP/${version}`))]);
  }
  for (const value of [undefined, '', 'h2c', 'websockets', 'web socket', 'websocket2', 'socket', 'TLS/1.0']) {
    cases.push([`Upgrade: ${value}`, answers(changed({ Upgrade: value }), 426, 'upgrade', 'websocket')]);
  }
  for (const value of [undefined, '', 'close', 'keep-alive', 'Upgraded', 'up grade', 'upgrad']) {
    cases.push([`Connection: ${value}`, answers(changed({ Connection: value }), 426)]);
  }
  for (const value of [undefined, '', '0', '1', '7', '8', '12', '14', '130', '013', '13.0', '+13', '1 3', 'thirteen', '13, 8', '8, 13', '0x0d', '-13']) {
    cases.push([`Sec-WebSocket-Version: ${value}`, answers(changed({ 'Sec-WebSocket-Version': value }), 426, 'sec-websocket-version', '13')]);
  }
  const short = (size) => Buffer.alloc(size, 7).toString('base64');
  for (const value of [undefined, '', '=', '====', short(15), short(17), short(18), short(0), short(32), 'x'.repeat(24), `${KEY}=`, `${KEY} x`, KEY.slice(0, -1), KEY.slice(1),
    KEY.replace('Q==', 'R=='), KEY.replace('==', '=A'), KEY.replace('d', '-'), KEY.replace('d', '_'), KEY.replace('d', '*'), `${KEY}, ${KEY}`, KEY.replace('G', ' '), `"${KEY}"`, 'x'.repeat(5000)]) {
    cases.push([`Sec-WebSocket-Key: ${value}`, answers(changed({ 'Sec-WebSocket-Key': value }), 400)]);
  }
  cases.push(
    ['no Host', refuses(changed({ Host: undefined }))],
    ['two Hosts', refuses(twice('Host', 'localhost', 'example.org'))],
    ['two keys', refuses(twice('Sec-WebSocket-Key', KEY, KEY))],
    ['two versions', refuses(twice('Sec-WebSocket-Version', '13', '8'))],
    ['two versions alike', refuses(twice('Sec-WebSocket-Version', '13', '13'))],
    ['another origin', answers(changed({ Origin: 'https://elsewhere.example' }), 403)],
    ['no such path', answers(handshake('/nowhere/'), 404)],
    ['a NUL in a field', refuses(changed({ 'X-Field': 'a\0b' }))],
    ['a field without a colon', refuses(changed({}).replace('Upgrade: websocket', 'Upgrade websocket'))],
    ['a space before a colon', refuses(changed({ 'X-Field ': 'a' }))],
  );
  return [...cases, ...accepted(limit)];
}

/** What was asked for with the frames behind it. */
async function opened(peer) {
  const { status } = await peer.ask('');
  assert.equal(status, 101);
}

function accepted(limit) {
  const large = content(BINARY, limit);
  const cases = [
    ['as it is in the RFC', welcomes(changed({}))],
    ['with a query', welcomes(handshake('/echo/?a=b&c'))],
    ['with an origin of its own', welcomes(changed({ Origin: 'http://localhost' }))],
    ['with a subprotocol that the server does not know', welcomes(changed({ 'Sec-WebSocket-Protocol': 'chat, superchat' }))],
    ['with an extension that nobody knows', welcomes(changed({ 'Sec-WebSocket-Extensions': 'foo; bar=1, baz' }))],
    ['with an extension that is none', welcomes(changed({ 'Sec-WebSocket-Extensions': ';;,=' }))],
    ['in small letters', welcomes(changed({}).split('\r\n').map((line, at) => (at === 0 ? line : line.replace(/^[^:]*/, (name) => name.toLowerCase()))).join('\r\n'))],
    ['in capitals', welcomes(changed({}).split('\r\n').map((line, at) => (at === 0 ? line : line.replace(/^[^:]*/, (name) => name.toUpperCase()))).join('\r\n'))],
    ['with spaces around values', welcomes(changed({}).replaceAll(': ', ': \t ').replace(`${KEY}`, `${KEY} \t`))],
    ['without spaces', welcomes(changed({}).replaceAll(': ', ':'))],
    ['octet by octet', inPieces(Buffer.from(changed({})), 1), welcomes('')],
    ['frames in the same packet', Buffer.concat([Buffer.from(changed({})), frame('early')]), opened, gets(TEXT, 'early'), close(), closes(null)],
    ['a large frame in the same packet', Buffer.concat([Buffer.from(changed({})), frame(large, { opcode: BINARY }), frame('more')]), opened, gets(BINARY, large), gets(TEXT, 'more'), close(), closes(null)],
    ['a fault in the same packet', Buffer.concat([Buffer.from(changed({})), frame('early', { rsv: 1 })]), opened, closes(1002)],
    ['half a frame in the same packet', Buffer.concat([Buffer.from(changed({})), frame('early').subarray(0, 3)]), opened, frame('early').subarray(3), gets(TEXT, 'early'), close(), closes(null)],
  ];
  // What is a request's body is no frame, though it look like one.
  const hidden = frame('hidden').toString('latin1');
  cases.push(
    ['with a body', Buffer.from(`${changed({ 'Content-Length': `${hidden.length}` })}${hidden}`, 'latin1'), welcomes('')],
    ['with a chunked body', Buffer.from(`${changed({ 'Transfer-Encoding': 'chunked' })}c\r\n${hidden}\r\n0\r\n\r\n`, 'latin1'), welcomes('')],
  );
  for (const value of ['websocket', 'WebSocket', 'WEBSOCKET', 'h2c, websocket', 'websocket, h2c', ' websocket ']) cases.push([`Upgrade: ${value}`, welcomes(changed({ Upgrade: value }))]);
  for (const value of ['upgrade', 'UPGRADE', 'keep-alive, Upgrade', 'Upgrade, keep-alive', 'keep-alive,upgrade', 'a , Upgrade , b']) cases.push([`Connection: ${value}`, welcomes(changed({ Connection: value }))]);
  for (let seed = 0; seed < 20; seed++) {
    const key = createHash('md5').update(`${seed}`).digest('base64');
    cases.push([`the key ${key}`, welcomes(changed({ 'Sec-WebSocket-Key': key }), key)]);
  }
  return cases;
}
