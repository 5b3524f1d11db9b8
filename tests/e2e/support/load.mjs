// Many clients of one server, who count what they hear: members of rooms over ws and wss, requests
// on connections kept and new ones, handshakes. What goes wrong is kept as sentences in `faults`.
import http from 'node:http';
import https from 'node:https';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from './client.mjs';
import { within } from './server.mjs';

const FAULTS_KEPT = 20;

/** A member that expects its room's messages: each sender's own numbers in order, each once. */
class Member {
  #next = new Map(); // a sender's number that is due
  #order = createHash('sha256'); // of all that it heard
  heard = 0;

  constructor(load, client, sender) {
    this.load = load;
    this.client = client;
    this.sender = sender;
    this.sent = 0;
    client.socket.removeAllListeners('message');
    client.socket.on('message', (data) => this.#hear(data.toString()));
    client.socket.on('close', (code) => { if (!load.ending) load.fault(`a member's connection closed with ${code}`); });
  }

  #hear(text) {
    const [sender, number] = text.split(' ').map(Number);
    const due = this.#next.get(sender) ?? 0;
    if (number !== due) this.load.fault(`member ${this.sender} heard ${sender}'s ${number} instead of ${due}`);
    this.#next.set(sender, number + 1);
    this.#order.update(`${text}\n`);
    this.heard++;
    this.load.counts.heard++;
  }

  speak() {
    this.client.send(`${this.sender} ${this.sent++}`);
    this.load.counts.said++;
  }

  order() { return this.#order.copy().digest('hex'); }
}

export class Load {
  counts = { said: 0, heard: 0, kept: 0, fresh: 0, handshakes: 0 };
  faults = [];
  failures = 0;
  ending = false;
  rooms = [];
  #work = [];
  #agents = [];

  /** `server` has an http and an https listener, rooms at /room/NAME/, an echo at /echo/, a file of
   * 1,000 bytes at /static/small.txt, and sends a number as X-Generation: of the configuration that
   * it answers by. `generation()` is what that may be at this moment: {least, most}. */
  constructor(server, { members = 200, size = 10, generation }) {
    Object.assign(this, { server, members, size, generation });
  }

  fault(what) {
    this.failures++;
    if (this.faults.length < FAULTS_KEPT) this.faults.push(what);
  }

  async begin() {
    for (let room = 0; room * this.size < this.members; room++) {
      this.rooms.push(await Promise.all(Array.from({ length: this.size }, async (_, index) =>
        new Member(this, await connect(this.server.wsUrl(`/room/r${room}/`, index % 2 ? 'wss' : 'ws')),
          room * this.size + index))));
    }
    for (let i = 0; i < 8; i++) this.#work.push(this.#keepAsking(i % 2 ? 'https' : 'http', true));
    for (let i = 0; i < 4; i++) this.#work.push(this.#keepAsking(i % 2 ? 'https' : 'http', false));
    for (let i = 0; i < 2; i++) this.#work.push(this.#keepShaking(i % 2 ? 'wss' : 'ws'));
    for (const room of this.rooms) this.#work.push(this.#keepTalking(room));
    return this;
  }

  /** A room's members speak by turns. */
  async #keepTalking(room) {
    for (let turn = 0; !this.ending; turn++) {
      room[turn % room.length].speak();
      await pause(20 + (turn % 7) * 20);
    }
  }

  #agent(scheme, kept) {
    const options = { keepAlive: kept, maxSockets: 1, rejectUnauthorized: false };
    const agent = scheme === 'http' ? new http.Agent(options) : new https.Agent(options);
    this.#agents.push(agent);
    return agent;
  }

  async #ask(scheme, agent, kept, before) {
    const { least } = this.generation();
    const url = this.server.url('/static/small.txt', scheme);
    const request = (scheme === 'http' ? http : https).get(url, { agent, rejectUnauthorized: false });
    const [response] = await within(10, 'an answer', once(request, 'response'));
    let size = 0;
    response.on('data', (data) => { size += data.length; });
    await once(response, 'end');
    const generation = Number(response.headers['x-generation']);
    if (response.statusCode !== 200 || size !== 1000) this.fault(`${url}: status ${response.statusCode}, ${size} bytes`);
    const { most } = this.generation();
    if (!(generation >= least && generation <= most)) {
      this.fault(`an answer by ${generation} instead of ${least} to ${most}, on a ${kept ? 'kept' : 'new'} connection, ${scheme}`);
    }
    if (kept && before && !request.reusedSocket) this.fault('a connection was closed that was to be kept');
    this.counts[kept ? 'kept' : 'fresh']++;
    return response.headers.connection !== 'close';
  }

  async #keepAsking(scheme, kept) {
    const agent = this.#agent(scheme, kept);
    let before = false;
    while (!this.ending) {
      try {
        before = await this.#ask(scheme, agent, kept, before); // a request under way at a reload says close
      } catch (fault) {
        this.fault(`a request over ${scheme}, ${kept ? 'kept' : 'new'}: ${fault.message}`);
      }
      await pause(kept ? 40 : 60);
    }
    agent.destroy();
  }

  async #keepShaking(scheme) {
    while (!this.ending) {
      try {
        const client = await connect(this.server.wsUrl('/echo/', scheme));
        client.send('hello');
        if (await client.next() !== 'hello') this.fault('an echo said something else');
        const { code } = await client.close();
        if (code !== 1000) this.fault(`an echo closed with ${code}`);
        this.counts.handshakes++;
      } catch (fault) {
        this.fault(`a new ${scheme}: ${fault.message}`);
      }
      await pause(30);
    }
  }

  /** Ends all at once, whatever has come of it. */
  abandon() {
    this.ending = true;
    for (const member of this.rooms.flat()) member.client.socket.terminate();
  }

  /** Ends all, and waits until each member has heard what its room said; then compares what the
   * members of a room heard. */
  async end() {
    this.ending = true;
    await Promise.all(this.#work);
    for (const room of this.rooms) {
      const said = room.reduce((sum, member) => sum + member.sent, 0);
      await this.#allHeard(room, said);
      for (const member of room) {
        if (member.heard !== said) this.fault(`a member heard ${member.heard} of ${said} messages`);
        if (member.order() !== room[0].order()) this.fault('two members of a room heard two orders');
      }
      await Promise.all(room.map((member) => member.client.close()));
    }
    return { ...this.counts, failures: this.failures };
  }

  async #allHeard(room, said) {
    for (let wait = 0; wait < 500 && room.some((member) => member.heard < said); wait++) await pause(10);
  }
}
