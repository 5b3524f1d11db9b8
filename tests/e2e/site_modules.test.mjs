// The modules of the chat site, each by itself: what is hard to bring about in a browser.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { load, onPage, www } from './support/page.mjs';

const { Line } = await load('line.js');
const { Outbox } = await load('outbox.js');
const { People } = await load('people.js');
const { Place } = await load('place.js');
const { understood } = await load('protocol.js');
const { face, hue, make, nodesOf } = await load('text.js');
const { choose, listed, speak, words } = await load('words.js');
const languages = {};
for (const file of fs.readdirSync(new URL('words', www))) {
  languages[file.replace(/\.js$/, '')] = (await import(new URL(`words/${file}`, www))).default;
}

const ALMOST_ONE = 1 - 2 ** -53;

describe('place', () => {
  const EPOCH = '00000000deadbeef';
  const history = (offset, count, recovered, epoch = EPOCH) => ({ epoch, offset, count, recovered });

  test('is nowhere before the server says so, and shows all then', () => {
    const place = new Place();
    assert.equal(place.known, false);
    assert.equal(place.since, '');
    assert.equal(place.hears({}), true);
    assert.equal(place.hears({}), true);
    assert.equal(place.since, '');
  });

  test('goes on with each message, and knows which come from before', () => {
    const place = new Place();
    assert.equal(place.begin(history(7, 2)), 'first');
    assert.equal(place.replays, true);
    assert.equal(place.hears({ at: 6 }), true);
    assert.equal(place.hears({ at: 7 }), true);
    assert.equal(place.replays, false);
    assert.equal(place.since, `${EPOCH}:7`);
    assert.equal(place.hears({ at: 8 }), true);
    assert.equal(place.since, `${EPOCH}:8`);
  });

  test('an empty room is a place too', () => {
    const place = new Place();
    place.begin(history(0, 0));
    assert.equal(place.since, `${EPOCH}:0`);
  });

  test('shows each message once', () => {
    const place = new Place();
    place.begin(history(2, 2));
    place.hears({ at: 1 });
    place.hears({ at: 2 });
    assert.equal(place.begin(history(3, 1, true)), 'all');
    assert.equal(place.hears({ at: 3 }), true);
    assert.equal(place.hears({ at: 3 }), false);
    assert.equal(place.hears({ at: 2 }), false);
  });

  test('a part that was shown is not shown again, and the next time begins behind it', () => {
    const place = new Place();
    place.begin(history(0, 0));
    place.hears({ at: 4 });
    place.hears({ at: 5 }); // heard, and lost in a crash
    assert.equal(place.begin(history(4, 1, false)), 'part');
    assert.equal(place.hears({ at: 4 }), false);
    assert.equal(place.since, `${EPOCH}:4`);
    assert.equal(place.hears({ at: 1001 }), true);
  });

  test('in another epoch all is new', () => {
    const place = new Place();
    place.begin(history(0, 0));
    place.hears({ at: 9 });
    assert.equal(place.begin(history(1, 1, false, '00000000000000aa')), 'other');
    assert.equal(place.since, '00000000000000aa:0', 'no offset of one epoch in another');
    assert.equal(place.isBefore(place.start, { at: 1 }), true);
    assert.equal(place.hears({ at: 1 }), true);
    assert.equal(place.since, '00000000000000aa:1');
  });

  test('knows the first of what comes from before, also where it is the only one', () => {
    const place = new Place();
    assert.equal(place.begins, false);
    place.begin(history(0, 0));
    assert.equal(place.begins, false);
    for (const count of [1, 2]) {
      place.begin(history(7, count, true));
      assert.equal(place.begins, true);
      place.hears({ at: 8 - count });
      assert.equal(place.begins, false);
    }
  });

  test('a place that was kept is reached when nothing is between', () => {
    const place = new Place();
    place.begin(history(9, 0));
    assert.equal(place.reaches(`${EPOCH}:3`, 4), true);
    assert.equal(place.reaches(`${EPOCH}:3`, 1), true);
    assert.equal(place.reaches(`${EPOCH}:3`, 5), false);
    assert.equal(place.reaches('00000000000000aa:3', 4), false);
    assert.equal(place.reaches('', 1), false);
  });

  test('compares with a place that was kept', () => {
    const place = new Place();
    place.begin(history(9, 1));
    assert.equal(place.isBefore(`${EPOCH}:3`, { at: 4 }), true);
    assert.equal(place.isBefore(`${EPOCH}:4`, { at: 4 }), false);
    assert.equal(place.isBefore('00000000000000aa:3', { at: 4 }), false);
    for (const text of ['', 'x', `${EPOCH}:`, `${EPOCH}:x`]) assert.equal(place.isBefore(text, { at: 4 }), false, text);
  });
});

