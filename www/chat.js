// The chat page. A message is one text frame: what is typed goes out, "name: text" comes in.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const MOST_LINES = 500;

/** A connection to one room that comes back by itself until it is ended. */
class Line {
  #socket = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #ended = false;

  /** onText(text) for each message; onState(state, detail): connecting, open, lost with the seconds
      until the next try, or ended with the server's reason. */
  constructor(url, onText, onState) {
    this.url = url;
    this.onText = onText;
    this.onState = onState;
    this.retryNow = () => { if (this.#timer) this.#open(); };
    window.addEventListener('online', this.retryNow);
    this.#open();
  }

  get open() { return this.#socket?.readyState === WebSocket.OPEN; }

  send(text) { this.#socket.send(text); }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    window.removeEventListener('online', this.retryNow);
    this.#socket.close(1000);
    this.onState('ended');
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.onState('connecting');
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.addEventListener('open', () => {
      this.#wait = FIRST_WAIT;
      this.onState('open');
    });
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string' && !this.#ended) this.onText(data);
    });
    socket.addEventListener('close', ({ code, reason }) => {
      if (this.#ended) return;
      // 1000: the conversation is over, so coming back would be wrong.
      if (code === 1000) this.onState('ended', reason);
      else this.#retry();
    });
  }

  /** Waits longer each time, and never as long as the neighbours: they lost it together. */
  #retry() {
    const wait = this.#wait * (0.5 + Math.random());
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.onState('lost', Math.max(1, Math.round(wait / 1000)));
    this.#timer = setTimeout(() => this.#open(), wait);
  }
}

const element = (id) => document.getElementById(id);
const log = element('log');
let line = null;
let nick = '';

function show(text, kind) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const item = document.createElement('li');
  item.textContent = text;
  if (kind) item.className = kind;
  log.append(item);
  while (log.children.length > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) item.scrollIntoView({ block: 'end' });
}

function showState(state, detail) {
  const words = {
    connecting: 'Connecting…',
    open: 'Connected',
    lost: `Connection lost, trying again in ${detail} s…`,
    ended: detail ? `Not connected: ${detail}` : 'Not connected',
  };
  element('state').textContent = words[state];
  element('state').dataset.state = state;
  element('send').disabled = state !== 'open';
}

/** ws://host/ws/chat/room/?nick=name, or wss where the page came over https. */
function addressOf(room) {
  const url = new URL(`/ws/chat/${encodeURIComponent(room)}/`, location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = new URLSearchParams({ nick });
  return url;
}

function enter(room) {
  log.replaceChildren();
  element('where').textContent = room;
  document.title = `${room} · Sluice chat`;
  element('join').hidden = true;
  element('talk').hidden = false;
  line = new Line(addressOf(room), (text) => {
    show(text, text.startsWith(`${nick}: `) ? 'own' : '');
  }, showState);
  element('text').focus();
}

function leave() {
  line?.end();
  line = null;
  document.title = 'Sluice chat';
  element('talk').hidden = true;
  element('join').hidden = false;
  element('room').focus();
}

element('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const room = element('room').value.trim();
  nick = element('nick').value.trim();
  const fault = !nick ? 'Please give a name.'
    : /^[\p{L}\p{N}_]+$/u.test(room) ? '' : 'A room is named with letters, digits and _ alone.';
  element('fault').textContent = fault;
  if (fault) return;
  try {
    localStorage.setItem('nick', nick);
  } catch {
    // Private windows may refuse; the name is asked for again then.
  }
  history.pushState(null, '', `?${new URLSearchParams({ room })}`);
  enter(room);
});

element('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = element('text').value.trim();
  if (!text || !line?.open) return;
  line.send(text);
  element('text').value = '';
});

element('leave').addEventListener('click', leave);
window.addEventListener('popstate', () => { leave(); fillIn(); });

/** The room comes from the address, the name from last time. */
function fillIn() {
  element('room').value = new URLSearchParams(location.search).get('room') ?? 'lobby';
  try {
    element('nick').value ||= localStorage.getItem('nick') ?? '';
  } catch {
    // As above.
  }
}

fillIn();
