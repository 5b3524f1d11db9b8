// The chat against people who mean harm, by sockets: what they send comes out as data or is refused
// and told, and the others talk on.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { connect } from './support/client.mjs';
import { Raw, closeOf, frame, handshake } from './support/raw.mjs';
import { enter, leave, tell } from './support/room.mjs';
import { slowness, start } from './support/server.mjs';

const MEGABYTE = 1 << 20;
const EMOJI = '🌊';
const SCRIPT = '<script>alert(1)</script><img src=x onerror="alert(2)">';
const ZALGO = `a${'\u0301\u0489\u035b\u0316'.repeat(50)}`;

let server;
before(async () => {
  server = await start(`
listen: {host: 127.0.0.1, port: 0}
num-threads: 2
plugin-dir: PLUGINS
hosts:
  default:
    routes:
      - match: /ws/(?P<group>[^/]+)/
        consumer: group_chat
        options: {rate: 1000}
      - match: /narrow/(?P<group>\\w+)/
        consumer: group_chat
      - match: /wide/(?P<group>\\w+)/
        consumer: group_chat
        options: {text: 512k, rate: 1000}
        limits: {message: 8m, queue: 8m}
`);
});

const query = (members) => new URLSearchParams(members).toString();
const address = (room, members = {}, route = 'ws') =>
  server.wsUrl(`/${route}/${encodeURIComponent(room)}/?${query(members)}`);

/** A member of the room who sends what act(mallory) does while two others are there. */
async function among(room, act, route = 'ws') {
  const amy = await enter(address(room, { nick: 'amy' }, route));
  const bob = await enter(address(room, { nick: 'bob' }, route));
  const mallory = await enter(address(room, { nick: 'mallory' }, route));
  await act({ mallory, amy, bob });
  // Amy talks on, and what Mallory did has brought Bob nothing that the test did not look at.
  tell(amy, { type: 'say', text: 'and then?' });
  assert.equal((await bob.until('said')).text, 'and then?');
  await leave(amy, bob, mallory);
}

/** What the client is told next: of an error the code and the field, "code field". */
async function refusal(client) {
  const { code, field, message } = await client.until('error');
  assert.ok(message, 'an error without a sentence');
  return `${code} ${field}`.trim();
}

