// The page: an entrance, and a room. README of group_chat has the messages of chat.v1.
import { Line } from './line.js';
import { Log, clock } from './log.js';
import { Outbox, drawn } from './outbox.js';
import { People } from './people.js';
import { Place } from './place.js';
import { understood } from './protocol.js';
import { face, make } from './text.js';
import { language, listed, speak, words } from './words.js';

const PROTOCOL = 'chat.v1';
const CROWD = 50;             // in a room of more, comings and goings are only counted
const SETTLE = 2000;          // after comings and goings, who is here is asked for once
const TYPING = 3000;          // how often others hear that one types
const BYTES = new TextEncoder();

const element = Object.fromEntries([...document.querySelectorAll('[id]')].map((one) => [one.id, one]));
const people = new People(language);
const log = new Log(element.log, (count) => {
  element.newer.hidden = count === 0;
  element.newer.textContent = words.newer(count);
});
const outbox = new Outbox({
  send: (message) => me.id !== '' && (line?.send(message) ?? false),
  changed: () => {
    log.pending(outbox.entries);
    showHush();
    noteUnsent();
  },
  silent: () => line?.doubt({ type: 'who' }),
});

let line = null;
let room = '';
let me = nobody();
let gone = null;              // when the connection was lost
let place = new Place();
let past = { kind: '', first: 0 }; // what Place says of the last `history`, and the first offset in it
let early = [];               // what was said before the welcome told who one is
let seen = '';                // what somebody had seen of the room when the page came, or went out of sight
let marked = false;           // whether a line stands behind that
let before = '';              // the place of an earlier page that left something unsent
let unread = 0;
let secret = '';              // see person()

/** What the server says about oneself at the welcome. */
function nobody() { return { id: '', nick: '', limits: { nick: 40, text: 4000 } }; }

// --- what the browser keeps ---