describe('line', () => {
  const question = { type: 'who' };

  /** A line that has been told to connect, and all that it says. */
  function begin(page) {
    const states = [];
    const heard = [];
    const line = new Line('wss://chat.example/ws/chat/lobby/', 'chat.v1', {
      onMessage: (message) => heard.push(message),
      onState: (state) => states.push(state),
    });
    line.connect();
    return {
      line, states, heard,
      get last() { return states[states.length - 1]; },
      get state() { return this.last.state; },
      get wait() { return this.last.until - page.now; },
      /** Lets the time pass until the next try. */
      comeBack() { page.advance(Math.ceil(this.wait)); },
      /** Loses that many connections before they were open. */
      fail(times) {
        for (let time = 0; time < times; time += 1) {
          if (this.state === 'lost') this.comeBack();
          page.socket.closes(1006);
        }
      },
    };
  }

  /** The same, and it was let in. */
  function open(page) {
    const it = begin(page);
    page.socket.opens();
    return it;
  }

  test('tells its states in order, with what belongs to each', onPage((page) => {
    const { line, states, heard } = begin(page);
    const [first] = page.sockets;
    assert.deepEqual([first.address, first.protocol], ['wss://chat.example/ws/chat/lobby/', 'chat.v1']);
    first.opens();
    first.hears({ type: 'welcome' });
    first.closes(1001, 'going');
    page.advance(500);
    page.socket.opens();
    line.close();
    line.connect();
    page.socket.closes(4001, 'enough');
    assert.deepEqual(states, [
      { state: 'connecting' }, { state: 'open' }, { state: 'lost', until: 1500 },
      { state: 'connecting' }, { state: 'open' }, { state: 'closed', byUser: true },
      { state: 'connecting' }, { state: 'closed', code: 4001, reason: 'enough' },
    ]);
    assert.deepEqual(heard, [{ type: 'welcome' }]);
    assert.equal(page.sockets.length, 3);
  }));

  test('sends when it is open and says whether it did', onPage((page) => {
    const { line } = begin(page);
    assert.equal(line.send(question), false);
    assert.equal(line.open, false);
    page.socket.opens();
    assert.equal(line.open, true);
    assert.equal(line.send({ type: 'say', text: 'a "b"' }), true);
    assert.deepEqual(page.socket.sent, [{ type: 'say', text: 'a "b"' }]);
    page.socket.closes(1006);
    assert.equal(line.send(question), false);
    assert.equal(page.socket.sent.length, 1);
  }));

  for (const [random, name] of [[0, 'nothing'], [0.5, 'half'], [ALMOST_ONE, 'all']]) {
    test(`waits up to 1, 2, 4 … 30 seconds: ${name} of that`, onPage((page) => {
      page.random = random;
      const it = begin(page);
      for (const [time, longest] of [1, 2, 4, 8, 16, 30, 30, 30, 30].entries()) {
        page.socket.closes(1006);
        assert.equal(it.state, 'lost');
        const whole = 1000 * longest * random;
        assert.ok(Math.abs(it.wait - whole) < 1e-6, `${it.wait} instead of ${whole}`);
        if (whole > 0) {
          page.advance(whole - 1);
          assert.equal(page.sockets.length, time + 1, 'not before');
        }
        page.advance(1);
        assert.equal(page.sockets.length, time + 2, 'and then at once');
        assert.equal(it.state, 'connecting');
      }
    }));
  }

  test('draws each wait anew', onPage((page) => {
    const it = begin(page);
    it.fail(6);
    const waits = [0.1, 0.9, 0.3].map((random) => {
      it.comeBack();
      page.random = random;
      page.socket.closes(1006);
      return Math.round(it.wait);
    });
    assert.deepEqual(waits, [3000, 27000, 9000]);
  }));

  describe('after five losses', () => {
    /** It was open for so long, and lost. */
    function openFor(page, ms) {
      page.random = ALMOST_ONE;
      const it = begin(page);
      it.fail(5);
      it.comeBack();
      page.socket.opens();
      page.advance(ms);
      page.socket.closes(1006);
      return it;
    }

    test('10 seconds of being open make waits short again', onPage((page) => {
      assert.equal(Math.round(openFor(page, 10001).wait), 1000);
    }));

    test('less does not', onPage((page) => {
      assert.equal(Math.round(openFor(page, 9999).wait), 30000);
    }));

    test('nor does a handshake that takes as long', onPage((page) => {
      page.random = ALMOST_ONE;
      const it = begin(page);
      it.fail(5);
      it.comeBack();
      page.advance(14999);
      assert.equal(it.state, 'connecting');
      page.socket.closes(1006);
      assert.equal(Math.round(it.wait), 30000);
    }));

    test('they grow again after that', onPage((page) => {
      const it = openFor(page, 60000);
      it.fail(1);
      assert.equal(Math.round(it.wait), 2000);
      it.fail(1);
      assert.equal(Math.round(it.wait), 4000);
    }));

    test('a steady connection that the user closed counts too', onPage((page) => {
      page.random = ALMOST_ONE;
      const it = begin(page);
      it.fail(5);
      it.comeBack();
      page.socket.opens();
      page.advance(3600000);
      it.line.close();
      it.line.connect();
      page.socket.closes(1006);
      assert.equal(Math.round(it.wait), 1000);
    }));
  });

  const signs = {
    online: (page) => page.window.fire('online'),
    pageshow: (page) => page.window.fire('pageshow'),
    'becoming visible': (page) => page.show(),
  };

  for (const [name, happens] of Object.entries(signs)) {
    test(`${name} tries at once, and only once`, onPage((page) => {
      page.random = ALMOST_ONE;
      const it = begin(page);
      it.fail(6);
      page.advance(1000);
      assert.equal(it.state, 'lost');
      assert.ok(it.wait > 28000);
      happens(page);
      page.advance(0);
      assert.equal(it.state, 'connecting');
      assert.equal(page.sockets.length, 7);
      page.socket.opens();
      page.advance(60000);
      assert.equal(page.sockets.length, 7, 'the wait that it cut short is over');
      assert.equal(it.state, 'open');
    }));

    test(`${name} asks an open connection whether it lives`, onPage((page) => {
      const it = open(page);
      page.socket.hears({ type: 'welcome' });
      happens(page);
      assert.deepEqual(page.socket.sent, [question]);
      page.advance(5000);
      assert.equal(it.state, 'lost');
    }));

    test(`${name} leaves a closed connection and one that is being made alone`, onPage((page) => {
      const it = begin(page);
      happens(page);
      page.advance(1000);
      assert.equal(page.sockets.length, 1);
      it.line.close();
      happens(page);
      page.advance(60000);
      assert.equal(page.sockets.length, 1);
      assert.deepEqual(it.states.map(({ state }) => state), ['connecting', 'closed']);
    }));
  }

  test('all signs at once make one try', onPage((page) => {
    page.random = ALMOST_ONE;
    begin(page).fail(6);
    page.advance(1000);
    for (const happens of Object.values(signs)) happens(page);
    page.advance(0);
    for (const happens of Object.values(signs)) happens(page);
    page.advance(1000);
    assert.equal(page.sockets.length, 7);
  }));

  test('signs without end do not make tries without end', onPage((page) => {
    page.random = ALMOST_ONE;
    begin(page);
    for (let time = 0; time < 100; time += 1) {
      if (page.socket.state !== 'gone') page.socket.closes(1006);
      page.window.fire('online');
      page.advance(10);
    }
    assert.ok(page.sockets.length >= 4, 'a sign counts soon after a try too');
    assert.ok(page.sockets.length <= 5, `${page.sockets.length} tries in a second`);
  }));

  test('a hidden page waits for its time', onPage((page) => {
    page.random = ALMOST_ONE;
    const it = begin(page);
    it.fail(6);
    page.advance(1000);
    page.hide();
    page.window.fire('online');
    page.window.fire('pageshow');
    page.advance(28000);
    assert.equal(it.state, 'lost');
    page.advance(1000);
    assert.equal(it.state, 'connecting');
    page.socket.opens();
    page.hide();
    page.window.fire('online');
    assert.deepEqual(page.socket.sent, []);
  }));

  describe('a server that says when to come back', () => {
    for (const [code, reason, random, wait] of [
      [1012, 'retry=20000', 0, 20000], [1012, 'retry=20000', 0.5, 22500], [1013, 'retry=20000', ALMOST_ONE, 25000],
      [1012, 'retry=0', 0, 0], [1012, 'retry=0', ALMOST_ONE, 1000], [1012, 'retry=2000', ALMOST_ONE, 3000],
      [1012, 'retry=300000', 0, 300000], [1012, 'retry=300001', 0, 300000],
      [1012, 'retry=999999999999999', ALMOST_ONE, 375000],
    ]) {
      test(`${code} ${reason}, and ${random.toFixed(1)} of what is between`, onPage((page) => {
        const it = open(page);
        page.random = random;
        page.socket.closes(code, reason);
        assert.deepEqual([it.state, it.last.code, Math.round(it.wait)], ['lost', code, wait]);
        if (wait > 1) {
          page.advance(wait - 2);
          assert.equal(page.sockets.length, 1, 'not before');
        }
        page.advance(2);
        assert.equal(page.sockets.length, 2);
      }));
    }

    for (const [code, reason] of [
      [1001, 'retry=20000'], [1006, 'retry=20000'], [1011, 'retry=20000'], [1012, ''], [1012, 'retry='],
      [1012, 'retry=-1'], [1012, 'retry=1e9'], [1012, 'retry=20000.5'], [1012, ' retry=20000'],
      [1012, 'retry=20000 ms'], [1012, 'retry=0x4e20'], [1012, 'retry=1000000000000000'],
      [1012, 'retry=20000\nretry=1'], [1013, 'the server is busy'], [1012, undefined],
    ]) {
      test(`${code} ${JSON.stringify(reason)} says nothing of the kind`, onPage((page) => {
        const it = open(page);
        page.random = 0.5;
        page.socket.closes(code, reason);
        assert.deepEqual(it.last, { state: 'lost', until: page.now + 500 });
      }));
    }

    test('is not asked before, whatever the browser says; its user may', onPage((page) => {
      const it = open(page);
      page.random = 0.5;
      page.socket.closes(1012, 'retry=20000');
      for (const happens of [() => page.window.fire('online'), () => page.window.fire('pageshow')]) {
        happens();
        page.advance(5000);
      }
      assert.equal(page.sockets.length, 1);
      page.advance(10000); // what was asked for is over, what is between is not
      page.window.fire('online');
      page.advance(0);
      assert.equal(page.sockets.length, 2);
      page.socket.closes(1012, 'retry=20000');
      it.line.connect();
      assert.equal(page.sockets.length, 3);
    }));

    test('binds for that once', onPage((page) => {
      const it = open(page);
      page.random = ALMOST_ONE;
      page.socket.closes(1012, 'retry=20000');
      it.comeBack();
      page.socket.closes(1006);
      assert.equal(Math.round(it.wait), 2000);
      assert.equal('code' in it.last, false);
      page.window.fire('online');
      page.advance(250);
      assert.equal(page.sockets.length, 3);
    }));
  });

  for (const code of [1000, 1008, 4000, 4001, 4999]) {
    test(`${code} is final`, onPage((page) => {
      const it = open(page);
      page.socket.closes(code, 'because');
      assert.deepEqual(it.last, { state: 'closed', code, reason: 'because' });
      assert.equal(page.pending, 0);
      for (const happens of Object.values(signs)) happens(page);
      page.advance(3600000);
      assert.equal(page.sockets.length, 1);
      assert.equal(it.state, 'closed');
    }));
  }

  for (const code of [1001, 1002, 1005, 1006, 1009, 1011, 1012, 1013, 1015, 3000, 3999]) {
    test(`after ${code} it comes back`, onPage((page) => {
      const it = open(page);
      page.socket.closes(code);
      assert.equal(it.state, 'lost');
      page.advance(500);
      assert.equal(it.state, 'connecting');
      assert.equal(page.sockets.length, 2);
    }));
  }

  test('a handshake has 15 seconds', onPage((page) => {
    const it = begin(page);
    const [first] = page.sockets;
    page.advance(14999);
    assert.equal(it.state, 'connecting');
    page.advance(1);
    assert.equal(it.state, 'lost');
    assert.deepEqual(first.closed, [1000]);
  }));

  test('once open, it may be silent for as long as it likes', onPage((page) => {
    const it = begin(page);
    page.advance(14000);
    page.socket.opens();
    page.advance(3600000);
    assert.equal(it.state, 'open');
    assert.deepEqual(page.socket.closed, []);
  }));

  describe('in doubt', () => {
    test('it is lost after 5 seconds of silence', onPage((page) => {
      const it = open(page);
      page.socket.hears({ type: 'welcome' });
      it.line.doubt(question);
      assert.deepEqual(page.socket.sent, [question]);
      page.advance(4999);
      assert.equal(it.state, 'open');
      page.advance(1);
      assert.equal(it.state, 'lost');
      assert.deepEqual(page.socket.closed, [1000]);
    }));

    test('that holds before the first message too', onPage((page) => {
      const it = open(page);
      it.line.doubt(question);
      assert.deepEqual(page.socket.sent, [question]);
      page.advance(5000);
      assert.equal(it.state, 'lost');
    }));

    for (const message of ['{"type":"typing"}', '1', 'no JSON']) {
      test(`any message clears it: ${message}`, onPage((page) => {
        const it = open(page);
        page.socket.hears({ type: 'welcome' });
        it.line.doubt(question);
        page.advance(4999);
        page.socket.hears(message);
        page.advance(3600000);
        assert.equal(it.state, 'open');
        it.line.doubt(question);
        assert.equal(page.socket.sent.length, 2, 'it may be doubted again');
        page.advance(5000);
        assert.equal(it.state, 'lost');
      }));
    }

    test('asking again prolongs nothing', onPage((page) => {
      const it = open(page);
      page.socket.hears({ type: 'welcome' });
      it.line.doubt(question);
      page.advance(4000);
      it.line.doubt(question);
      assert.equal(page.socket.sent.length, 1);
      page.advance(1000);
      assert.equal(it.state, 'lost');
    }));

    test('without a question it only waits', onPage((page) => {
      const it = open(page);
      it.line.doubt();
      assert.deepEqual(page.socket.sent, []);
      page.advance(5000);
      assert.equal(it.state, 'lost');
    }));

    test('there is none in a connection that is not open', onPage((page) => {
      const it = begin(page);
      it.line.doubt(question);
      page.advance(14999);
      assert.equal(it.state, 'connecting');
      it.line.close();
      it.line.doubt(question);
      it.line.doubt();
      assert.equal(page.pending, 0);
      assert.deepEqual(page.socket.sent, []);
    }));

    test('a final close ends it', onPage((page) => {
      const it = open(page);
      it.line.doubt(question);
      page.socket.closes(1008);
      assert.equal(page.pending, 0);
      assert.equal(it.state, 'closed');
    }));
  });

  test('a socket that was given up has no effect any more', onPage((page) => {
    const it = begin(page);
    page.advance(15000 + 500);
    const [old, current] = page.sockets;
    assert.equal(page.sockets.length, 2);
    old.opens();
    assert.equal(it.state, 'connecting');
    current.opens();
    old.hears({ type: 'said' });
    old.closes(1008, 'late');
    assert.equal(it.state, 'open');
    assert.deepEqual(it.heard, []);
    it.line.doubt(question);
    old.hears({ type: 'said' });
    page.advance(5000);
    assert.equal(it.state, 'lost', 'it is no sign of life either');
    assert.deepEqual(it.states.map(({ state }) => state),
      ['connecting', 'lost', 'connecting', 'open', 'lost']);
  }));

  test('the user closes it for good', onPage((page) => {
    const it = open(page);
    it.line.close();
    assert.deepEqual(it.last, { state: 'closed', byUser: true });
    assert.deepEqual(page.socket.closed, [1000]);
    page.socket.closes(1006);
    for (const happens of Object.values(signs)) happens(page);
    page.advance(3600000);
    assert.equal(it.states.length, 3);
    assert.equal(page.sockets.length, 1);
  }));

  test('the user may close it while it waits', onPage((page) => {
    const it = begin(page);
    it.fail(1);
    it.line.close();
    assert.equal(page.pending, 0);
    page.advance(3600000);
    assert.equal(it.state, 'closed');
    assert.equal(page.sockets.length, 1);
  }));

  test('the user need not wait', onPage((page) => {
    const it = begin(page);
    it.fail(1);
    it.line.connect();
    assert.equal(it.state, 'connecting');
    page.socket.opens();
    page.advance(3600000);
    assert.equal(page.sockets.length, 2, 'the wait is over');
    assert.equal(it.state, 'open');
  }));

  test('the user may connect anew over an open connection', onPage((page) => {
    const it = open(page);
    it.line.connect();
    assert.deepEqual(page.sockets[0].closed, [1000]);
    page.socket.opens();
    page.sockets[0].closes(1000);
    assert.equal(it.state, 'open');
  }));

  test('an address that changes counts from the next connection', onPage((page) => {
    const it = open(page);
    it.line.address = 'wss://chat.example/ws/chat/lobby/?nick=Anna';
    page.socket.closes(1006);
    page.advance(500);
    assert.equal(page.socket.address, it.line.address);
  }));

  test('at the end it hears no more of anything', onPage((page) => {
    const it = open(page);
    assert.equal(page.window.listeners, 2);
    assert.equal(page.document.listeners, 1);
    it.line.end();
    assert.equal(page.window.listeners + page.document.listeners, 0);
    assert.equal(page.pending, 0);
    assert.deepEqual(page.socket.closed, [1000]);
    page.socket.hears({ type: 'said' });
    page.socket.closes(1006);
    page.advance(3600000);
    assert.equal(page.sockets.length, 1);
    assert.equal(it.states.length, 2);
    assert.deepEqual(it.heard, []);
  }));

  test('at the end it sends no more', onPage((page) => {
    const it = open(page);
    it.line.end();
    assert.equal(it.line.open, false);
    assert.equal(it.line.send(question), false);
    it.line.doubt(question);
    assert.equal(page.pending, 0);
  }));

  for (const text of ['', '{', '{"type":"said"', 'null', 'true', '7', '"said"', '[{"type":"said"}]', 'undefined']) {
    test(`hears objects alone, not ${text || 'nothing'}`, onPage((page) => {
      const it = open(page);
      page.socket.hears(text);
      assert.deepEqual(it.heard, []);
      assert.equal(it.state, 'open');
      page.socket.hears('{"type":"said"}');
      assert.deepEqual(it.heard, [{ type: 'said' }]);
    }));
  }
});