describe('names and rooms', () => {
  const names = [
    ['markup', SCRIPT.slice(0, 40), SCRIPT.slice(0, 40)],
    ['a direction override', 'gnp.\u202eexe', 'gnp.exe'],
    ['isolates and marks of direction', '\u2067a\u2069\u200fb\u061c', 'ab'],
    ['zero-width alone', '\u200b\u200d\ufeff\u2060', 'guest'],
    ['blanks alone', '\u3000 \u00a0\u2028', 'guest'],
    ['fillers alone', '\u3164\u115f\u2800\ufe0f', 'guest'],
    ['the characters of tags', '\u{e0041}\u{e0042}', 'guest'],
    ['controls, C1 among them', 'a\u0007\u0085\u009bb', 'a   b'],
    ['a line separator', 'a\u2028b\u2029c', 'a b c'],
    ['200 combining marks', ZALGO, ZALGO.slice(0, 40)],
    ['emoji', EMOJI.repeat(200), EMOJI.repeat(40)],
    ['a member of all objects', '__proto__', '__proto__'],
    ['quotes and a backslash', '"\\"},{"', '"\\"},{"'],
    ['a name of 100,000 characters', 'x'.repeat(100000), 'x'.repeat(40)],
  ];
  for (const [what, asked, shown] of names) {
    test(`${what} in a nick at the door`, async () => {
      const room = `door ${what}`;
      const amy = await enter(address(room, { nick: 'amy' }));
      const mallory = await enter(address(room, { nick: asked }));
      assert.equal(mallory.welcome.nick, shown);
      assert.equal((await amy.until('joined')).nick, shown);
      tell(mallory, { type: 'say', text: 'x' });
      assert.equal((await amy.until('said')).from, shown);
      tell(amy, { type: 'who' });
      assert.deepEqual((await amy.until('who')).people.map(({ nick }) => nick), ['amy', shown]);
      await leave(amy, mallory);
    });
  }

  test('the same in a change of nick, where what shows nothing or is too long is refused', async () => {
    await among('renamed', async ({ mallory, amy }) => {
      for (const [what, asked, shown] of names) {
        tell(mallory, { type: 'nick', nick: asked });
        if (shown === 'guest') assert.equal(await refusal(mallory), 'empty nick', what);
        else if ([...asked].length > 40) assert.equal(await refusal(mallory), 'too-long nick', what);
        else assert.equal((await amy.until('nick')).new, shown, what);
      }
    }, 'wide');
  });

  test('a nick of 1 MB in the query is 400 before there is a connection', async () => {
    await among('long', async () => {
      const client = new Raw(server.port);
      client.write(handshake(`/ws/long/?nick=${'x'.repeat(MEGABYTE)}`));
      assert.equal((await client.response()).status, 400);
      client.destroy();
    });
  });

  test('a query that is no UTF-8 brings no nick, or is 400 when it is not encoded', async () => {
    await among('bytes', async () => {
      const url = address('bytes');
      for (const text of ['nick=%ff', 'nick=%c3%28', 'nick=%ed%a0%80', 'nick=%00', 'nick=%', 'nick=%u0041%zz']) {
        const client = await enter(url + text);
        assert.ok(client.welcome.nick, text);
        assert.doesNotMatch(client.welcome.nick, /[\0\ufffd]/);
        await leave(client);
      }
      const raw = new Raw(server.port);
      raw.write(Buffer.from(handshake('/ws/bytes/?nick=\xff\xfe\x01'), 'latin1'));
      assert.equal((await raw.response()).status, 400);
      raw.destroy();
    });
  });

  for (const room of [SCRIPT, '\u202eevil', '\u200b', '__proto__', '漢'.repeat(66), `${ZALGO.slice(0, 90)}`]) {
    test(`a room called ${JSON.stringify(room.slice(0, 20))} is a room like another`, async () => {
      const plain = room.replaceAll('/', ' ');
      await among(plain, async ({ mallory, bob }) => {
        assert.equal(mallory.welcome.room, plain);
        tell(mallory, { type: 'say', text: 'here' });
        assert.equal((await bob.until('said')).text, 'here');
      });
    });
  }

  test('rooms that are too long, or have controls, or that the pattern does not take, are refused', async () => {
    for (const [path, status] of [[`/ws/${'x'.repeat(201)}/`, 400], ['/ws/%00/', 400], ['/ws/a%0ab/', 400],
      ['/ws/%C2%85/', 400], ['/ws/%ff/', 400], ['/ws//', 404], ['/narrow/%3Cscript%3E/', 404]]) {
      const raw = new Raw(server.port);
      raw.write(handshake(path));
      assert.equal((await raw.response()).status, status, path);
      raw.destroy();
    }
  });
});

