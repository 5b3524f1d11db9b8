// As much of a browser as the modules of www/ need, with a clock that moves when a test says so.
import assert from 'node:assert/strict';
import { register } from 'node:module';
import { webcrypto } from 'node:crypto';

export const www = new URL('../../../www/', import.meta.url);

// The site's scripts are modules because its pages say so, which Node cannot know.
register(`data:text/javascript,${encodeURIComponent(`
  export const load = (url, context, next) =>
    next(url, url.startsWith(${JSON.stringify(www.href)}) ? { ...context, format: 'module' } : context);
`)}`);

/** One of the site's modules, as a reader of these languages gets it. */
export async function load(name, languages = ['en']) {
  const { restore } = put({ navigator: { languages } });
  try {
    return await import(`${new URL(name, www)}?${languages}`);
  } finally {
    restore();
  }
}

/** Puts values in place of globals. */
function put(values) {
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return {
    restore() {
      for (const [name, descriptor] of before) {
        if (descriptor) Object.defineProperty(globalThis, name, descriptor);
        else delete globalThis[name];
      }
    },
  };
}

/** Calls its listeners at once, and lets what they throw through. */
class Target {
  #listeners = new Map();

  addEventListener(type, listener) { this.#of(type).add(listener); }

  removeEventListener(type, listener) { this.#of(type).delete(listener); }

  fire(type, event = {}) { for (const listener of [...this.#of(type)]) listener({ type, ...event }); }

  get listeners() { return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0); }

  #of(type) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    return this.#listeners.get(type);
  }
}

/** Does what a browser's does when asked; what comes from the other side, the test says. */
export class FakeSocket extends Target {
  state = 'connecting';
  sent = [];
  closed = [];

  constructor(address, protocol) {
    super();
    Object.assign(this, { address, protocol });
  }

  send(data) {
    assert.notEqual(this.state, 'connecting', 'a browser throws InvalidStateError');
    if (this.state === 'open') this.sent.push(JSON.parse(data));
  }

  close(code) {
    this.closed.push(code);
    if (this.state !== 'gone') this.state = 'closing';
  }

  opens() {
    if (this.state === 'connecting') this.state = 'open';
    this.fire('open');
  }

  hears(data) { this.fire('message', { data: typeof data === 'string' ? data : JSON.stringify(data) }); }

  closes(code, reason = '') {
    this.state = 'gone';
    if (code === 1006) this.fire('error');
    this.fire('close', { code, reason, wasClean: code !== 1006 });
  }
}

/** Has what the modules use and no innerHTML, which would make markup of what people write. */
class FakeElement {
  children = [];
  dataset = {};
  attributes = {};
  properties = {};
  style = { setProperty: (name, value) => { this.properties[name] = value; } };
  #text = '';

  constructor(tag) { this.tag = tag; }

  append(...children) { this.children.push(...children); }

  setAttribute(name, value) { this.attributes[name] = value; }

  set textContent(text) { this.#text = String(text); }

  get textContent() { return this.#text + this.children.map((child) => child.textContent ?? child).join(''); }

  set innerHTML(_) { assert.fail('markup'); }

  set outerHTML(_) { assert.fail('markup'); }

  insertAdjacentHTML() { assert.fail('markup'); }
}

/** The globals of a page. */
export class Page {
  now = 1000;
  random = 0.5;
  sockets = [];
  window = new Target();
  document = Object.assign(new Target(), {
    visibilityState: 'visible',
    documentElement: new FakeElement('html'),
    createElement: (tag) => new FakeElement(tag),
  });
  #timers = new Map();
  #last = 0;

  /** The timers that have yet to go off. */
  get pending() { return this.#timers.size; }

  /** The newest of the connections. */
  get socket() { return this.sockets[this.sockets.length - 1]; }

  /** Runs what is due in that time, in order. */
  advance(ms) {
    const end = this.now + ms;
    for (let runs = 0; ; runs += 1) {
      const [first] = [...this.#timers].filter(([, { at }]) => at <= end)
        .sort(([id, one], [otherId, other]) => one.at - other.at || id - otherId);
      if (!first) break;
      assert.ok(runs < 1000, 'timers that start each other without end');
      const [id, { at, act }] = first;
      this.#timers.delete(id);
      this.now = Math.max(this.now, at);
      act();
    }
    this.now = end;
  }

  hide() { this.#show('hidden'); }

  show() { this.#show('visible'); }

  #show(state) {
    this.document.visibilityState = state;
    this.document.fire('visibilitychange');
  }

  #set(act, wait) {
    this.#last += 1;
    this.#timers.set(this.#last, { act, at: this.now + Math.max(0, wait || 0) });
    return this.#last;
  }

  /** Nothing may wait for real time or another turn of the loop: act is done when it returns. */
  run(act) {
    const page = this;
    const { random } = Math;
    const { restore } = put({
      window: this.window,
      document: this.document,
      performance: { now: () => this.now },
      crypto: webcrypto,
      setTimeout: (run, wait) => this.#set(run, wait),
      clearTimeout: (id) => this.#timers.delete(id),
      WebSocket: class extends FakeSocket {
        constructor(...values) {
          super(...values);
          page.sockets.push(this);
        }
      },
    });
    Math.random = () => this.random;
    try {
      assert.equal(act(this), undefined, 'a test on a page is not asynchronous');
    } finally {
      Math.random = random;
      restore();
    }
  }
}

/** A test's function that gets a page of its own. */
export const onPage = (act) => () => new Page().run(act);
