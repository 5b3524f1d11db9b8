// Groups over real sockets and two threads: who hears, and in which order.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { connect } from './support/client.mjs';
import { slowness, start } from './support/server.mjs';

let server;
before(async () => {
  server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /relay/(?P<group>\\w+)/
        consumer: relay
      - match: /same/(?P<group>\\w+)/
        consumer: relay
      - match: /other/(?P<group>\\w+)/
        consumer: relay
        groups: other
      - match: /slow/(?P<group>\\w+)/
        consumer: relay
        flush-interval: 300ms
`);
});

const members = (count, room) => Promise.all(
  Array.from({ length: count }, () => connect(server.wsUrl(`/relay/${room}/`))));
const leave = (clients) => Promise.all(clients.map((client) => client.close()));

/** Returns when every client is a member: each has heard a word of its own. */
async function settle(clients) {
  await Promise.all(clients.map(async (client, index) => {
    client.send(`hello ${index}`);
    await until(client, `hello ${index}`);
  }));
}

/** Reads until the word, and returns what came before it. */
async function until(client, word) {
  const before = [];
  for (;;) {
    const message = await client.next(20);
    if (message === word) return before;
    before.push(message);
  }
}

test('a member hears the others and itself, and another room hears nothing', async () => {
  const [one, two] = await members(2, 'kitchen');
  const [third] = await members(1, 'cellar');
  await settle([one, two]);
  await settle([third]);
  one.send('dinner is ready');
  await until(one, 'dinner is ready');
  await until(two, 'dinner is ready');
  // What the third hears next is its own: nothing of the other room came before.
  third.send('only the rats');
  assert.deepEqual(await until(third, 'only the rats'), []);
  await leave([one, two, third]);
});

test('binary messages stay binary', async () => {
  const [one, two] = await members(2, 'binary');
  await settle([one, two]);
  one.send(Buffer.from([0, 255, 1]));
  for (;;) {
    const message = await two.next();
    if (typeof message !== 'string') {
      assert.deepEqual(message, Buffer.from([0, 255, 1]));
      break;
    }
  }
  await leave([one, two]);
});

test('routes share their groups unless one has its own namespace', async () => {
  const [one, same, other] = await Promise.all(['relay', 'same', 'other'].map(
    (route) => connect(server.wsUrl(`/${route}/shared/`))));
  await settle([one, same, other]);
  one.send('who is there');
  await until(same, 'who is there');
  other.send('nobody else');
  assert.deepEqual(await until(other, 'nobody else'), []);
  await leave([one, same, other]);
});

test('who has left hears no more, and the room goes on', async () => {
  const [one, two, three] = await members(3, 'leaving');
  await settle([one, two, three]);
  await two.close();
  one.send('after');
  await until(one, 'after');
  await until(three, 'after');
  assert.equal(two.unread.includes('after'), false);
  await leave([one, three]);
});

test('all members hear many publishers in one order, each message once', async () => {
  const publishers = 8;
  const each = Math.ceil(200 / slowness);
  const clients = await members(16, 'order');
  await settle(clients);
  clients[0].send('start');
  await Promise.all(clients.map((client) => until(client, 'start')));

  const heard = clients.map((client) => client.take(publishers * each, 60));
  for (let number = 0; number < each; number++) {
    for (let publisher = 0; publisher < publishers; publisher++) {
      clients[publisher].send(`${publisher} ${number}`);
    }
    // Let the sockets take turns, so that the publishers mix.
    await new Promise((resolve) => { setImmediate(resolve); });
  }
  const [first, ...others] = await Promise.all(heard);
  for (const order of others) assert.deepEqual(order, first);

  const next = new Array(publishers).fill(0);
  for (const message of first) {
    const [publisher, number] = message.split(' ').map(Number);
    assert.equal(number, next[publisher], `publisher ${publisher} is out of order`);
    next[publisher]++;
  }
  assert.deepEqual(next, new Array(publishers).fill(each));
  await leave(clients);
});

test('whoever reacts to a message is heard behind it, by all', async () => {
  const [asker, answerer, ...listeners] = await members(10, 'reaction');
  await settle([asker, answerer, ...listeners]);
  asker.send('start');
  await Promise.all([asker, answerer, ...listeners].map((client) => until(client, 'start')));
  const rounds = 50;
  const heard = [asker, ...listeners].map((client) => client.take(rounds * 2, 60));
  for (let round = 0; round < rounds; round++) {
    asker.send(`ask ${round}`);
    await until(answerer, `ask ${round}`);
    answerer.send(`answer ${round}`);
    await until(answerer, `answer ${round}`);
  }
  const expected = Array.from({ length: rounds }, (_, round) => [`ask ${round}`, `answer ${round}`]).flat();
  for (const order of await Promise.all(heard)) assert.deepEqual(order, expected);
  await leave([asker, answerer, ...listeners]);
});

test('a flush interval lets messages wait for each other', async () => {
  const [publisher] = await members(1, 'interval');
  const listener = await connect(server.wsUrl('/slow/interval/'));
  await settle([publisher, listener]);
  const began = performance.now();
  for (let i = 0; i < 5; i++) {
    publisher.send(`word ${i}`);
    await until(publisher, `word ${i}`);
  }
  const heard = performance.now();
  assert.deepEqual([...await until(listener, 'word 4')].filter((word) => word.startsWith('word')),
    ['word 0', 'word 1', 'word 2', 'word 3']);
  assert.ok(performance.now() - began > 290, 'they left at once');
  assert.ok(heard - began < 290 * slowness, 'the publisher, on another route, waited too');
  await leave([publisher, listener]);
});