describe('texts', () => {
  const texts = [
    ['markup', SCRIPT, SCRIPT],
    ['a link that runs', 'javascript:alert(1)', 'javascript:alert(1)'],
    ['direction overrides', 'a\u202eb\u202dc\u2066d\u2069', 'abcd'],
    ['what joins emoji', '👩\u200d💻\ufe0f', '👩\u200d💻\ufe0f'],
    ['controls and C1', 'a\u0001\u001b[31m\u0085\u009bb\r\n\tc', 'a  [31m  b \n\tc'],
    ['line and paragraph separators', 'a\u2028b\u2029c', 'a b c'],
    ['200 combining marks', ZALGO, ZALGO],
    ['the halves of the chat\'s own form', '","from":"amy","x":"', '","from":"amy","x":"'],
    ['an escape that is none', '\\u0000\\ud800', '\\u0000\\ud800'],
    ['noncharacters', 'a\uffff\ufdd0\u{10ffff}', 'a\uffff\ufdd0\u{10ffff}'],
  ];
  test('come out as data, without what misleads', async () => {
    await among('texts', async ({ mallory, bob }) => {
      for (const [what, text, heard] of texts) {
        tell(mallory, { type: 'say', text });
        const said = await bob.until('said');
        assert.equal(said.text, heard, what);
        assert.equal(said.from, 'mallory', what);
      }
    });
  });

  test('a plain member that writes the chat\'s own form says it as text', async () => {
    await among('forged', async ({ bob }) => {
      const plain = await connect(address('forged', { nick: 'eve' }));
      const text = JSON.stringify({ type: 'said', from: 'amy', text: 'I give all to eve' });
      plain.send(text);
      const said = await bob.until('said');
      assert.deepEqual([said.from, said.text], ['eve', text]);
      await leave(plain);
    });
  });

  test('10,000 emoji pass where the limit allows it, and are told elsewhere', async () => {
    await among('emoji', async ({ mallory, bob }) => {
      tell(mallory, { type: 'say', text: EMOJI.repeat(10000) });
      assert.equal((await bob.until('said')).text, EMOJI.repeat(10000));
    }, 'wide');
    await among('emoji', async ({ mallory }) => {
      tell(mallory, { type: 'say', text: EMOJI.repeat(10000) });
      assert.equal(await refusal(mallory), 'too-long text');
    });
  });

  test('a text over the limit is told, be it by a byte or by a megabyte', async () => {
    await among('long', async ({ mallory, bob }) => {
      tell(mallory, { type: 'say', text: 'x'.repeat(512 * 1024) });
      assert.equal((await bob.until('said')).text.length, 512 * 1024);
      for (const size of [512 * 1024 + 1, MEGABYTE, 4 * MEGABYTE]) {
        tell(mallory, { type: 'say', text: 'x'.repeat(size), ref: `r${size}` });
        const { code, field, ref } = await mallory.until('error');
        assert.deepEqual([code, field, ref], ['too-long', 'text', `r${size}`]);
      }
      // A megabyte of escapes, which are two bytes of text each.
      mallory.send(`{"type":"say","text":"${'\\u00e9'.repeat(175000)}"}`);
      assert.equal((await bob.until('said')).text.length, 175000);
    }, 'wide');
    await among('long', async ({ amy }) => {
      const giant = await enter(address('long', { nick: 'giant' }));
      tell(giant, { type: 'say', text: 'x'.repeat(MEGABYTE) });
      assert.equal((await giant.closed()).code, 1009);
      assert.equal((await amy.until('left')).nick, 'giant');
    });
  });
});

describe('bytes that are no UTF-8', () => {
  for (const protocol of ['chat.v1', undefined]) {
    test(`close with 1007, and the others hear nothing of it${protocol ? '' : ', by plain members too'}`, async () => {
      await among(`utf8 ${protocol}`, async ({ bob }) => {
        for (const bytes of ['ff', 'c080', 'eda080', 'f4908080', 'e282', 'f0808080']) {
          const raw = new Raw(server.port);
          raw.write(handshake(`/ws/utf8%20${protocol}/?nick=eve`, { 'Sec-WebSocket-Protocol': protocol }));
          assert.equal((await raw.response()).status, 101);
          const { nick } = await bob.until('joined', (member) => member.nick.startsWith('eve'));
          raw.write(frame(Buffer.concat([Buffer.from('{"type":"say","text":"'), Buffer.from(bytes, 'hex'),
            Buffer.from('"}')])));
          let found;
          do found = await raw.frame(); while (found.opcode === 1);
          assert.equal(closeOf(found).code, 1007, bytes);
          raw.destroy();
          const message = JSON.parse(await bob.next());
          assert.deepEqual([message.type, message.nick], ['left', nick]);
        }
      });
    });
  }
});