describe('outbox', () => {
  /** An outbox and its surroundings. */
  function make(page) {
    const it = { up: true, sent: [], silences: 0, shown: [] };
    it.box = new Outbox({
      send: (message) => {
        if (it.up) it.sent.push(message);
        return it.up;
      },
      changed: () => { it.shown = it.box.entries.map(({ text, state }) => `${text}: ${state}`); },
      silent: () => { it.silences += 1; },
    });
    it.texts = () => it.sent.map(({ text }) => text);
    it.ref = (text) => it.box.entries.find((entry) => entry.text === text).ref;
    it.confirm = (text) => it.box.said(it.ref(text));
    it.refuse = (text, code, more) => it.box.refused({ ref: it.ref(text), code, ...more });
    it.lose = () => {
      it.up = false;
      it.box.lost();
    };
    it.return = () => {
      it.up = true;
      it.box.pump();
    };
    it.add = (...texts) => texts.map((text) => it.box.add(text));
    it.page = page;
    return it;
  }

  const onBox = (act) => onPage((page) => act(make(page), page));

  test('sends one after the other, in order, each when the one before is confirmed', onBox((it) => {
    it.add('a', 'b', 'c');
    assert.deepEqual(it.shown, ['a: sending', 'b: waiting', 'c: waiting']);
    assert.deepEqual(it.texts(), ['a']);
    it.box.pump();
    assert.deepEqual(it.texts(), ['a'], 'one on its way at a time');
    assert.equal(it.confirm('a'), true);
    assert.deepEqual(it.shown, ['b: sending', 'c: waiting']);
    it.confirm('b');
    it.confirm('c');
    assert.deepEqual(it.texts(), ['a', 'b', 'c']);
    assert.deepEqual(it.shown, []);
    assert.equal(it.page.pending, 0);
  }));

  test('gives each a ref of its own that the protocol allows', onBox((it) => {
    it.add('same', 'same', 'same');
    for (let sent = 0; sent < 3; sent += 1) it.box.said(it.sent[sent].ref);
    const refs = it.sent.map(({ type, text, ref, ...more }) => {
      assert.deepEqual([type, text, more], ['say', 'same', {}]);
      assert.match(ref, /^[A-Za-z0-9_-]{20,40}$/);
      return ref;
    });
    assert.equal(new Set(refs).size, 3);
  }));

  test('knows its own by the ref alone', onBox((it) => {
    it.add('a', 'b');
    assert.equal(it.box.said('f00d'), false);
    assert.equal(it.box.refused({ ref: 'f00d', code: 'busy' }), false);
    assert.equal(it.box.refused({ code: 'json' }), false);
    assert.deepEqual(it.shown, ['a: sending', 'b: waiting']);
    assert.deepEqual(it.texts(), ['a']);
  }));

  test('keeps all while there is no connection', onBox((it) => {
    it.up = false;
    it.add('a', 'b');
    assert.deepEqual(it.shown, ['a: waiting', 'b: waiting']);
    assert.equal(it.page.pending, 0);
    it.return();
    assert.deepEqual(it.texts(), ['a']);
  }));

  test('what came too fast goes out by itself in its time, before the others', onBox((it, page) => {
    it.add('a', 'b');
    const ref = it.ref('a');
    assert.equal(it.refuse('a', 'flood', { retry_ms: 4210 }), true);
    assert.deepEqual(it.shown, ['a: slowed', 'b: waiting']);
    assert.equal(it.box.entries[0].until, page.now + 4210);
    page.advance(4209);
    assert.deepEqual(it.texts(), ['a']);
    page.advance(1);
    assert.deepEqual(it.texts(), ['a', 'a']);
    assert.equal(it.sent[1].ref, ref, 'it is the same message');
    assert.deepEqual(it.shown, ['a: sending', 'b: waiting']);
    assert.equal(it.silences, 0);
    it.box.said(ref);
    assert.deepEqual(it.texts(), ['a', 'a', 'b']);
  }));

  test('waits a second when the server names no time', onBox((it, page) => {
    it.add('a');
    it.refuse('a', 'flood');
    page.advance(999);
    assert.equal(it.sent.length, 1);
    page.advance(1);
    assert.equal(it.sent.length, 2);
  }));

  test('what is added meanwhile does not make it earlier', onBox((it, page) => {
    it.add('a');
    it.refuse('a', 'flood', { retry_ms: 3000 });
    page.advance(1000);
    it.add('b');
    assert.equal(page.pending, 1);
    page.advance(1999);
    assert.deepEqual(it.texts(), ['a']);
    page.advance(1);
    assert.deepEqual(it.texts(), ['a', 'a']);
  }));

  test('a slowed one waits for the connection without a stir', onBox((it, page) => {
    it.add('a');
    it.refuse('a', 'flood', { retry_ms: 3000 });
    it.lose();
    it.add('b');
    page.advance(60000);
    it.add('c');
    page.advance(60000);
    assert.equal(page.pending, 0);
    assert.deepEqual(it.shown, ['a: slowed', 'b: waiting', 'c: waiting']);
    it.return();
    assert.deepEqual(it.texts(), ['a', 'a']);
    it.confirm('a');
    assert.deepEqual(it.texts(), ['a', 'a', 'b']);
  }));

  test('a slowed one keeps its time when the connection comes back before', onBox((it, page) => {
    it.add('a');
    it.refuse('a', 'flood', { retry_ms: 3000 });
    it.lose();
    page.advance(1000);
    it.return();
    assert.equal(it.sent.length, 1);
    page.advance(2000);
    assert.equal(it.sent.length, 2);
  }));

  for (const code of ['too-long', 'empty', 'invalid', 'busy', 'something new']) {
    test(`refused as ${code}, it stays with that and the rest goes on`, onBox((it, page) => {
      it.add('a', 'b');
      assert.equal(it.refuse('a', code, { retry_ms: 1 }), true);
      assert.deepEqual(it.shown, ['a: refused', 'b: sending']);
      assert.equal(it.box.entries[0].error, code);
      it.confirm('b');
      page.advance(60000);
      assert.deepEqual(it.texts(), ['a', 'b']);
      assert.deepEqual(it.shown, ['a: refused']);
    }));
  }

  test('what was on its way when the connection went is unknown; the rest goes on', onBox((it) => {
    it.add('a', 'b', 'c');
    it.lose();
    assert.deepEqual(it.shown, ['a: unknown', 'b: waiting', 'c: waiting']);
    assert.equal(it.page.pending, 0, 'nobody is asked about it any more');
    it.return();
    assert.deepEqual(it.shown, ['a: unknown', 'b: sending', 'c: waiting']);
    it.confirm('b');
    it.confirm('c');
    it.lose();
    it.return();
    assert.deepEqual(it.texts(), ['a', 'b', 'c'], 'it is not sent twice by itself');
    assert.deepEqual(it.shown, ['a: unknown']);
  }));

  test('a server that keeps each ref once gets it again by itself, first of all', onBox((it) => {
    it.box.safe = true;
    it.add('a', 'b');
    const ref = it.ref('a');
    it.lose();
    assert.deepEqual(it.shown, ['a: unsure', 'b: waiting']);
    it.return();
    assert.deepEqual(it.texts(), ['a'], 'not before it is known to remember');
    it.box.back(true);
    assert.deepEqual(it.shown, ['a: sending', 'b: waiting']);
    assert.deepEqual(it.sent.map((message) => message.ref), [ref, ref]);
    it.confirm('a');
    it.confirm('b');
    assert.deepEqual(it.texts(), ['a', 'a', 'b']);
  }));

  test('one that has forgotten does not: somebody has to decide', onBox((it) => {
    it.box.safe = true;
    it.add('a', 'b');
    const ref = it.ref('a');
    it.lose();
    it.return();
    it.box.back(false);
    assert.deepEqual(it.shown, ['a: unknown', 'b: sending']);
    it.confirm('b');
    it.box.again(ref);
    assert.equal(it.sent.at(-1).ref, ref, 'the same ref, which is kept once');
  }));

  test('what an earlier page left goes when it is known that it may', onBox((it) => {
    const entry = (text, state, more) => ({ ref: `ref-${text}`, text, state, ...more });
    it.box.restore([entry('a', 'refused', { error: 'busy' }), entry('b', 'sending'),
      entry('c', 'slowed', { until: 1e9 }), entry('d', 'waiting')]);
    assert.deepEqual(it.shown, ['a: refused', 'b: unsure', 'c: waiting', 'd: waiting']);
    it.return();
    assert.deepEqual(it.texts(), []);
    it.box.back(true);
    for (const text of ['b', 'c', 'd']) it.confirm(text);
    assert.deepEqual(it.sent.map(({ ref }) => ref), ['ref-b', 'ref-c', 'ref-d']);
    assert.deepEqual(it.shown, ['a: refused']);
    assert.equal(it.box.entries[0].error, 'busy');
  }));

  test('no more is taken from an earlier page than has room', onBox((it) => {
    it.box.restore(Array.from({ length: 30 }, (_, one) => ({ ref: `${one}`, text: 'x', state: 'waiting' })));
    assert.equal(it.box.entries.length, 20);
    assert.equal(it.box.add('more'), false);
  }));

  test('again sends it as a new message, behind the others', onBox((it) => {
    it.add('a', 'b', 'c');
    const before = it.ref('a');
    it.lose();
    it.return();
    it.box.again(before);
    assert.deepEqual(it.shown, ['b: sending', 'c: waiting', 'a: waiting']);
    assert.notEqual(it.ref('a'), before);
    it.confirm('b');
    it.confirm('c');
    assert.equal(it.sent[3].ref, it.ref('a'));
    assert.deepEqual(it.texts(), ['a', 'b', 'c', 'a']);
    it.box.again('f00d');
    assert.deepEqual(it.shown, ['a: sending']);
  }));

  test('again sends a refused one at once when nothing else waits', onBox((it) => {
    it.add('a');
    it.refuse('a', 'busy');
    it.box.again(it.ref('a'));
    assert.deepEqual(it.shown, ['a: sending']);
    assert.deepEqual(it.texts(), ['a', 'a']);
  }));

  test('discard forgets it', onBox((it, page) => {
    it.add('a', 'b', 'c');
    it.lose();
    it.box.discard(it.ref('a'));
    it.box.discard(it.ref('c'));
    assert.deepEqual(it.shown, ['b: waiting']);
    it.return();
    it.refuse('b', 'flood', { retry_ms: 3000 });
    it.box.discard(it.ref('b'));
    assert.equal(page.pending, 0);
    page.advance(60000);
    assert.deepEqual(it.texts(), ['a', 'b']);
  }));

  test('takes 20', onBox((it) => {
    for (let number = 1; number <= 20; number += 1) assert.equal(it.box.add(`${number}`), true);
    assert.equal(it.box.add('21'), false);
    assert.equal(it.box.entries.length, 20);
    assert.equal(it.shown.includes('21: waiting'), false);
    it.refuse('1', 'busy');
    assert.equal(it.box.add('21'), false, 'what waits for a decision counts');
    it.box.again(it.ref('1'));
    assert.equal(it.box.entries.length, 20, 'but may go again');
    it.confirm('2');
    assert.equal(it.box.add('21'), true);
  }));

  test('says once that there is silence after 8 seconds', onBox((it, page) => {
    it.add('a', 'b');
    page.advance(7999);
    assert.equal(it.silences, 0);
    page.advance(1);
    assert.equal(it.silences, 1);
    page.advance(7999);
    assert.equal(it.silences, 1);
    assert.deepEqual(it.shown, ['a: sending', 'b: waiting']);
    it.confirm('a');
    page.advance(8000);
    assert.equal(it.silences, 2, 'each has its own time');
  }));

  test('what stays without an answer on a connection that lives holds up nothing', onBox((it, page) => {
    it.add('a', 'b');
    page.advance(16000);
    assert.deepEqual(it.shown, ['a: unknown', 'b: sending']);
    it.confirm('a');
    it.confirm('b');
    assert.deepEqual(it.shown, []);
    assert.equal(page.pending, 0);
  }));

  test('an answer is no silence', onBox((it, page) => {
    it.add('a');
    page.advance(7000);
    it.confirm('a');
    page.advance(60000);
    it.add('b');
    page.advance(7000);
    it.refuse('b', 'busy');
    page.advance(60000);
    it.add('c');
    page.advance(7000);
    it.lose();
    page.advance(60000);
    assert.equal(it.silences, 0);
  }));

  for (const act of ['discard', 'again']) {
    test(`${act} of another does not end the watch for silence`, onBox((it, page) => {
      it.add('a', 'b');
      it.refuse('a', 'busy');
      page.advance(4000);
      it.box[act](it.ref('a'));
      assert.equal(it.shown[0], 'b: sending');
      page.advance(3999);
      assert.equal(it.silences, 0);
      page.advance(1);
      assert.equal(it.silences, 1);
    }));
  }

  test('clear forgets all', onBox((it, page) => {
    it.add('a', 'b');
    it.box.clear();
    assert.deepEqual(it.shown, []);
    assert.equal(page.pending, 0);
    page.advance(60000);
    assert.equal(it.silences, 0);
    it.add('c');
    assert.deepEqual(it.texts(), ['a', 'c']);
  }));

  test('sends only what JSON in UTF-8 can say', onBox((it) => {
    it.add('\udfffa\ud800b', '\udc00', 'c\0d', 'pair \u{1f600}');
    for (let sent = 0; sent < 4; sent += 1) it.box.said(it.sent[sent].ref);
    assert.deepEqual(it.texts(), ['\ufffda\ufffdb', '\ufffd', 'c\ufffdd', 'pair \u{1f600}']);
  }));
});

