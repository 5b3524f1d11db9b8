// The chat over real sockets and two threads: chat.v1 and plain text in one room.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { connect } from './support/client.mjs';
import { enter as enterAt, leave, tell } from './support/room.mjs';
import { slowness, start, temporaryFolder } from './support/server.mjs';

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
      - match: /kept/(?P<group>\\w+)/
        consumer: group_chat
        groups: kept
        options: {rate: 1000, last: 3}
        history: {messages: 20}
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

const ANN = 'nick=ann&person=annannannannannann';
const BEN = 'nick=ben&person=benbenbenbenbenben';
const TIMES = ['one', 'two', 'three', 'four', 'five'];

/** Who comes to a room that keeps: what it was told first, and then given of what was said. */
async function come(room, query, at = server) {
  const client = await connect(at.wsUrl(`/kept/${room}/?${query}`), 'chat.v1');
  client.history = await client.until('history');
  client.caughtUp = [];
  while (client.caughtUp.length < client.history.count) client.caughtUp.push(await client.until('said'));
  return client;
}

/** Says it and waits until it has come back. */
async function say(client, text, ref) {
  tell(client, { type: 'say', text, ref });
  return client.until('said', (said) => said.text === text);
}

/** The next so many messages of these types. */
async function heard(client, count, ...types) {
  const messages = [];
  while (messages.length < count) {
    const message = JSON.parse(await client.next());
    if (types.includes(message.type)) messages.push(message);
  }
  return messages;
}

const place = ({ history: { epoch } }, offset) => `since=${epoch}:${offset}`;
const texts = (messages) => messages.map(({ text }) => text);

test('a newcomer is given the last messages as they were said, then the live ones', async () => {
  const ann = await come('new', ANN);
  assert.equal(ann.history.offset, 0);
  assert.match(ann.history.epoch, /^[0-9a-f]{16}$/);
  const said = [];
  for (const text of TIMES) said.push(await say(ann, text));
  const ben = await come('new', BEN);
  assert.deepEqual(ben.caughtUp, said.slice(-3));
  assert.deepEqual(ben.history, { type: 'history', epoch: ann.history.epoch, offset: said[4].at, count: 3 });
  const live = await say(ann, 'live');
  assert.ok(live.at > said[4].at);
  assert.deepEqual(await ben.until('said'), live);
  await leave(ann, ben);
});

test('a plain member hears the last lines first', async () => {
  const ann = await come('lines', ANN);
  for (const text of TIMES) await say(ann, text);
  const plain = await connect(server.wsUrl('/kept/lines/?nick=pat'));
  assert.deepEqual(await plain.take(3), ['ann: three', 'ann: four', 'ann: five']);
  plain.send('thanks');
  assert.equal((await ann.until('said')).text, 'thanks');
  assert.equal(await plain.next(), 'pat: thanks');
  await leave(ann, plain);
});

test('who comes back while others talk has heard all of it once', async () => {
  const ann = await come('back', ANN);
  let ben = await come('back', BEN);
  const words = [];
  const count = 60;
  for (let i = 0; i < count; i++) {
    tell(ann, { type: 'say', text: `${i}` });
    if (i % 4 !== 3) continue;
    // Lost in the midst of it: what had come and was not looked at has not been heard.
    words.push(await ben.until('said'));
    ben.socket.terminate();
    ben = await come('back', `${BEN}&${place(ben, words.at(-1).at)}`);
    assert.equal(ben.history.recovered, true);
    words.push(...ben.caughtUp);
  }
  while (words.length < count) words.push(await ben.until('said'));
  assert.deepEqual(texts(words), Array.from({ length: count }, (_, i) => `${i}`));
  await leave(ann, ben);
});

test('what can not be resumed is told: gone, of another epoch, or no place at all', async () => {
  const ann = await come('gap', ANN);
  const first = await say(ann, 'first');
  for (let i = 0; i < 21; i++) await say(ann, `${i}`);
  for (const since of [place(ann, first.at), 'since=0123456789abcdef:1', 'since=yesterday']) {
    const ben = await come('gap', `${BEN}&${since}`);
    assert.equal(ben.history.recovered, false);
    assert.deepEqual(texts(ben.caughtUp), ['18', '19', '20']);
    await leave(ben);
  }
  await leave(ann);
});