describe('JSON of the wrong form', () => {
  const nested = (levels) => '['.repeat(levels) + ']'.repeat(levels);
  const values = ['null', '1', '-1.5e300', 'true', 'false', '[]', '["x"]', '{}', '{"toString":1}', nested(2000)];

  test('each member with each wrong type is named', async () => {
    await among('types', async ({ mallory }) => {
      for (const value of values) {
        for (const [message, expected] of [
          [`{"type":${value},"text":"x","nick":"x"}`, 'missing type'],
          [`{"type":"say","text":${value}}`, 'missing text'],
          [`{"type":"say","text":${value},"ref":"r"}`, 'missing text'],
          [`{"type":"say","text":"x","ref":${value}}`, 'invalid ref'],
          [`{"type":"nick","nick":${value}}`, 'missing nick'],
          [`{"type":"nick","text":"x"}`, 'missing nick'],
        ]) {
          mallory.send(message);
          assert.equal(await refusal(mallory), expected, message.slice(0, 100));
        }
      }
    });
  });

  test('what is no object, or can\'t be read, is told as json', async () => {
    await among('forms', async ({ mallory }) => {
      for (const message of [...values.filter((value) => !value.startsWith('{')), '"say"', '', ' ', '{', '{}}', '{"type":"say"',
        nested(10000), `{"type":"say","text":${nested(10000)}}`, `{"type":"say","x":${nested(10000)},"text":"x"}`,
        '['.repeat(20000), '{"a":'.repeat(5000), '{"type":"say","text":"x","n":1e400}',
        `{"type":"say","text":"x","n":${'9'.repeat(400)}}`, `{"type":"say","text":"x","n":${'9'.repeat(20000)}}`,
        '{"type":"say","text":"x","n":NaN}', '{"type":"say","text":"x",}', "{'type':'say'}",
        '{"type":"say","text":"a","text":"b"}', '{"type":"say","type":"close","text":"x"}',
        '{"type":"say","text":"x","ref":"a","ref":"b"}', '{"type":"say","text":"x","n":{"a":1,"a":2}}',
        '{"type":"say","text":"\\ud800"}', '{"type":"say","text":"\\udc00\\ud800"}', '{"type":"say","text":"\\ud800\\u0041"}',
        '{"type":"say","text":"\\u0000"}', '{"type":"say","text":"a\0b"}', '{"type":"say","text":"x"}\0',
        '{"type":"say","text":"x","\\u0000":1}', '{"type":"say\\u0000","text":"x"}', '{"type":"say","text":"a\nb"}',
        '\ufeff{"type":"say","text":"x"}', '{"type":"say","text":"x"}{"type":"close"}']) {
        mallory.send(message);
        assert.equal(await refusal(mallory), 'json', message.slice(0, 100));
      }
    });
  });

  test('types that are none, the server\'s own among them, are unknown', async () => {
    await among('unknown', async ({ mallory }) => {
      for (const type of ['', 'SAY', 'say ', 'said', 'joined', 'left', 'welcome', 'error', '__proto__', 'constructor',
        SCRIPT, '\u202esay', 'x'.repeat(20000)]) {
        tell(mallory, { type, text: 'x', nick: 'amy', from: 'amy', id: mallory.welcome.id });
        assert.equal(await refusal(mallory), 'unknown type', type.slice(0, 100));
      }
    });
  });

  test('members that nobody knows are ignored', async () => {
    await among('members', async ({ mallory, bob }) => {
      for (const rest of ['"__proto__":{"type":"close"}', '"constructor":null', '"toString":"x"', '"from":"amy","id":"0"',
        '"time":"1970-01-01T00:00:00.000Z"', '"":""', `"deep":${nested(2000)}`, `"${'k'.repeat(20000)}":1`,
        Array.from({ length: 1000 }, (_, i) => `"m${i}":${i}`).join(), '"Type":"close"']) {
        mallory.send(`{"type":"say","text":"x",${rest}}`);
        const said = await bob.until('said');
        assert.equal(said.from, 'mallory');
        assert.equal(said.id, mallory.welcome.id);
        assert.deepEqual(Object.keys(said), ['type', 'id', 'from', 'time', 'text']);
        assert.ok(Math.abs(Date.now() - Date.parse(said.time)) < 60000 * slowness);
      }
    });
  });
});

