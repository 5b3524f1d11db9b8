// What operators see of groups, say to them, and whose connections they end, by the control socket.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { ask, controlOf, order, statusOf } from './support/command.mjs';
import { program, run, start, within } from './support/server.mjs';
import { until } from './support/wait.mjs';

const USAGE = 64;
const DATA = 65;
const HELD = 75;

let server;
before(async () => {
  server = await start(String.raw`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
control: control
plugin-dir: [PLUGINS, TEST_PLUGINS]
hosts:
  default:
    routes:
      - {match: '/rooms/(?P<group>[^/]+)/', consumer: relay, groups: "our rooms", limits: {message: 5m, queue: 10m}}
      - {match: '/kept/(?P<group>[^/]+)/', consumer: keeper, groups: kept, history: {messages: 100}}
      - {match: '/chat/(?P<group>[^/]+)/', consumer: group_chat}
`);
});

/** A member of the room that has heard itself, so that it hears all that follows. */
async function member(room, where = 'rooms') {
  const client = await connect(server.wsUrl(`/${where}/${encodeURIComponent(room)}/`));
  client.send(where === 'kept' ? 'pass here' : 'here');
  while (await client.next() !== 'here');
  return client;
}

const leave = (...clients) => Promise.all(clients.map((client) => client.close()));
const json = async (...words) => JSON.parse(await order(server, ...words, '--json'));

/** A command with something on its standard input: {code, out, err}. */
async function feed(input, ...words) {
  const child = spawn(program, [...words, '--control', controlOf(server)], { stdio: 'pipe' });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { err += text; });
  child.stdin.on('error', () => {}); // it may refuse before it has read all
  child.stdin.end(input);
  const [code] = await within(20, words.join(' '), once(child, 'close'));
  return { code, out, err };
}