/** Private windows may refuse to keep anything; the page works without. */
function recall(key) {
  try {
    return localStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

/** How far somebody has seen the room. */
function noteSeen() {
  if (!document.hidden && place.known) keep(`seen ${room}`, place.since);
}

/** For this window, should it be loaded anew: only where a message that goes twice is kept once. */
function noteUnsent() {
  if (!room || !(place.known || before)) return;
  const { entries } = outbox;
  const text = entries.length ? JSON.stringify({ since: place.since || before, entries }) : '';
  if (text === noteUnsent.last) return;
  noteUnsent.last = text;
  try {
    if (text) sessionStorage.setItem(`unsent ${room}`, text);
    else sessionStorage.removeItem(`unsent ${room}`);
  } catch {
    // As above.
  }
}

function recallUnsent() {
  before = '';
  noteUnsent.last = undefined;
  try {
    const { since, entries } = JSON.parse(sessionStorage.getItem(`unsent ${room}`) ?? '{}');
    before = since ?? '';
    outbox.restore(entries ?? []);
  } catch {
    // As above.
  }
}

/** A secret that makes all windows of this browser one person; where nothing is kept, this one. */
function person() {
  secret ||= recall('person');
  if (!/^[0-9a-f]{32}$/.test(secret)) {
    secret = drawn(16);
    keep('person', secret);
  }
  return secret;
}

// --- the connection ---

/** ws, or wss where the page came over https. */
function addressOf(nick) {
  const url = new URL(`/ws/chat/${encodeURIComponent(room)}/`, location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const { since } = place;
  url.search = new URLSearchParams({ nick, person: person(), ...since && { since } });
  return url;
}

function showState({ state, until, code, reason, byUser }) {
  const focused = document.activeElement;
  const offline = state === 'lost' && !navigator.onLine;
  const shown = offline ? words.offline : words[state];
  const trouble = !offline && state === 'lost' && words.asked[code] || shown;
  element.state.textContent = shown;
  element.state.dataset.state = state;
  element.close.hidden = state === 'closed';
  element.reconnect.hidden = state !== 'closed' && state !== 'lost';
  // Tries that follow each other don't make it come and go.
  element.strip.hidden = state === 'open' || (state === 'connecting' && element.strip.hidden);
  element.strip.dataset.state = state;
  element.strip.toggleAttribute('data-mine', Boolean(byUser));
  element.retry.hidden = state === 'connecting';
  if (state === 'closed') {
    element.trouble.textContent = byUser ? words.closedByYou : words.closedByServer(code, reason);
  } else {
    element.trouble.textContent = trouble;
  }
  // The seconds and each new try are for the eye; read out, they would drown all else.
  if (state !== 'connecting') speakOnce(element.trouble.textContent);
  // Whoever stood on a button that has gone goes on from what took its place.
  if (focused === element.close && element.close.hidden) element.reconnect.focus();
  if (focused === element.reconnect && element.reconnect.hidden) element.close.focus();
  if (focused === element.retry && (element.retry.hidden || element.strip.hidden)) element.text.focus();
  clearInterval(showState.ticking);
  if (state === 'lost') {
    const tick = () => {
      const seconds = Math.ceil((until - performance.now()) / 1000);
      element.trouble.textContent = words.troubled(trouble, seconds);
    };
    tick();
    showState.ticking = setInterval(tick, 500);
  }
}

/** For screen readers, unless it is what they heard last. */
function speakOnce(text) {
  if (element.spoken.textContent !== text) element.spoken.textContent = text;
}

function onState(change) {
  if (change.state !== 'open' && line?.wasOpen) {
    if (me.id) gone ??= new Date();
    line.wasOpen = false;
    line.renaming = '';
    early = [];
    outbox.lost();
    if (!document.hidden) leaveOff();
    people.hush();
    showTyping();
    element.people.classList.add('stale');
  }
  if (change.state === 'open') line.wasOpen = true;
  if (change.state === 'lost' || change.state === 'closed') line.address = addressOf(line.asked);
  showState(change);
}

// --- what comes ---

const receive = {
  welcome({ id, nick, greeting, limits }) {
    const first = me.id === '';
    // The server may have cut the name that was asked for.
    const other = nick !== me.nick && !line.asked.startsWith(nick);
    me = { id, nick, limits };
    showName(nick);
    if (first && greeting) log.tell(greeting);
    if (other) log.tell(words.numbered(line.asked, nick));
    if (!place.known) tellMissed();
    const waiting = early;
    early = [];
    waiting.forEach(onMessage);
    line.send({ type: 'who' });
    if (first && line.renaming) line.send({ type: 'nick', nick: line.renaming });
    outbox.pump();
  },

  history(message) {
    past = { kind: place.begin(message), first: message.offset + 1 };
    gone = null;
    outbox.safe = true;
    if (past.kind === 'first') seen = recall(`seen ${room}`);
    element.log.setAttribute('aria-busy', String(place.replays));
    if (place.replays) return;
    beginPast();
    endPast();
  },

  kept({ ref }) {
    const entry = outbox.entries.find((one) => one.ref === ref);
    outbox.said(ref);
    // It came through earlier than all that came again.
    if (entry) log.said({ id: me.id, from: me.nick, time: '', text: entry.text }, true);
  },

  said(message) {
    const own = message.id === me.id && me.id !== '';
    const replayed = place.replays;
    if (place.begins) {
      past.first = message.at;
      beginPast();
    }
    const shown = place.hears(message);
    people.stopsTyping(message.id);
    showTyping();
    if (message.ref) outbox.said(message.ref);
    if (shown) showSaid(message, own, replayed);
    if (replayed && !place.replays) endPast();
  },

  joined(message) {
    const known = people.has(message.id);
    people.joined(message);
    pass('joined', message, !known);
  },

  left(message) {
    people.left(message);
    pass('left', message, !people.has(message.id));
  },

  nick(message) {
    if (message.old === message.new) return;
    const known = people.has(message.id, message.new);
    people.renamed(message);
    showPeople();
    const mine = message.id === me.id && message.old === me.nick;
    if (mine) {
      me.nick = message.new;
      showName(me.nick);
      element.nick.value = me.nick;
      line.asked = me.nick;
      keep('nick', me.nick);
      // The other windows of the same person go along.
      if (line.renaming !== message.new) line.send({ type: 'nick', nick: message.new });
      line.renaming = '';
    }
    if (mine || (message.id !== me.id && !known)) log.tell(words.renamed(message.old, message.new));
  },

  typing(message) {
    if (message.id === me.id) return;
    people.types(message);
    showTyping();
  },

  who(message) {
    // A server that remembers has said so by now.
    outbox.back(false);
    tellMissed();
    people.replace(message);
    element.people.classList.remove('stale');
    showPeople();
  },

  error(error) {
    const seconds = Math.max(1, Math.ceil((error.retry_ms ?? 0) / 1000));
    const known = words.errors[error.code];
    const text = typeof known === 'function' ? known(seconds) : known ?? error.message;
    const flood = error.code === 'flood';
    if (error.ref && outbox.refused(error)) {
      if (!flood) element.spoken.textContent = `${words.refused}: ${text}`;
    } else if (error.field === 'nick' || (flood && line.renaming)) {
      element['rename-fault'].textContent = text;
      line.renaming = '';
    } else if (!flood) {
      element.fault.textContent = text;
    }
  },
};

function onMessage(message) {
  if (!understood(message)) return;
  if (me.id === '' && (message.type === 'said' || message.type === 'history')) early.push(message);
  else receive[message.type](message);
}

/** The first of what is kept is known: says it when more was said since somebody was here. */
function beginPast() {
  const { kind, first } = past;
  const whole = kind === 'all' || (kind === 'first' && (!seen || place.reaches(seen, first)));
  if (!whole) log.tell(words.notRecovered);
  if (kind === 'other') seen = place.start;
}

/** What was under way has come by now, or it never came through: unless it can have gone again. */
function endPast() {
  const { kind, first } = past;
  element.log.setAttribute('aria-busy', 'false');
  noteSeen();
  outbox.back(kind === 'all' || (kind === 'first' && place.reaches(before, first)));
}

function pass(kind, message, first) {
  if (first && message.id !== me.id && people.count <= CROWD) log.passes(kind, message);
  showPeople();
  clearTimeout(pass.settling);
  if (people.count <= CROWD) pass.settling = setTimeout(() => line?.send({ type: 'who' }), SETTLE);
}

// --- what is seen ---

/** Here somebody leaves off: what is new from now on is marked. */
function leaveOff() {
  seen = place.since;
  marked = false;
}

/** replayed: it was said before one came. */
function showSaid(message, own, replayed) {
  const missed = (replayed || document.hidden) && place.isBefore(seen, message);
  if (missed && !own && !marked) {
    log.divide(words.newSince);
    marked = true;
  }
  log.said(message, own, !replayed);
  noteSeen();
  if (!own && document.hidden && (missed || !replayed)) {
    unread += 1;
    showTitle();
  }
  showHush();
}

/** Of a server that does not remember. */
function tellMissed() {
  if (gone) log.tell(words.missed(clock(gone), clock(new Date())));
  gone = null;
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ''}${room ? `${room} · ` : ''}${words.name}`;
}

function showHush() { element.hush.hidden = !log.empty; }

/** Once a frame at most: when a server has restarted, a whole crowd comes in. */
function showPeople() {
  showPeople.due ??= requestAnimationFrame(showPeopleNow);
}

function showPeopleNow() {
  showPeople.due = undefined;
  const list = people.list(me.id);
  element.here.textContent = words.here(people.count);
  element.who.textContent = words.here(people.count);
  element.people.replaceChildren(...list.map(({ id, nick, windows }) => {
    const name = make('b', '', nick);
    name.title = nick;
    const item = make('li', '', face(id, nick), name);
    if (id === me.id) item.append(make('small', '', words.you));
    if (windows > 1) item.append(make('small', '', words.windows(windows)));
    return item;
  }));
  const rest = [];
  if (people.count > list.length) rest.push(words.more(people.count - list.length));
  if (people.unnamed) rest.push(words.unnamed(people.unnamed));
  element.others.textContent = listed(rest);
  element.others.hidden = rest.length === 0;
}

function showTyping() {
  const names = people.typing;
  element.typing.textContent = names.length > 3 ? words.manyTyping
    : names.length ? words.typing(listed(names), names.length) : '';
  clearTimeout(showTyping.timer);
  if (names.length) showTyping.timer = setTimeout(showTyping, 1000);
}

/** Leaves a name alone that somebody is writing there. */
function showName(nick) {
  const { called } = element;
  const written = called.value !== called.defaultValue && nameIn(called) !== line.renaming;
  if (!written) called.value = nick;
  called.defaultValue = nick;
}

function showPanel(shown) {
  element.talk.classList.toggle('shown', shown);
  element.who.setAttribute('aria-expanded', String(shown));
}

// --- entering and leaving ---

function enter(name, nick) {
  line?.end();
  room = name;
  me = nobody();
  gone = null;
  place = new Place();
  early = [];
  seen = '';
  marked = false;
  before = '';
  outbox.safe = false;
  people.clear();
  outbox.clear();
  log.clear();
  recallUnsent();
  showTitle();
  showPeople();
  showTyping();
  showHush();
  showPanel(false);
  element.strip.hidden = true;
  element['rename-fault'].textContent = '';
  element.people.classList.remove('stale');
  element.where.textContent = room;
  element.text.placeholder = words.messageTo(room);
  element.address.value = location.href;
  element.entrance.hidden = true;
  element.talk.hidden = false;
  line = new Line(addressOf(nick), PROTOCOL, { onMessage, onState });
  line.asked = nick;
  line.renaming = '';
  element.called.value = element.called.defaultValue = '';
  line.connect();
  fit();
  element.text.focus();
}

function leave() {
  line?.end();
  line = null;
  outbox.clear();
  room = '';
  unread = 0;
  clearInterval(showState.ticking);
  clearTimeout(pass.settling);
  showTitle();
  element.talk.hidden = true;
  element.entrance.hidden = false;
}

function roomOfAddress() { return new URLSearchParams(location.search).get('room') ?? ''; }

/** The room comes from the address, the name from last time: with both, nothing need be asked. */
function arrive() {
  const wanted = roomOfAddress();
  const nick = recall('nick');
  element.room.value = wanted || element.room.value || 'lobby';
  element.nick.value ||= nick;
  if (wanted && nick && !faultOf(nick, wanted)) enter(wanted, nick);
  else (element.nick.value ? element.room : element.nick).focus();
}

/** The name in a field, with the blanks that the server makes of all kinds. */
function nameIn(field) { return field.value.trim().replace(/\s/gu, ' '); }

function faultOf(nick, name) {
  if (!nick) return words.needsNick;
  if ([...nick].length > me.limits.nick) return words.longNick(me.limits.nick);
  // No more, since the server takes 200 bytes and a character has up to four.
  return /^[\p{L}\p{N}_]{1,50}$/u.test(name) ? '' : words.needsRoom;
}

element.join.addEventListener('submit', (event) => {
  event.preventDefault();
  const nick = nameIn(element.nick);
  const name = element.room.value.trim();
  const fault = faultOf(nick, name);
  const wrong = fault === words.needsRoom ? element.room : element.nick;
  element['join-fault'].textContent = fault;
  for (const field of [element.nick, element.room]) {
    field.setAttribute('aria-invalid', String(Boolean(fault) && field === wrong));
  }
  if (fault) {
    wrong.focus();
    return;
  }
  keep('nick', nick);
  // Whoever came by this address need not go back through it twice.
  if (roomOfAddress() !== name) history.pushState(null, '', `?${new URLSearchParams({ room: name })}`);
  enter(name, nick);
});

element.leave.addEventListener('click', () => {
  element.room.value = room;
  leave();
  history.pushState(null, '', location.pathname);
  element.room.focus();
});

window.addEventListener('popstate', () => {
  leave();
  arrive();
});

// --- saying ---

/** How much too long the text is, in bytes; negative when there is room. */
function over(text) { return BYTES.encode(text).length - me.limits.text; }

function fit() {
  element.text.style.height = 'auto';
  element.text.style.height = `${element.text.scrollHeight + 2}px`;
  const bytes = over(element.text.value);
  const near = bytes > -me.limits.text / 5;
  element.fault.textContent = '';
  // No alert, which would be read out at each letter.
  element.left.textContent = bytes > 0 ? words.tooLong(bytes) : near ? words.bytesLeft(-bytes) : '';
  element.left.classList.toggle('fault', bytes > 0);
  element.text.setAttribute('aria-invalid', String(bytes > 0));
}

element.text.addEventListener('input', () => {
  fit();
  const now = performance.now();
  const due = now - (line?.typed ?? -Infinity) > TYPING;
  if (line?.open && due && element.text.value.trim() && people.connections > 1) {
    line.typed = now;
    line.send({ type: 'typing' });
  }
});

element.text.addEventListener('keydown', (event) => {
  // While an input method composes, Enter chooses a word; 229 is how some say so.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  element.say.requestSubmit();
});

element.say.addEventListener('submit', (event) => {
  event.preventDefault();
  const text = element.text.value.trim();
  if (!text) return;
  const bytes = over(text);
  if (bytes > 0) {
    element.left.textContent = '';
    element.fault.textContent = words.tooLong(bytes);
    return;
  }
  if (!outbox.add(text)) {
    element.fault.textContent = words.tooMany;
    return;
  }
  log.unite();
  element.text.value = '';
  if (line) line.typed = undefined;
  fit();
  log.toEnd();
  element.text.focus();
});

element.log.addEventListener('click', ({ target }) => {
  const { act, ref } = target.dataset ?? {};
  if (!act) return;
  outbox[act](ref);
  element.text.focus();
});

element.newer.addEventListener('click', () => {
  log.toEnd();
  element.text.focus();
});

// Who is slowed down sees the seconds go by.
setInterval(() => {
  if (outbox.entries.some(({ state }) => state === 'slowed')) log.pending(outbox.entries);
}, 1000);

// --- beside the room ---

element.rename.addEventListener('submit', (event) => {
  event.preventDefault();
  const nick = nameIn(element.called);
  const fault = nick ? [...nick].length > me.limits.nick ? words.longNick(me.limits.nick) : '' : words.needsNick;
  element['rename-fault'].textContent = fault;
  if (fault || nick === me.nick) return;
  if (!line.open) {
    element['rename-fault'].textContent = element.state.textContent;
    return;
  }
  // Before the welcome it waits for that.
  line.renaming = nick;
  if (me.id) line.send({ type: 'nick', nick });
});

element.called.addEventListener('input', () => { element['rename-fault'].textContent = ''; });

element.copy.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(element.address.value);
    element.copy.textContent = words.copied;
    element.spoken.textContent = words.copied;
    setTimeout(() => { element.copy.textContent = words.copy; }, 2000);
  } catch {
    // Not over plain http: it is selected, for copying by hand.
    element.address.focus();
    element.address.select();
  }
});

element.close.addEventListener('click', () => line?.close());
for (const button of [element.reconnect, element.retry]) {
  button.addEventListener('click', () => {
    line?.connect();
    showPanel(false);
    element.text.focus();
  });
}

element.who.addEventListener('click', () => showPanel(!element.talk.classList.contains('shown')));
element.talk.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.isComposing || !element.talk.classList.contains('shown')) return;
  showPanel(false);
  element.who.focus();
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    leaveOff();
    log.unite();
    return;
  }
  noteSeen();
  unread = 0;
  showTitle();
});

speak(document);
showTitle();
arrive();