describe('people', () => {
  const ann = { id: '01', nick: 'Ann' };
  const ben = { id: '02', nick: 'ben' };
  const here = (people, self) => people.list(self).map(({ nick, windows }) => `${nick} ${windows}`);

  function make(...all) {
    const people = new People('en');
    people.replace({ people: all.map((one) => ({ windows: 1, ...one })), unnamed: 2, connections: all.length + 2 });
    return people;
  }

  test('nobody is there at first', onPage(() => {
    const people = new People('en');
    assert.deepEqual([people.count, people.unnamed, people.connections], [0, 0, 0]);
    assert.deepEqual([people.list(''), people.typing], [[], []]);
  }));

  test('who replaces all', onPage(() => {
    const people = make(ann);
    people.joined({ id: '03', nick: 'Cleo' });
    people.replace({ people: [{ ...ben, windows: 3 }], unnamed: 7, connections: 10 });
    assert.deepEqual(here(people), ['ben 3']);
    assert.deepEqual([people.count, people.unnamed, people.connections], [1, 7, 10]);
  }));

  test('a message is not changed by what happens later', onPage(() => {
    const message = { people: [{ ...ann, windows: 1 }], unnamed: 0, connections: 1 };
    const people = new People('en');
    people.replace(message);
    people.joined(ann);
    assert.equal(message.people[0].windows, 1);
  }));

  test('somebody with several windows is one, and is there until the last has left', onPage(() => {
    const people = make(ben);
    people.joined(ann);
    people.joined(ann);
    assert.deepEqual(here(people), ['Ann 2', 'ben 1']);
    assert.deepEqual([people.count, people.connections], [2, 5]);
    people.left(ann);
    assert.deepEqual(here(people), ['Ann 1', 'ben 1']);
    assert.ok(people.has('01'));
    people.left(ann);
    assert.deepEqual(here(people), ['ben 1']);
    assert.deepEqual([people.count, people.connections], [1, 3]);
    assert.ok(!people.has('01'));
  }));

  test('who is not known cannot leave', onPage(() => {
    const people = make(ann);
    people.left(ben);
    people.left({ id: '01', nick: 'Anna' });
    assert.deepEqual(here(people), ['Ann 1']);
    assert.equal(people.connections, 3);
  }));

  test('people of the same name are two', onPage(() => {
    const people = make(ann);
    people.joined({ id: '09', nick: 'Ann' });
    assert.equal(people.count, 2);
    people.left(ann);
    assert.ok(people.has('09') && !people.has('01'));
  }));

  test('each window takes a new name by itself', onPage(() => {
    const people = make({ ...ann, windows: 2 });
    people.renamed({ id: '01', from: 'Ann', old: 'Ann', new: 'Anna' });
    assert.deepEqual(here(people), ['Ann 1', 'Anna 1']);
    assert.ok(people.has('01', 'Ann') && people.has('01', 'Anna') && !people.has('01', 'Annb'));
    people.renamed({ id: '01', from: 'Ann', old: 'Ann', new: 'Anna' });
    assert.deepEqual(here(people), ['Anna 2']);
    assert.ok(!people.has('01', 'Ann'));
    assert.equal(people.connections, 3);
  }));

  test('lists by name as the language has it, oneself in front', onPage(() => {
    const people = make({ id: '1', nick: 'Zoë' }, { id: '2', nick: 'ämil' }, { id: '3', nick: 'Bo' },
      { id: '4', nick: 'anna' });
    const names = (list) => list.map(({ nick }) => nick).join(' ');
    assert.equal(names(people.list('')), 'ämil anna Bo Zoë');
    assert.equal(names(people.list('1')), 'Zoë ämil anna Bo');
    const swedish = new People('sv');
    swedish.replace({ people: people.list(''), unnamed: 0, connections: 4 });
    assert.equal(names(swedish.list('')), 'anna Bo Zoë ämil');
  }));

  test('lists a hundred and counts all', onPage(() => {
    const all = Array.from({ length: 250 }, (_, number) => ({ id: `${number}`, nick: `n${1000 + number}` }));
    const people = make(...all);
    const list = people.list('249');
    assert.equal(list.length, 100);
    assert.deepEqual([list[0].nick, list[1].nick, list[99].nick], ['n1249', 'n1000', 'n1098']);
    assert.equal(people.count, 250);
  }));

  test('somebody types for 4 seconds after the last word of it', onPage((page) => {
    const people = make(ann, ben);
    people.types({ ...ann, from: 'Ann' });
    page.advance(3000);
    people.types({ ...ben, from: 'ben' });
    assert.deepEqual(people.typing, ['Ann', 'ben']);
    page.advance(999);
    assert.deepEqual(people.typing, ['Ann', 'ben']);
    page.advance(1);
    assert.deepEqual(people.typing, ['ben']);
    people.types({ ...ben, from: 'ben' });
    page.advance(3999);
    assert.deepEqual(people.typing, ['ben']);
    page.advance(1);
    assert.deepEqual(people.typing, []);
  }));

  test('who has spoken or left types no more', onPage(() => {
    const people = make({ ...ann, windows: 2 }, ben, { id: '03', nick: 'Cleo' });
    for (const one of people.list('')) people.types({ id: one.id, from: one.nick });
    people.stopsTyping('02');
    assert.deepEqual(people.typing, ['Ann', 'Cleo']);
    people.left(ann);
    assert.deepEqual(people.typing, ['Ann', 'Cleo'], 'another window may');
    people.left(ann);
    assert.deepEqual(people.typing, ['Cleo']);
    people.hush();
    assert.deepEqual(people.typing, []);
    assert.equal(people.count, 2);
  }));

  test('clear forgets all', onPage(() => {
    const people = make(ann);
    people.types({ ...ann, from: 'Ann' });
    people.clear();
    assert.deepEqual([people.count, people.unnamed, people.connections], [0, 0, 0]);
    assert.deepEqual([people.list('01'), people.typing], [[], []]);
  }));
});

