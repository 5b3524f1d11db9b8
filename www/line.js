// A connection to one room that comes back by itself until it is closed.

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const STEADY = 10000;         // open for this long, the next loss starts with short waits again
const HANDSHAKE = 15000;
const ANSWER = 5000;          // what a connection in doubt has left to show that it lives
const LEAST_PAUSE = 250;      // between tries that events ask for
const LONGEST_ASKED = 300000;

// The server means it: coming back would be wrong.
const final = (code) => code === 1000 || code === 1008 || (code >= 4000 && code < 5000);

// A server that restarts (1012) or has too much to do (1013) may say when to come back, in
// milliseconds, as the whole reason. NaN where it does not.
const askedFor = (code, reason) => Math.min(LONGEST_ASKED,
  Number((code === 1012 || code === 1013) && /^retry=(\d{1,15})$/.exec(reason)?.[1] || NaN));

export class Line {
  #socket = null;
  #tries = 0;
  #timer = 0;
  #tried = 0;
  #opened = 0;
  #unwelcome = 0;
  #wake;

  /** onMessage(object) for each JSON message; onState({state, ...}): connecting, open, lost with
      `until` (performance.now() of the next try) and the code with which the server asked for that
      time, closed with code and reason, or byUser. */
  constructor(address, protocol, { onMessage, onState }) {
    Object.assign(this, { address, protocol, onMessage, onState, state: 'closed' });
    this.#wake = () => { if (document.visibilityState === 'visible') this.#woken(); };
    window.addEventListener('online', this.#wake);
    window.addEventListener('pageshow', this.#wake);
    document.addEventListener('visibilitychange', this.#wake);
  }

  get open() { return this.state === 'open'; }

  connect() {
    this.#drop();
    this.#tried = performance.now();
    this.#tell('connecting');
    const socket = new WebSocket(this.address, this.protocol);
    const mine = (act) => (event) => { if (this.#socket === socket) act(event); };
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lose(), HANDSHAKE);
    socket.addEventListener('open', mine(() => {
      this.#believe();
      this.#opened = performance.now();
      this.#tell('open');
    }));
    socket.addEventListener('message', mine(({ data }) => {
      this.#believe();
      this.#take(data);
    }));
    socket.addEventListener('close', mine(({ code, reason }) => {
      if (final(code)) {
        this.#drop();
        this.#tell('closed', { code, reason });
      } else {
        this.#lose(code, reason);
      }
    }));
  }

  /** Whether it was handed to the browser. */
  send(object) {
    if (!this.open) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  /** Closes for good, until connect() is called again. */
  close() {
    this.#drop();
    this.#tell('closed', { byUser: true });
  }

  /** Closes and hears no more of anything. */
  end() {
    this.#drop();
    this.state = 'closed';
    window.removeEventListener('online', this.#wake);
    window.removeEventListener('pageshow', this.#wake);
    document.removeEventListener('visibilitychange', this.#wake);
  }

  /** Sends what must be answered; a connection that stays silent then is lost. */
  doubt(question) {
    if (this.open && !this.#timer && (!question || this.send(question))) {
      this.#timer = setTimeout(() => this.#lose(), ANSWER);
    }
  }

  #believe() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #take(data) {
    let message = null;
    try {
      message = JSON.parse(data);
    } catch {
      // Not of this protocol.
    }
    if (message && typeof message === 'object' && !Array.isArray(message)) this.onMessage(message);
  }

  #woken() {
    if (this.state !== 'lost') {
      this.doubt({ type: 'who' });
      return;
    }
    if (performance.now() < this.#unwelcome) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), Math.max(0, this.#tried + LEAST_PAUSE - performance.now()));
  }

  /** Exponential, with full jitter: those who lost it together don't come back together. What the
      server asked for comes before that, and is waited whole. */
  #lose(code, reason) {
    this.#drop();
    const asked = askedFor(code, reason);
    const most = asked >= 0 ? Math.max(FIRST_WAIT, asked / 4)
      : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#tries);
    const wait = (asked || 0) + Math.random() * most;
    this.#tries += 1;
    this.#unwelcome = asked >= 0 ? performance.now() + asked : 0;
    this.#tell('lost', { until: performance.now() + wait, ...asked >= 0 && { code } });
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  /** A socket that has been given up may take minutes to close; nothing it does counts any more. */
  #drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#opened && performance.now() - this.#opened > STEADY) this.#tries = 0;
    this.#opened = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #tell(state, more = {}) {
    this.state = state;
    this.onState({ state, ...more });
  }
}
