// The chat over real sockets and two threads: chat.v1 and plain text in one room.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { connect } from './support/client.mjs';
import { enter as enterAt, leave, tell } from './support/room.mjs';
import { start } from './support/server.mjs';

let server;
before(async () => {
  server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /ws/(?P<group>\\w+)/
        consumer: group_chat
        options: {rate: 1000}
      - match: /slow/(?P<group>\\w+)/
        consumer: group_chat
        options: {rate: 2}
`);
});

const enter = (room, query, route = 'ws') => enterAt(server.wsUrl(`/${route}/${room}/?${query}`));

/** A plain client that is a member: it has heard a word of its own. */
async function enterPlain(room, query) {
  const client = await connect(server.wsUrl(`/ws/${room}/?${query}`));
  client.send('hello');
  while (!(await client.next()).endsWith('hello'));
  return client;
}

test('all of a room hear one order, each in its form, and another room nothing', async () => {
  const ann = await enter('order', 'nick=ann');
  const ben = await enter('order', 'nick=ben');
  const plain = await enterPlain('order', 'nick=pat');
  const eve = await enter('cellar', 'nick=eve');
  const count = 100;
  for (let i = 0; i < count; i++) {
    tell(ann, { type: 'say', text: `a${i}` });
    tell(ben, { type: 'say', text: `b${i}` });
    plain.send(`p${i}`);
  }
  const heard = async (client) => {
    const lines = [];
    while (lines.length < 3 * count) {
      const { from, text, time } = await client.until('said');
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      if (text !== 'hello') lines.push(`${from}: ${text}`);
    }
    return lines;
  };
  const [one, two, three] = [await heard(ann), await heard(ben), await plain.take(3 * count)];
  assert.deepEqual(two, one);
  assert.deepEqual(three, one);
  for (const letter of ['ann: a', 'ben: b', 'pat: p']) {
    assert.deepEqual(one.filter((line) => line.startsWith(letter)),
      Array.from({ length: count }, (_, i) => letter + i));
  }
  // What the third hears next is its own: nothing of the other room came before.
  tell(eve, { type: 'say', text: 'only the rats' });
  assert.equal(JSON.parse(await eve.next()).text, 'only the rats');
  await leave(ann, ben, plain, eve);
});

test('plain members hear each of several messages that came in one packet', async () => {
  const members = [];
  for (let i = 0; i < 5; i++) members.push(await enterPlain('packet', ''));
  members[0].send('settled');
  for (const member of members) while (!(await member.next()).endsWith('settled'));
  const words = Array.from({ length: 20 }, (_, i) => `word ${i}`);
  const socket = members[0].socket._socket;
  socket.cork();
  for (const word of words) members[0].send(word);
  socket.uncork();
  for (const member of members) assert.deepEqual(await member.take(words.length), words);
  await leave(...members);
});

test('who is here, who types and who leaves', async () => {
  const ann = await enter('who', 'nick=ann');
  const windows = [await enter('who', 'nick=ben&person=0123456789abcdef'),
    await enter('who', 'nick=ben&person=0123456789abcdef')];
  tell(ann, { type: 'who' });
  const { people, connections } = await ann.until('who');
  assert.deepEqual(people.map(({ nick, windows: count }) => [nick, count]), [['ann', 1], ['ben', 2]]);
  assert.equal(connections, 3);
  tell(windows[0], { type: 'typing' });
  assert.equal((await ann.until('typing')).from, 'ben');
  windows[0].socket.terminate();
  assert.equal((await ann.until('left')).nick, 'ben');
  tell(windows[1], { type: 'close' });
  assert.deepEqual(await windows[1].closed(), { code: 1000, reason: 'as you asked' });
  assert.equal((await ann.until('left')).nick, 'ben');
  await leave(ann);
});

test('of many who come at once with one nick each gets its own', async () => {
  const crowd = await Promise.all(Array.from({ length: 24 }, () => enter('twins', 'nick=ann')));
  const nicks = crowd.map((client) => client.welcome.nick);
  assert.equal(new Set(nicks).size, crowd.length, nicks.join());
  assert.ok(nicks.includes('ann'));
  for (const nick of nicks) assert.match(nick, /^ann( \d+)?$/);
  await leave(...crowd);
});

test('a nick that is taken is refused to who asks for it later', async () => {
  const ann = await enter('taken', 'nick=ann');
  const ben = await enter('taken', 'nick=ben');
  tell(ben, { type: 'nick', nick: 'Ann' });
  const { code, field } = await ben.until('error');
  assert.deepEqual([code, field], ['taken', 'nick']);
  tell(ben, { type: 'nick', nick: 'benny' });
  const { old, new: now } = await ann.until('nick');
  assert.deepEqual([old, now], ['ben', 'benny']);
  await leave(ann, ben);
});

test('a flood is not sent on, and its sender is told', async () => {
  const ann = await enter('flood', 'nick=ann', 'slow');
  for (const text of ['one', 'two', 'three']) tell(ann, { type: 'say', text });
  // The error is for one and has no place in the group's order.
  const messages = (await ann.take(3)).map((text) => JSON.parse(text));
  assert.deepEqual(messages.filter(({ type }) => type === 'said').map(({ text }) => text), ['one', 'two']);
  const { code, retry_ms: retry } = messages.find(({ type }) => type === 'error');
  assert.equal(code, 'flood');
  assert.ok(retry > 0 && retry <= 10000);
  await leave(ann);
});

test('a ref comes back to its sender, said or refused', async () => {
  const ben = await enter('ref', 'nick=ben', 'slow');
  const ann = await enter('ref', 'nick=ann', 'slow');
  tell(ann, { type: 'say', text: 'with a ref', ref: 'm-1' });
  tell(ann, { type: 'say', text: 'x', ref: 'm 2' });
  tell(ann, { type: 'say', text: 'one too many', ref: 'm-3' });
  const heard = (await ann.take(3)).map((text) => JSON.parse(text));
  const said = heard.find(({ type }) => type === 'said');
  assert.deepEqual([said.text, said.ref], ['with a ref', 'm-1']);
  assert.deepEqual(heard.filter(({ type }) => type === 'error').map(({ code, field, ref }) => [code, field, ref]),
    [['invalid', 'ref', undefined], ['flood', '', 'm-3']]);
  assert.deepEqual(await ben.until('said'), said);
  tell(ben, { type: 'say', text: 'without' });
  const other = await ben.until('said');
  assert.equal(other.text, 'without');
  assert.ok(!('ref' in other));
  await leave(ann, ben);
});

test('errors name the field and leave the connection open', async () => {
  const ann = await enter('errors', 'nick=ann');
  for (const [message, expected] of [
    ['no json', 'json '], ['{"type":"shout"}', 'unknown type'], ['{"type":"say","text":1}', 'missing text'],
    [JSON.stringify({ type: 'say', text: 'x'.repeat(4001) }), 'too-long text'],
    [JSON.stringify({ type: 'nick', nick: 'x'.repeat(41) }), 'too-long nick'],
    [JSON.stringify({ type: 'nick', nick: '\u200b' }), 'empty nick'], [Buffer.from([1]), 'binary ']]) {
    ann.send(message);
    const { code, field } = await ann.until('error');
    assert.equal(`${code} ${field}`, expected);
  }
  tell(ann, { type: 'say', text: 'still here' });
  assert.equal((await ann.until('said')).text, 'still here');
  await leave(ann);
});
