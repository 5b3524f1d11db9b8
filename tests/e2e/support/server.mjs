// Runs the program for a test: a configuration in a folder of its own, ports that the kernel
// chooses, and an end that must be clean.
import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

export const repository = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../../..');
const built = path.join(repository, 'build/release');

export const program = process.env.SLUICE_BIN ?? path.join(built, 'bin/sluice');
export const plugins = process.env.SLUICE_PLUGINS ?? path.join(built, 'plugins');
export const testPlugins = process.env.SLUICE_TEST_PLUGINS ?? path.join(built, 'test-plugins');
export const logs = process.env.SLUICE_TEST_LOGS ?? path.join(repository, 'build/test-logs');

/** Waiting times are multiplied by this: sanitizers make the program slow. */
export const slowness = Number(process.env.SLUICE_SLOWNESS ?? 1);

/** The environment of a program that is meant to crash: a sanitizer would say so at length. */
export const mayCrash = Object.fromEntries(['ASAN_OPTIONS', 'TSAN_OPTIONS'].map((name) =>
  [name, `${process.env[name] ?? ''}:handle_segv=0`]));

/** AUTO, ON or OFF: how each program that a test starts reads and writes WebSockets, unless the
 * test's configuration says it. */
const ring = process.env.SLUICE_IO_URING;

const SANITIZER = /(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:)/;