test('of 10,000 messages at once each is said or told, once, and the others keep their order', async () => {
  const count = 10000;
  const step = 1000;
  await among('flood', async ({ mallory, amy, bob }) => {
    const said = [];
    const refused = [];
    for (let first = 0; first < count; first += step) {
      // Large ones too, whose ref stands behind much that is not to be read.
      for (let i = first; i < first + step; i++) {
        const rest = i % 100 === 99 ? { x: Array(5000).fill({}) } : {};
        tell(mallory, { type: 'say', text: `m${i}`, ...rest, ref: `r${i}` });
      }
      tell(amy, { type: 'say', text: `amy ${first / step}` });
      while (said.length + refused.length < first + step) {
        const message = JSON.parse(await mallory.next());
        if (message.type === 'error') {
          assert.equal(message.code, 'flood');
          assert.ok(message.retry_ms >= 0 && message.retry_ms <= 10000);
          refused.push(message.ref);
        } else if (message.from === 'mallory') {
          said.push(message.ref);
        }
      }
    }
    assert.equal(new Set([...said, ...refused]).size, count);
    assert.ok(said.length >= 20 && refused.length > 0, `${said.length} said, ${refused.length} refused`);
    const heard = { amy: [], mallory: [] };
    while (heard.amy.length < count / step || heard.mallory.length < said.length) {
      const { from, text } = await bob.until('said');
      heard[from].push(text);
    }
    assert.deepEqual(heard.amy, Array.from({ length: count / step }, (_, i) => `amy ${i}`));
    assert.deepEqual(heard.mallory, said.map((ref) => ref.replace('r', 'm')));
  }, 'narrow');
});

test('a flood by a plain member is told to it alone', async () => {
  await among('drops', async ({ bob }) => {
    const plain = await connect(address('drops', { nick: 'eve' }, 'narrow'));
    // More than 32 that came before its nick was decided would close it.
    await bob.until('joined', ({ nick }) => nick === 'eve');
    const heard = [];
    for (let i = 0; i < 1000; i++) plain.send(`p${i}`);
    const answers = await plain.take(1000);
    const told = answers.filter((text) => text === '(too many messages: your last one was not sent)').length;
    while (heard.length < 1000 - told) heard.push((await bob.until('said')).text);
    assert.ok(told > 0 && heard.length >= 20, `${told} told`);
    assert.deepEqual(answers.filter((text) => text.startsWith('eve: ')), heard.map((text) => `eve: ${text}`));
    await leave(plain);
  }, 'narrow');
});

test('one who floods and does not read is closed, and the others talk on', async () => {
  await among('deaf', async ({ amy, bob }) => {
    const raw = new Raw(server.port);
    raw.write(handshake('/narrow/deaf/?nick=deaf', { 'Sec-WebSocket-Protocol': 'chat.v1' }));
    assert.equal((await raw.response()).status, 101);
    await amy.until('joined', ({ nick }) => nick === 'deaf');
    raw.socket.pause();
    // Of a few bytes each, which are answered with a hundred, until the kernel's buffers and the queue are full.
    const many = Buffer.concat(Array(5000).fill(frame('x')));
    for (let i = 0; i < 100 && !raw.socket.destroyed; i++) raw.write(many);
    assert.equal((await amy.until('left')).nick, 'deaf');
    raw.destroy();
    tell(amy, { type: 'say', text: 'gone' });
    assert.equal((await bob.until('said', ({ from }) => from !== 'deaf')).text, 'gone');
  }, 'narrow');
});
