// Rooms while everything happens at once: clients drop and come back, some read slowly, the worker
// is killed, the configuration is reloaded. In the end what each has heard of a room is what the
// room kept: nothing lost, repeated or out of order, or the client was told.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { order } from './support/command.mjs';
import { slowness, start, temporaryFolder } from './support/server.mjs';
import { compare, historyOf, Witness } from './support/witness.mjs';

const seconds = Number(process.env.SLUICE_CHAOS_SECONDS ?? 12);
const clients = Number(process.env.SLUICE_CHAOS_CLIENTS ?? (slowness === 1 ? 200 : 60));
const rooms = Math.ceil(clients / 10);
const killEvery = Math.min(10, seconds / 3) * 1000;

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const configuration = (layer) => `
listen: {host: 127.0.0.1, port: 0}
control: control
num-threads: 2
plugin-dir: TEST_PLUGINS
layer: ${layer}
hosts:
  default:
    routes:
      - match: /(?P<group>[\\w-]+)/
        consumer: keeper
        history: {messages: 10000, age: 1d, bytes: 64m}
        limits: {queue: 256k}
`;

/** Numbers in [0, 1) that a seed decides. */
function dice(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

async function disturb(server, kills, until) {
  let killed = 0;
  const file = path.join(path.dirname(server.file), 'sluice.yaml');
  const text = fs.readFileSync(file, 'utf8');
  for (let turn = 1; Date.now() < until; turn++) {
    await later(Math.min(killEvery, Math.max(0, until - Date.now())));
    if (Date.now() >= until) break;
    if (kills) {
      const before = server.worker;
      process.kill(before, 'SIGKILL');
      killed++;
    } else {
      fs.writeFileSync(file, text.replace(/queue: \S+k/, `queue: ${256 + turn % 2}k`));
      await order(server, 'reload');
    }
  }
  return killed;
}

const modes = [
  { name: 'in memory, over reloads', layer: () => 'memory', kills: false, mayLose: false },
  { name: 'in a file before it is heard, over kills', kills: true, mayLose: false,
    layer: (folder) => `{sqlite: ${folder}/history.db}` },
  { name: 'heard at once, over kills', kills: true, mayLose: true,
    layer: (folder) => `{sqlite: ${folder}/history.db, deliver: at-once}` },
];

for (const [number, mode] of modes.entries()) {
  test(`${mode.name}: every view of a room is the room's`, async (t) => {
    const folder = temporaryFolder();
    const server = await start(configuration(mode.layer(folder)), folder);
    const seed = Number(process.env.SLUICE_CHAOS_SEED ?? Date.now() % 1000000) + number;
    t.diagnostic(`seed ${seed}`);
    const url = (room) => server.wsUrl(`/room-${room}/`);
    const all = Array.from({ length: clients }, (_, i) => new Witness(`c${i}`, url(i % rooms)));
    const until = Date.now() + seconds * 1000;
    const lives = Promise.all(all.map((witness, i) => witness.live(dice(seed + i * 7919))));
    const killed = await disturb(server, mode.kills, until);
    for (const witness of all) witness.end();
    await lives;

    // All that is said is answered first, so that the rooms are at rest.
    await Promise.all(all.map((witness) => witness.catchUp(() => 0)));
    const histories = await Promise.all(Array.from({ length: rooms }, (_, i) => historyOf(url(i))));
    await Promise.all(all.map((witness, i) =>
      witness.catchUp(() => histories[i % rooms].messages.at(-1)?.offset ?? 0)));

    let heard = 0;
    let said = 0;
    let told = 0;
    for (const [i, witness] of all.entries()) {
      const history = histories[i % rooms];
      compare(witness, history, mode.mayLose);
      heard += witness.heard;
      said += witness.said;
      told += witness.told;
      if (!mode.mayLose) assert.equal(witness.told, 0, `${witness.name} was told of a gap`);
    }
    for (const { messages } of histories) {
      const texts = new Set(messages.map(({ text }) => text));
      assert.equal(texts.size, messages.length, 'something is kept twice');
    }
    if (!mode.mayLose) {
      const kept = new Set(histories.flatMap(({ messages }) => messages.map(({ text }) => text)));
      for (const witness of all)
        for (const key of witness.kept.keys()) assert.ok(kept.has(key), `${key} was said to be kept`);
    }
    assert.ok(said > clients && heard > said, `${said} said, ${heard} heard`);
    if (mode.kills) assert.ok(killed > 0);
    t.diagnostic(`${said} said, ${heard} heard, ${killed} kills, ${told} times told of a gap`);
    await server.stop();
  });
}