describe('protocol', () => {
  const whole = {
    welcome: {
      id: '1', nick: 'Ann', room: 'lobby', greeting: '', limits: { nick: 40, text: 4000, rate: 20, seconds: 10 },
    },
    said: { id: '1', from: '', time: '2026-03-01T18:04:05.123Z', text: 'a' },
    joined: { id: '1', nick: 'Ann', windows: 1 },
    left: { id: '1', nick: 'Ann' },
    nick: { id: '1', from: 'Ann', old: 'Ann', new: 'Anna' },
    typing: { id: '1', from: 'Ann' },
    who: { people: [{ id: '1', nick: 'Ann', windows: 2 }], unnamed: 0, connections: 2 },
    error: { code: 'busy', field: '', message: 'not now' },
  };
  const optional = { welcome: ['room'], joined: ['windows'], nick: ['from'] };

  for (const [type, members] of Object.entries(whole)) {
    test(`${type} is understood, and not without a member or with one of another type`, () => {
      assert.ok(understood({ type, ...members }));
      assert.ok(understood({ type, ...members, more: [] }), 'what is not known is ignored');
      for (const name of Object.keys(members)) {
        if (optional[type]?.includes(name)) continue;
        for (const value of [undefined, null, true, ['a'], typeof members[name] === 'string' ? 1 : 'a']) {
          assert.ok(!understood({ type, ...members, [name]: value }), `${name}: ${value}`);
        }
      }
    });
  }

  test('nobody in who may be less than a person', () => {
    for (const person of [null, 'Ann', {}, { id: '1', nick: 'Ann' }, { id: '1', windows: 1 },
      { nick: 'Ann', windows: 1 }]) {
      assert.ok(!understood({ type: 'who', ...whole.who, people: [...whole.who.people, person] }));
    }
    assert.ok(!understood({ type: 'who', ...whole.who, people: {} }));
    assert.ok(understood({ type: 'who', ...whole.who, people: [] }));
  });

  test('a welcome names the limits that the page needs', () => {
    for (const limits of [{}, { nick: 40 }, { text: 4000 }, { nick: '40', text: 4000 }, { nick: 40, text: null }]) {
      assert.ok(!understood({ type: 'welcome', ...whole.welcome, limits }));
    }
    assert.ok(understood({ type: 'welcome', ...whole.welcome, limits: { nick: 40, text: 4000 } }));
  });

  test('no other type is', () => {
    for (const type of ['', 'say', 'Said', 'toString', '__proto__', 'constructor', null, 1, undefined]) {
      assert.ok(!understood({ type, ...whole.said }), String(type));
    }
  });
});