/** Rejects with the sentence when the promise takes longer than so many seconds. */
export function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${seconds * slowness} s`)),
      seconds * slowness * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// What is to be done when the test file ends, the last first. A hook made within another hook would
// run at the end of that one.
const cleanups = [];
after(async () => {
  const faults = [];
  for (const cleanup of cleanups.reverse()) {
    try {
      await cleanup();
    } catch (fault) {
      faults.push(fault);
    }
  }
  if (faults.length) throw faults[0];
});

/** An empty folder that is removed when the test file ends. */
export function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-'));
  cleanups.push(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Makes cert.pem and key.pem in the folder, self-signed for localhost. */
export function makeCertificate(folder) {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext',
    'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', path.join(folder, 'key.pem'), '-out',
    path.join(folder, 'cert.pem')], { stdio: 'pipe' });
}

/**
 * Writes the configuration to a folder of its own. In the text, PLUGINS and TEST_PLUGINS stand for
 * the folders of the built consumers.
 */
export function writeConfiguration(text, folder = temporaryFolder()) {
  const file = path.join(folder, 'sluice.yaml');
  fs.writeFileSync(file, text.replaceAll('TEST_PLUGINS', testPlugins).replaceAll('PLUGINS', plugins));
  return file;
}

const IO_URING = /^io-uring: *(\S+)/m;

/** The text with the word for io_uring that this run is for; behind it, so that lines keep their
 * numbers. */
export function withRing(text, word = ring) {
  if (word === undefined || IO_URING.test(text)) return text;
  return `${text.replace(/\n*$/, '\n')}io-uring: ${word}\n`;
}

/** What the log must say at the start of a program whose configuration has this text. */
export function wayOf(text) {
  const ways = {
    AUTO: /info: WebSockets: (io_uring|a system call each, since io_uring is refused: .+)$/m,
    ON: /info: WebSockets: io_uring$/m,
    OFF: /info: WebSockets: a system call each$/m,
  };
  return ways[IO_URING.exec(text)?.[1] ?? 'AUTO'];
}

/** The processes that serve: the children of the one that was started, or itself where it has none. */
export function serving(pid) {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return children.length ? children.map(Number) : [pid];
}

/** What the kernel says of each thread of a process: ['Seccomp: 2, NoNewPrivs: 1', …]. */
export function confinement(pid) {
  return fs.readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      const status = fs.readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
      const number = (name) => status.match(new RegExp(`^${name}:\\s*(\\d+)$`, 'm'))?.[1];
      return [`Seccomp: ${number('Seccomp')}, NoNewPrivs: ${number('NoNewPrivs')}`];
    } catch {
      return []; // a thread that has ended meanwhile
    }
  });
}

/** Every thread is in the sandbox, unless the configuration's text says otherwise. */
function assertConfined(server, text) {
  const known = fs.readFileSync('/proc/self/status', 'utf8').includes('\nSeccomp:');
  if (/^sandbox: *OFF/im.test(text) || !known) return;
  for (const pid of serving(server.pid)) {
    const threads = confinement(pid);
    assert.ok(threads.length > 0);
    for (const thread of threads) assert.equal(thread, 'Seccomp: 2, NoNewPrivs: 1', server.log);
  }
}

/** Runs the program to its end and returns {code, out, err}. */
export async function run(...args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { err += text; });
  try {
    const [code] = await within(20, `${path.basename(program)} ${args.join(' ')}`, once(child, 'close'));
    assert.doesNotMatch(err, SANITIZER);
    return { code, out, err };
  } finally {
    child.kill('SIGKILL');
  }
}

class Server {
  log = '';
  urls = [];
  #child;
  #ended;
  #heard = new Set();

  /** `launcher`: a command before the program's own, which becomes it. */
  constructor(file, { launcher = [], env = {} } = {}) {
    this.file = file;
    const [command, ...rest] = [...launcher, program, '-c', file];
    this.#child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => resolve(code ?? signal));
      this.#child.once('error', (fault) => {
        this.log += `${fault.message}\n`;
        resolve('no start');
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.log += text;
        for (const tell of this.#heard) tell();
      });
    }
  }

  /** Of the supervisor. */
  get pid() { return this.#child.pid; }

  /** Of the process that serves, which another may take the place of. */
  get worker() {
    const text = fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8');
    const [first] = text.trim().split(' ').filter(Boolean).map(Number);
    assert.ok(first, 'no worker runs');
    return first;
  }

  /** Waits for a line in the log that matches. */
  async logged(pattern, seconds = 10) {
    let tell;
    const found = new Promise((resolve, reject) => {
      tell = () => { const match = this.log.match(pattern); if (match) resolve(match); };
      this.#ended.then(() => reject(new Error(`the server ended before it logged ${pattern}:\n${this.log}`)));
    });
    this.#heard.add(tell);
    tell();
    try {
      return await within(seconds, `a log line like ${pattern}`, found);
    } catch (error) {
      error.message += `\n${this.log}`;
      throw error;
    } finally {
      this.#heard.delete(tell);
    }
  }

  async ready() {
    await this.logged(/info: ready/, 20);
    this.urls = [...this.log.matchAll(/info: listening on (\S+)/g)].map((match) => match[1]);
    return this;
  }

  /** The first listener's address, http or https; `path` is added to it. */
  url(suffix = '/', scheme = 'http') {
    const base = this.urls.find((url) => url.startsWith(`${scheme}://`));
    assert.ok(base, `no ${scheme} listener in ${this.urls}`);
    return base.replace(/\/$/, '') + suffix;
  }

  /** The same for WebSockets: ws or wss. */
  wsUrl(suffix = '/', scheme = 'ws') {
    return this.url(suffix, scheme === 'ws' ? 'http' : 'https').replace(/^http/, 'ws');
  }

  get port() { return Number(new URL(this.url()).port); }

  signal(name) { this.#child.kill(name); }

  /** Waits for the end of the program and returns its exit status, or the signal that ended it. */
  ended(seconds = 15) {
    return within(seconds, 'the end of the program', this.#ended);
  }

  /** SIGTERM, then the end that is due: exit status 0 and no finding of a sanitizer. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal('SIGTERM');
    const status = await this.ended();
    assert.doesNotMatch(this.log, SANITIZER, this.log);
    assert.equal(status, 0, `the program ended with ${status}:\n${this.log}`);
  }

  kill() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal('SIGKILL');
  }
}

/**
 * Starts the program with the configuration's text and waits until it is ready. Unless it is killed,
 * it is stopped, and must end well, when the test file ends.
 */
export async function start(text, folder, options) {
  const whole = withRing(text);
  const server = new Server(writeConfiguration(whole, folder), options);
  let stopped = false;
  const stop = server.stop.bind(server);
  server.stop = async () => { stopped = true; await stop(); };
  const kill = server.kill.bind(server);
  server.kill = () => { stopped = true; kill(); };
  cleanups.push(async () => {
    try {
      if (!stopped) await server.stop();
    } finally {
      server.kill();
    }
  });
  await server.ready();
  assert.match(server.log, wayOf(whole));
  assertConfined(server, whole);
  return server;
}

/** Starts the program without waiting and without an expected end: for starts that fail. */
export function launch(file, options) {
  const server = new Server(file, options);
  cleanups.push(() => server.kill());
  return server;
}