describe('sluice publish', () => {
  test('says a text to the members, and to how many', async () => {
    const one = await member('kitchen');
    const two = await member('kitchen');
    assert.equal(await order(server, 'publish', 'our rooms', 'kitchen', 'dinner is ready'), 'sent to 2 members\n');
    assert.equal(await one.next(), 'here'); // the other's
    assert.equal(await one.next(), 'dinner is ready');
    assert.equal(await two.next(), 'dinner is ready');
    assert.equal(await order(server, 'publish', 'our rooms', 'nobody', 'x'), 'sent to 0 members\n');
    await leave(one, two);
  });

  test('reads standard input, to its last byte', async () => {
    const one = await member('long');
    const long = 'é'.repeat(2 << 20);
    for (const words of [['-'], []]) {
      const { code, out, err } = await feed(long, 'publish', 'our rooms', 'long', ...words);
      assert.equal(code, 0, err);
      assert.equal(out, 'sent to 1 members\n');
      assert.ok(await one.next() === long);
    }
    await feed('a line\n', 'publish', 'our rooms', 'long');
    assert.equal(await one.next(), 'a line\n');
    await feed('', 'publish', 'our rooms', 'long');
    assert.equal(await one.next(), '');
    await run('publish', '--control', controlOf(server), '--', 'our rooms', 'long', '--json');
    assert.equal(await one.next(), '--json');
    await leave(one);
  });

  test('keeps what the namespace keeps', async () => {
    const first = await json('publish', 'kept', 'notes', 'one');
    assert.deepEqual(first, { matched: 0, kept: true, position: { epoch: first.position.epoch, offset: 1 } });
    assert.equal(await order(server, 'publish', 'kept', 'notes', 'two'),
      `sent to 0 members, kept as ${first.position.epoch}:2\n`);
    assert.deepEqual(await json('publish', 'our rooms', 'notes', 'x'), { matched: 0, kept: false, position: null });
  });

  test('refuses what is no message here', async () => {
    const refused = async (input, pattern, ...words) => {
      const { code, out, err } = await feed(input, 'publish', ...words);
      assert.equal(out, '');
      assert.match(err, pattern);
      return code;
    };
    assert.equal(await refused(Buffer.from([0x61, 0xff]), /^the message is not UTF-8\n$/, 'our rooms', 'a'), DATA);
    assert.equal(await refused('x'.repeat((64 << 10) + 1), /^a message of `kept` has at most 65536 bytes\n$/, 'kept', 'a'), DATA);
    assert.equal(await refused('x'.repeat(17 << 20), /^a message of `kept` has at most 65536 bytes\n$/, 'kept', 'a'), DATA);
    assert.equal(await refused('x', /^no route has the namespace `our room`; did you mean `our rooms`\?\n$/, 'our room', 'a'), 1);
    assert.equal(await refused('x', /^a group's name is 1 to 200 bytes/, 'kept', ''), USAGE);
    assert.equal(await refused('x', /^a group's name is 1 to 200 bytes/, 'kept', 'a'.repeat(201)), USAGE);
    assert.equal(await refused('x', /no tab and no end of line/, 'kept', 'a\tb'), USAGE);
    assert.equal(await refused('x', /longer than/, 'kept', 'a'.repeat(600)), USAGE);
    assert.equal(await refused('x', /^usage: sluice publish NAMESPACE GROUP/, 'kept'), USAGE);
    assert.equal((await json('groups', 'kept')).groups.some(({ group }) => group === 'a'), false);
  });

  test('does not wait for ever for what was announced', async () => {
    const socket = net.connect(controlOf(server));
    let answer = '';
    socket.setEncoding('utf8').on('data', (text) => { answer += text; });
    socket.write('publish\t10\ttext\tkept\tcut\nfive');
    await within(15, 'the answer', once(socket, 'close'));
    assert.equal(answer, `${DATA}\nthe message did not come\n`);
    assert.equal((await statusOf(server)).threads_held, 0);
  });
});

describe('sluice groups', () => {
  test('lists groups with members or kept messages, by name', async () => {
    const clients = [await member('b'), await member('a'), await member('a'), await member('c', 'kept')];
    await order(server, 'publish', 'kept', 'b', 'x');
    const { groups, more } = await json('groups');
    assert.equal(more, false);
    const found = (space, name) => groups.find(({ namespace, group }) => namespace === space && group === name);
    const only = (namespace, group, members) => ({ namespace, group, members, kept: 0, position: null });
    assert.deepEqual(found('our rooms', 'a'), only('our rooms', 'a', 2));
    assert.deepEqual(found('our rooms', 'b'), only('our rooms', 'b', 1));
    assert.equal(found('kept', 'c').members, 1);
    const { position } = found('kept', 'b');
    assert.match(position.epoch, /^[0-9a-f]{16}$/);
    assert.deepEqual(found('kept', 'b'), { namespace: 'kept', group: 'b', members: 0, kept: 1, position: { epoch: position.epoch, offset: 1 } });
    const names = groups.map(({ namespace, group }) => `${namespace}\0${group}`);
    assert.deepEqual(names, names.toSorted());
    const text = await order(server, 'groups');
    assert.match(text, /^our rooms a: 2 members$/m);
    assert.match(text, new RegExp(`^kept b: 0 members, 1 kept to ${position.epoch}:1$`, 'm'));
    await leave(...clients);
  });

  test('lists one namespace, and no more than it is told to', async () => {
    const clients = await Promise.all(Array.from({ length: 12 }, (_, index) => member(`many ${index}`)));
    const named = async (...words) => json('groups', 'our rooms', ...words);
    assert.ok((await named()).groups.every(({ namespace }) => namespace === 'our rooms'));
    assert.equal((await named()).groups.length, 12);
    assert.equal((await named('--limit', '12')).more, false);
    const cut = await named('--limit', '11');
    assert.deepEqual([cut.groups.length, cut.more], [11, true]);
    assert.match(await order(server, 'groups', 'our rooms', '--limit', '1'), /^our rooms many \d+: 1 members\nand more than these 1: --limit/);
    await leave(...clients);
    await until('the end of the groups', async () => (await named()).groups.length === 0);
    const { code, err } = await ask(server, 'groups', 'nowhere');
    assert.equal(code, 1);
    assert.match(err, /^no route has the namespace `nowhere`/);
  });

  test('takes a limit from 1 to 10000', async () => {
    for (const limit of ['0', '10001', '-1', 'x', '1x', '']) {
      const { code, err } = await ask(server, 'groups', '--limit', limit);
      assert.equal(code, USAGE, limit);
      assert.match(err, /^usage: sluice groups \[NAMESPACE\] \[--limit N\] \[--json\]/);
    }
    await order(server, 'groups', '--limit', '10000');
  });
});

describe('sluice members', () => {
  test('lists them in order of joining, as sluice connections numbers them', async () => {
    const one = await member('kitchen');
    const two = await member('kitchen');
    const { members, total } = await json('members', 'our rooms', 'kitchen');
    assert.equal(total, 2);
    assert.deepEqual(members.map(({ info }) => info), ['', '']);
    const connections = await order(server, 'connections');
    for (const { id } of members) assert.match(connections, new RegExp(`^${id} `, 'm'));
    assert.equal(await order(server, 'members', 'our rooms', 'kitchen'), `${members[0].id}\n${members[1].id}\n`);
    assert.equal(await order(server, 'members', 'our rooms', 'kitchen', '--limit', '1'),
      `${members[0].id}\nand 1 more: --limit shows up to 10000\n`);
    await order(server, 'kick', members[0].id);
    assert.equal((await one.closed()).code, 1008);
    assert.equal((await json('members', 'our rooms', 'kitchen')).total, 1);
    await leave(two);
    assert.equal(await order(server, 'members', 'our rooms', 'nobody'), '');
  });

  test('shows what each is to the others', async () => {
    const client = await connect(server.wsUrl('/chat/talk/?nick=%22Ann%22'), 'chat.v1');
    await client.until('joined');
    const { members } = await json('members', 'default/group_chat', 'talk');
    assert.equal(members.length, 1);
    assert.match(members[0].info, /Ann/);
    await leave(client);
  });
});

describe('sluice history', () => {
  test('shows the last messages with their offsets and times', async () => {
    const from = new Date().toISOString();
    for (let number = 1; number <= 25; number++) await order(server, 'publish', 'kept', 'log', `line ${number}`);
    const all = await json('history', 'kept', 'log', '--last', '100');
    assert.deepEqual(all.messages.map(({ offset, text }) => [offset, text]),
      Array.from({ length: 25 }, (_, index) => [index + 1, `line ${index + 1}`]));
    assert.ok(all.messages.every(({ time }) => time >= from && time <= new Date().toISOString()), all.messages[0].time);
    assert.equal(all.position.offset, 25);
    assert.deepEqual((await json('history', 'kept', 'log')).messages.map(({ offset }) => offset),
      Array.from({ length: 20 }, (_, index) => index + 6));
    assert.equal(await order(server, 'history', 'kept', 'log', '--last', '1'),
      `25 ${all.messages[24].time} "line 25"\n`);
  });

  test('writes nothing that a terminal would act on', async () => {
    const text = 'a\u001b[2Jb\u009bc\u007fd\n"\\é';
    await order(server, 'publish', 'kept', 'evil', text);
    const line = await order(server, 'history', 'kept', 'evil');
    assert.match(line, /"a\\u001b\[2Jb\\u009bc\\u007fd\\u000a\\"\\\\é"\n$/);
    assert.equal((await json('history', 'kept', 'evil')).messages[0].text, text);
  });

  test('of a group that nobody spoke in is empty, and of a namespace that keeps none is refused', async () => {
    assert.equal(await order(server, 'history', 'kept', 'silent'), '');
    assert.deepEqual((await json('history', 'kept', 'silent')).messages, []);
    const { code, err } = await ask(server, 'history', 'our rooms', 'kitchen');
    assert.equal(code, 1);
    assert.equal(err, 'the routes of `our rooms` have no `history`: nothing is kept\n');
  });
});

describe('sluice kick --user', () => {
  const known = async (user) => {
    const client = await member('users', 'kept');
    client.send(`user ${user}`);
    await until('the user to be set', async () => (await client.next()) === 'user ok');
    return client;
  };

  test('ends all connections of that user, on each thread, and no other', async () => {
    const anns = await Promise.all(Array.from({ length: 6 }, () => known('ann smith')));
    const others = [await known('ann'), await known('ann smithson'), await member('users', 'kept')];
    assert.equal((await order(server, 'connections')).match(/, user ann smith$/gm).length, 6);
    assert.equal(await order(server, 'kick', '--user', 'ann smith'),
      '6 connections of user ann smith are closed with 1008\n');
    for (const ann of anns) assert.deepEqual(await ann.closed(), { code: 1008, reason: 'removed by the operator' });
    const { code, err } = await ask(server, 'kick', '--user', 'ann smith');
    assert.equal(code, 1);
    assert.equal(err, 'no connection has the user ann smith\n');
    for (const other of others) {
      other.send('pass still here');
      while (await other.next() !== 'still here');
    }
    await leave(...others);
  });

  test('takes a number or a user, not both and not none', async () => {
    for (const words of [[], ['1', '--user', 'ann'], ['--user'], ['1', '2'], ['--users', 'ann']]) {
      const { code, err } = await ask(server, 'kick', ...words);
      assert.equal(code, USAGE, words.join(' '));
      assert.match(err, /^usage: sluice kick ID \| --user KEY/);
    }
  });
});

after(() => server.stop());