describe('words', () => {
  const shipped = ['en', 'zh-CN'];

  for (const [wanted, found] of [
    [['zh'], 'zh-CN'], [['zh-TW'], 'zh-CN'], [['zh-Hans-CN'], 'zh-CN'], [['ZH-cn'], 'zh-CN'], [['ZH-TW'], 'zh-CN'],
    [['fr', 'en'], 'en'], [['fr', 'zh', 'en'], 'zh-CN'], [['en-GB', 'zh-CN'], 'en'], [['zh-HK', 'en'], 'zh-CN'],
    [['fr', 'de'], 'en'], [[], 'en'], [['zhx', 'e'], 'en'],
  ]) {
    test(`of ${wanted.join(', ') || 'none'} the page speaks ${found}`, () => {
      assert.equal(choose(wanted, shipped), found);
      assert.equal(choose(wanted), found, 'with what there is');
    });
  }

  test('the exact one goes before another of the same language', () => {
    assert.equal(choose(['zh-TW'], ['en', 'zh-CN', 'zh-TW']), 'zh-TW');
    assert.equal(choose(['zh-tw'], ['zh-CN', 'zh-TW']), 'zh-TW');
    assert.equal(choose(['pt'], ['en', 'pt-BR', 'pt']), 'pt');
    assert.equal(choose(['pt-AO'], ['en', 'pt-BR', 'pt']), 'pt-BR');
  });

  test('each file is a language of the page', async () => {
    for (const name of Object.keys(languages)) {
      const page = await load('words.js', [name]);
      assert.equal(page.language, name);
      assert.equal(page.words, languages[name]);
    }
  });

  test('times are written as the reader writes them', async () => {
    assert.equal((await load('words.js', ['en-GB', 'en'])).locale, 'en-GB');
    assert.equal((await load('words.js', ['fr-CH', 'zh-TW', 'en'])).locale, 'zh-TW');
    assert.equal((await load('words.js', ['fr-CH'])).locale, 'en');
  });

  test('names are listed as the language does it', async () => {
    assert.equal(listed(['Ann']), 'Ann');
    assert.equal(listed(['Ann', 'Ben']), 'Ann and Ben');
    assert.equal(listed(['Ann', 'Ben', 'Cleo', 'Dan']), 'Ann, Ben, Cleo, and Dan');
    assert.equal(listed(['Ann', 'Ben', 'Cleo', 'Dan', 'Eve']), 'Ann, Ben, Cleo, and 2 more');
    assert.equal((await load('words.js', ['zh'])).listed(['安', '本', '克']), '安、本和克');
  });

  const shape = (value) => (typeof value === 'object'
    ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, shape(value[key])])) : typeof value);

  /** Each word with its path: "errors.flood". */
  function* each(all, path = '') {
    for (const [key, value] of Object.entries(all)) {
      if (typeof value === 'object') yield* each(value, `${path}${key}.`);
      else yield [`${path}${key}`, value];
    }
  }

  for (const [name, own] of Object.entries(languages)) {
    describe(name, () => {
      const english = Object.fromEntries(each(words));

      test('has the words that English has', () => assert.deepEqual(shape(own), shape(words)));

      test('has something to say in each', () => {
        for (const [key, value] of each(own)) {
          const said = typeof value === 'function'
            ? [[0, 0], [1, 1], [2, 2], [1234, 1234], [-1, -1]].map((values) => value(...values)) : [value];
          for (const text of said) {
            assert.equal(typeof text, 'string', key);
            assert.match(text, /\S/, key);
            assert.doesNotMatch(text, /undefined|NaN|null|\[object|=>|\$\{/, key);
          }
        }
      });

      test('says what it is told wherever English does', () => {
        for (const [key, value] of each(own)) {
          if (typeof value !== 'function') continue;
          for (const number of [11, 22]) {
            const expected = english[key](11, 22).includes(number);
            assert.equal(value(11, 22).includes(number), expected, `${key}: ${value(11, 22)}`);
          }
        }
      });

      test('tells why the server closed, with and without a reason', () => {
        assert.match(own.closedByServer(1008, 'no more'), /no more.*1008/);
        assert.match(own.closedByServer(1000, ''), /1000/);
        assert.doesNotMatch(own.closedByServer(1000, ''), /[:：]\s*[(（]/);
      });
    });
  }

  test('all words that the page uses are there', () => {
    const read = (file) => fs.readFileSync(new URL(file, www), 'utf8');
    const used = [];
    for (const file of ['chat.js', 'log.js']) used.push(...read(file).matchAll(/\bwords\.(?!js\b)(\w+)/g));
    used.push(...read('index.html').matchAll(/data-(?:word|label)="([^"]*)"/g));
    assert.ok(used.length > 40, `${used.length} are used`);
    for (const [, name] of used) assert.ok(Object.hasOwn(words, name), name);
    for (const [, name] of read('index.html').matchAll(/data-(?:word|label)="([^"]*)"/g)) {
      assert.equal(typeof words[name], 'string', name);
    }
    for (const state of ['connecting', 'open', 'lost', 'closed', 'waiting', 'sending', 'unknown', 'refused', 'again',
      'discard']) assert.equal(typeof words[state], 'string', state);
  });

  test('elements get the words that they name', onPage((page) => {
    const word = page.document.createElement('p');
    const label = page.document.createElement('p');
    word.dataset.word = 'enter';
    label.dataset.label = 'messages';
    speak({ querySelectorAll: (which) => ({ '[data-word]': [word], '[data-label]': [label] })[which] });
    assert.equal(page.document.documentElement.lang, 'en');
    assert.equal(word.textContent, words.enter);
    assert.equal(label.attributes['aria-label'], words.messages);
    assert.equal(label.textContent, '');
  }));
});