test('what is said again with its ref is heard once', async () => {
  const ann = await come('again', ANN);
  const ben = await come('again', BEN);
  for (let i = 0; i < 3; i++) tell(ann, { type: 'say', text: 'hello', ref: 'm-1' });
  const answers = await heard(ann, 3, 'said', 'kept');
  const { at } = answers.find(({ type }) => type === 'said');
  const kept = { type: 'kept', ref: 'm-1', at };
  assert.deepEqual(answers.filter(({ type }) => type === 'kept'), [kept, kept]);
  await leave(ann);
  // Another connection of the same person does not know either whether it came through.
  const back = await come('again', `${ANN}&${place(ann, at)}`);
  assert.deepEqual(back.caughtUp, []);
  tell(back, { type: 'say', text: 'hello', ref: 'm-1' });
  assert.deepEqual(await back.until('kept'), kept);
  // The ref of another person is another one.
  tell(ben, { type: 'say', text: 'hello too', ref: 'm-1' });
  assert.deepEqual(texts([await ben.until('said'), await ben.until('said')]), ['hello', 'hello too']);
  await leave(back, ben);
});

test('an open connection asks for what it missed', async () => {
  const ann = await come('resume', ANN);
  const said = [];
  for (const text of TIMES) said.push(await say(ann, text));
  const ask = (request) => { tell(ann, { type: 'resume', ...request }); return ann.until('history'); };
  const { epoch } = ann.history;
  const behind = await ask({ since: `${epoch}:${said[2].at}` });
  assert.deepEqual(behind, { type: 'history', epoch, offset: said[4].at, count: 2, recovered: true,
    messages: said.slice(3) });
  assert.deepEqual((await ask({ last: 1 })).messages, said.slice(4));
  assert.equal((await ask({ since: 'yesterday' })).recovered, false);
  tell(ann, { type: 'resume', since: 7 });
  const { code, field } = await ann.until('error');
  assert.deepEqual([code, field], ['invalid', 'since']);
  await leave(ann);
});

test('a room that keeps nothing says nothing of it', async () => {
  const ann = await connect(server.wsUrl(`/ws/plain/?${ANN}&since=0123456789abcdef:1`), 'chat.v1');
  for (let i = 0; i < 2; i++) tell(ann, { type: 'say', text: 'once', ref: 'm-1' });
  const answers = await heard(ann, 2, 'said', 'kept', 'history');
  for (const { type, at } of answers) assert.deepEqual([type, at], ['said', undefined]);
  await leave(ann);
});

/** As come, of a server whose worker may be about to end or to start. */
async function comeBack(at, room, query, seconds = 20) {
  const until = Date.now() + seconds * slowness * 1000;
  for (;;) {
    try {
      return await come(room, query, at);
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}

for (const [name, layer, lasts] of [['a file', '{sqlite: history.db}', true], ['memory', 'memory', false]]) {
  test(`with ${name}, a room whose worker was killed ${lasts ? 'goes on' : 'begins anew'}`, async () => {
    const folder = temporaryFolder();
    const own = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
layer: ${layer}
hosts:
  default:
    routes:
      - match: /kept/(?P<group>\\w+)/
        consumer: group_chat
        history: {messages: 100}
`, folder);
    const ann = await come('lobby', ANN, own);
    const said = [];
    for (const text of TIMES) said.push(await say(ann, text, text));
    const killed = own.worker;
    process.kill(killed, 'SIGKILL');
    await ann.closed();
    const back = await comeBack(own, 'lobby', `${ANN}&${place(ann, said[2].at)}`);
    assert.notEqual(own.worker, killed);
    assert.equal(back.history.recovered, lasts);
    assert.equal(back.history.epoch === ann.history.epoch, lasts);
    assert.deepEqual(back.caughtUp, lasts ? said.slice(3) : []);
    // Whoever does not know whether the last one came through says it again.
    tell(back, { type: 'say', text: 'five', ref: 'five' });
    if (lasts) assert.deepEqual(await back.until('kept'), { type: 'kept', ref: 'five', at: said[4].at });
    const next = await (lasts ? say(back, 'six') : back.until('said'));
    assert.equal(next.id, said[0].id, 'a person has one id');
    if (lasts) assert.ok(next.at > said[4].at);
    await leave(back);
    await own.stop();
  });
}