describe('text', () => {
  const isText = (node) => typeof node === 'string';
  const textOf = (nodes) => nodes.map((node) => (isText(node) ? node : node.textContent)).join('');

  /** What nodesOf makes of it, with links in angle brackets. */
  const shown = (text) => nodesOf(text).map((node) => (isText(node) ? node : `<${node.textContent}>`)).join('');

  const cases = {
    'addresses of http and https': [
      ['http://a.example', '<http://a.example>'],
      ['see https://a.example/b?c=d&e=f#g now', 'see <https://a.example/b?c=d&e=f#g> now'],
      ['HTTPS://A.example/B', '<HTTPS://A.example/B>'],
      ['http://a.example:8080/ http://b.example', '<http://a.example:8080/> <http://b.example>'],
      ['line\nhttp://a.example\tb', 'line\n<http://a.example>\tb'],
      ['看https://例子.example/路径 吧', '看<https://例子.example/路径> 吧'],
      ['http://[::1]:8080/', '<http://[::1]:8080/>'],
    ],
    'no punctuation behind': [
      ['Is it http://a.example?', 'Is it <http://a.example>?'],
      ['http://a.example/b.c, then', '<http://a.example/b.c>, then'],
      ['http://a.example/...!?;:', '<http://a.example/>...!?;:'],
      ['http://a.example/b?c.', '<http://a.example/b?c>.'],
      ['"http://a.example/"', '"<http://a.example/>"'],
      ["'http://a.example/'", "'<http://a.example/>'"],
      ['`http://a.example/`', '`<http://a.example/>`'],
      ['看 https://a.example/。对吗？', '看 <https://a.example/。对吗>？'],
      ['（https://a.example/b）。', '（<https://a.example/b>）。'],
      ['《https://a.example/b》…', '《<https://a.example/b>》…'],
    ],
    'brackets that belong to it': [
      ['(see http://a.example/b)', '(see <http://a.example/b>)'],
      ['(see http://a.example/b).', '(see <http://a.example/b>).'],
      ['http://a.example/b_(c)', '<http://a.example/b_(c)>'],
      ['(http://a.example/b_(c))', '(<http://a.example/b_(c)>)'],
      ['(http://a.example/b_(c).)', '(<http://a.example/b_(c)>.)'],
      ['((http://a.example/)).).', '((<http://a.example/>)).).'],
      ['http://a.example/(b', '<http://a.example/(b>'],
      ['http://a.example/b)c', '<http://a.example/b)c>'],
      ['[http://a.example/]', '[<http://a.example/>]'],
      ['<http://a.example/>', '<<http://a.example/>>'],
      ['{http://a.example/}', '{<http://a.example/>}'],
    ],
    'nothing that reads like another place': [
      ['https://bank.example@evil.example/', 'https://bank.example@evil.example/'],
      ['https://bank.example:443@evil.example/', 'https://bank.example:443@evil.example/'],
      ['http://:secret@evil.example/', 'http://:secret@evil.example/'],
      ['http://@evil.example/ http://b.example', '<http://@evil.example/> <http://b.example>'],
      ['http://a.example/@b', '<http://a.example/@b>'],
      ['http:////user@evil.example', 'http:////user@evil.example'],
      ['http://a.example\\@evil.example', '<http://a.example>\\@evil.example'],
    ],
    'nothing but http and https': [
      ['javascript:alert(1)', 'javascript:alert(1)'],
      ['JaVaScRiPt:alert(1)//http', 'JaVaScRiPt:alert(1)//http'],
      ['javascript://a.example/%0aalert(1)', 'javascript://a.example/%0aalert(1)'],
      ['data:text/html,<script>alert(1)</script>', 'data:text/html,<script>alert(1)</script>'],
      ['data:text/html;base64,PHNjcmlwdD4=', 'data:text/html;base64,PHNjcmlwdD4='],
      ['file:///etc/passwd ftp://a.example blob:x', 'file:///etc/passwd ftp://a.example blob:x'],
      ['www.a.example //a.example http:a.example', 'www.a.example //a.example http:a.example'],
      ['vbscript:x ws://a.example', 'vbscript:x ws://a.example'],
    ],
    'nothing that is no address': [
      ['', ''],
      ['http:// https://', 'http:// https://'],
      ['http://... http://)', 'http://... http://)'],
      ['http://a.example:99999/', 'http://a.example:99999/'],
      ['http://%zz/ http://a.example', 'http://%zz/ <http://a.example>'],
      ['<b>bold</b> &amp; <img src=x onerror=alert(1)>', '<b>bold</b> &amp; <img src=x onerror=alert(1)>'],
    ],
  };

  for (const [name, all] of Object.entries(cases)) {
    test(`${name} become links`, onPage(() => {
      for (const [text, expected] of all) assert.equal(shown(text), expected);
    }));
  }

  test('what a link leads to is what it shows, in a window that knows nothing of this one', onPage(() => {
    const [before, link, after] = nodesOf('see http://A.example:80/b/../c.');
    assert.deepEqual([before, after], ['see ', '.']);
    assert.equal(link.tag, 'a');
    assert.equal(link.textContent, 'http://A.example:80/b/../c');
    assert.equal(link.href, 'http://a.example/c');
    assert.equal(link.title, link.href);
    assert.equal(link.target, '_blank');
    for (const word of ['noopener', 'noreferrer', 'nofollow', 'ugc']) assert.ok(link.rel.split(' ').includes(word));
  }));

  test('letters that only look Latin are seen in the title', onPage(() => {
    const [link] = nodesOf('https://b\u0430nk.example/');
    assert.equal(link.title, 'https://xn--bnk-6cd.example/');
  }));

  test('characters that show nothing end an address', onPage(() => {
    for (const code of [0x00, 0x07, 0x7f, 0x85, 0xa0, 0xad, 0x061c, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f,
      0x2028, 0x202a, 0x202e, 0x2060, 0x2063, 0x2066, 0x2069, 0x3000, 0xfeff, 0xfff9, 0xe0001, 0xe0041]) {
      const character = String.fromCodePoint(code);
      const nodes = nodesOf(`http://a.example/b${character}c.example`);
      assert.equal(nodes[0].textContent, 'http://a.example/b', code.toString(16));
      assert.deepEqual(nodes.slice(1), [`${character}c.example`]);
    }
  }));

  test('markup stays text', onPage(() => {
    const markup = '<a href="javascript:alert(1)">x</a>';
    assert.deepEqual(nodesOf(markup), [markup]);
    const element = make('div', 'said', ...nodesOf(markup));
    assert.deepEqual([element.tag, element.className, element.children], ['div', 'said', [markup]]);
    assert.equal(make('div', '').className, undefined);
  }));

  /** Numbers that look random and are the same each time: mulberry32. */
  function generator(seed) {
    let state = seed;
    return (below) => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
    };
  }

  const PIECES = ['http://', 'https://', 'HTTP://', 'http:', '//', 'javascript:', 'data:text/html,',
    'a.example', 'b', '.', ',', ')', '(', '[', ']', '）', '。', '?', '!', ':', ';', '@', '/', '\\', '#', '%',
    '%00', '&amp;', '<', '>', '"', "'", ' ', '\n', '\0', '\u200b', '\u202e', '\ufeff', '\u00ad', '\ud800',
    '\udc00', '\u{1f600}', '例', '1', '::', '{', '|'];

  test('a text stays whole and in order, and every link is one that may be followed', onPage(() => {
    const random = generator(3);
    let links = 0;
    for (let time = 0; time < 5000; time += 1) {
      const text = Array.from({ length: random(24) }, () => PIECES[random(PIECES.length)]).join('');
      const nodes = nodesOf(text);
      const at = JSON.stringify(text);
      assert.equal(textOf(nodes), text, at);
      for (const node of nodes) {
        assert.ok(isText(node) ? node !== '' : node.textContent !== '', at);
        if (isText(node)) continue;
        links += 1;
        const { protocol, username, password, href } = new URL(node.href);
        assert.ok(['http:', 'https:'].includes(protocol), at);
        assert.deepEqual([username, password], ['', ''], at);
        assert.equal(new URL(node.textContent).href, href, at);
        assert.doesNotMatch(node.textContent, /[\s\p{Cf}\p{Cc}<>"'`\\]|[.,;:!?。）\]]$/u, at);
      }
    }
    assert.ok(links > 500, `${links} links`);
  }));

  test('a text made to take long does not', onPage(() => {
    for (const tail of [')'.repeat(20000), `${'.'.repeat(60000)}a`, ').'.repeat(30000), 'http://'.repeat(10000),
      '('.repeat(60000)]) {
      const begun = Date.now();
      const text = `http://a.example/${tail}`;
      assert.equal(textOf(nodesOf(text)), text);
      assert.ok(Date.now() - begun < 1000, `${Date.now() - begun} ms for ${tail.slice(0, 8)}…`);
    }
  }));

  test('a face shows how the name begins and is for the eye only', onPage(() => {
    const sign = (nick) => face('5f0c', nick).textContent;
    assert.deepEqual(['Ann', 'Ann Bee', 'Ann Bee Cee', '安娜', '👩‍👩‍👧 x', ''].map(sign),
      ['A', 'AB', 'AB', '安', '👩‍👩‍👧x', '?']);
    const { attributes, properties } = face('5f0c', 'Ann');
    assert.equal(attributes['aria-hidden'], 'true');
    assert.equal(properties['--hue'], hue('5f0c'));
  }));

  test('the colour of an id is always the same, and ids have many', () => {
    const hues = Array.from({ length: 200 }, (_, number) => hue(`${number}`));
    assert.ok(hues.every((angle) => angle >= 0 && angle < 360 && angle % 15 === 0));
    assert.equal(new Set(hues).size, 24);
    assert.equal(hue('5f0c1d9be2a47783'), hue(['5f0c', '1d9be2a47783'].join('')));
  });
});
