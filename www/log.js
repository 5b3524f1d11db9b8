// The messages of a room on the page: grouped by author, days marked, comings and goings in one
// small line. It follows the newest unless somebody has scrolled up to read.
import { face, hue, make, nodesOf } from './text.js';
import { listed, locale, words } from './words.js';

const MOST = 2000;            // messages kept on the page…
const TRIM = 200;             // …and how many go at once when there are more
const MOST_LINES = 2 * MOST;  // the same for groups, days and notes together
const TOGETHER = 5 * 60000;   // messages of one author within this time stand in one group
const NEAR = 48;              // pixels from the end that count as the end

const hour = new Intl.DateTimeFormat(locale, { timeStyle: 'short' });
const full = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(locale, { dateStyle: 'full' });

/** The time of day, in the reader's zone. */
export const clock = (time) => hour.format(time);

function timeOf(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? new Date() : time;
}

/** One's own message that is not confirmed yet. */
function pendingOf({ ref, text, state, until, error }) {
  const failed = state === 'unknown' || state === 'refused';
  const fate = make('p', 'fate', make('span', '', {
    slowed: () => words.slowed(Math.max(1, Math.ceil((until - performance.now()) / 1000))),
    refused: () => `${words.refused}: ${words.errors[error] ?? error}`,
  }[state]?.() ?? words[state]));
  if (failed) {
    for (const act of ['again', 'discard']) {
      const button = make('button', '', words[act]);
      button.type = 'button';
      Object.assign(button.dataset, { act, ref });
      fate.append(button);
    }
  }
  const said = make('span', 'text', ...nodesOf(text));
  said.dir = 'auto';
  return make('div', `group own pending${failed ? ' failed' : ''}`, make('div', 'said', said), fate);
}

export class Log {
  #element;
  #messages = make('div', 'messages');
  #pending = make('div', '');
  #count = 0;
  #last = null;               // the group that the next message may join
  #note = null;               // the line that the next coming or going may join
  #divider = null;
  #day = '';
  #atEnd = true;
  #top = 0;                   // to know up from down
  #follows = false;
  #onUnseen;
  unseen = 0;

  /** onUnseen(count) when messages have come below what is in sight. */
  constructor(element, onUnseen) {
    this.#element = element;
    this.#onUnseen = onUnseen;
    this.#pending.setAttribute('aria-live', 'off');
    this.#messages.append(this.#pending);
    element.append(this.#messages);
    element.addEventListener('scroll', () => {
      const { scrollTop: top, scrollHeight, clientHeight } = element;
      if (scrollHeight - top - clientHeight < NEAR) this.#stay(true);
      else if (top < this.#top) this.#stay(false);
      this.#top = top;
    }, { passive: true });
    // Groups find their size when they come in sight, and the page may be turned.
    const sized = new ResizeObserver(() => this.#follow());
    sized.observe(element);
    sized.observe(this.#messages);
  }

  get empty() { return this.#count === 0 && !this.#pending.hasChildNodes(); }

  clear() {
    this.#messages.replaceChildren(this.#pending);
    this.#pending.replaceChildren();
    this.#count = 0;
    this.#day = '';
    this.#divider = null;
    this.#break();
    this.toEnd();
  }

  /** fresh: it is said now; what was said before does not move in. */
  said({ id, from, time, text }, own, fresh = true) {
    const at = timeOf(time);
    this.#markDay(at);
    this.#note = null;
    const nick = from || words.somebody;
    if (!this.#joins(id, nick, at)) this.#group(id, nick, at, own);
    const body = make('span', 'text', ...nodesOf(text));
    body.dir = 'auto';
    const said = make('div', `said${fresh ? ' arrives' : ''}`, make('span', 'quiet', `${nick}, ${clock(at)}: `), body);
    said.title = full.format(at);
    this.#last.element.append(said);
    this.#last.count += 1;
    this.#count += 1;
    this.#trim();
    if (own) this.#stay(true);
    else if (!this.#atEnd) this.#see(this.unseen + 1);
    this.#follow();
  }

  /** A line before what comes next, in place of an earlier one. */
  divide(text) {
    this.unite();
    this.#break();
    this.#divider = make('p', 'new', make('span', '', text));
    this.#add(this.#divider);
  }

  unite() {
    this.#divider?.remove();
    this.#divider = null;
  }

  /** A line of its own: what the server or the page has to say. */
  tell(text) {
    this.#break();
    this.#add(make('p', 'note', text));
    this.#trim();
  }

  /** kind is joined or left. Somebody who goes and comes at once is not worth a word. */
  passes(kind, { id, nick }) {
    if (!this.#note) {
      this.#break();
      this.#note = { element: make('p', 'note'), passing: new Map() };
      this.#note.element.setAttribute('aria-live', 'off');
      this.#add(this.#note.element);
    }
    const { element, passing } = this.#note;
    const before = passing.get(id);
    passing.delete(id);
    if (!before || before.kind === kind) passing.set(id, { kind, nick });
    const of = (wanted) => [...passing.values()].filter((one) => one.kind === wanted).map((one) => one.nick);
    element.textContent = ['joined', 'left'].map((wanted) => [wanted, of(wanted)])
      .filter(([, nicks]) => nicks.length)
      .map(([wanted, nicks]) => words[wanted](listed(nicks), nicks.length)).join(' · ');
    element.hidden = passing.size === 0;
  }

  /** Shows what is on its way, behind all else. */
  pending(entries) {
    const focused = document.activeElement?.dataset;
    const { act, ref } = this.#pending.contains(document.activeElement) ? focused : {};
    this.#pending.replaceChildren(...entries.map(pendingOf));
    if (act) this.#pending.querySelector(`[data-act="${act}"][data-ref="${ref}"]`)?.focus();
    this.#follow();
  }

  toEnd() {
    this.#stay(true);
    this.#follow();
  }

  #joins(id, nick, at) {
    return this.#last && this.#last.id === id && this.#last.nick === nick && at - this.#last.at < TOGETHER;
  }

  #group(id, nick, at, own) {
    const name = make('b', '', nick);
    name.dir = 'auto';
    const time = make('time', '', clock(at));
    time.dateTime = at.toISOString();
    const by = make('p', 'by', name, time);
    by.setAttribute('aria-hidden', 'true');
    const element = make('div', `group${own ? ' own' : ''}`, face(id, nick), by);
    element.style.setProperty('--hue', hue(id));
    this.#add(element);
    this.#last = { id, nick, at, element, count: 0 };
    element.group = this.#last;
  }

  #markDay(at) {
    const name = day.format(at);
    if (name === this.#day) return;
    this.#break();
    this.#day = name;
    this.#add(make('p', 'day', name));
  }

  #break() {
    this.#last = null;
    this.#note = null;
  }

  #add(element) {
    this.#messages.insertBefore(element, this.#pending);
    this.#follow();
  }

  /** At the end, or where somebody has scrolled to. */
  #stay(atEnd) {
    this.#atEnd = atEnd;
    this.#element.classList.toggle('reading', !atEnd);
    if (atEnd) this.#see(0);
  }

  #see(count) {
    if (this.unseen === count) return;
    this.unseen = count;
    this.#onUnseen(count);
  }

  /** Once a frame at most, however many messages came. */
  #follow() {
    if (this.#follows || !this.#atEnd) return;
    this.#follows = true;
    requestAnimationFrame(() => {
      this.#follows = false;
      if (this.#atEnd) this.#element.scrollTop = this.#element.scrollHeight;
    });
  }

  get #lines() { return this.#messages.childElementCount; }

  /** The oldest go, whole groups first; what is in sight stays where it is. */
  #trim() {
    if (this.#count <= MOST + TRIM && this.#lines <= MOST_LINES + TRIM) return;
    const before = this.#element.scrollHeight;
    while (this.#count > MOST || this.#lines > MOST_LINES) {
      const oldest = this.#messages.firstElementChild;
      const { group } = oldest;
      const extra = this.#count - MOST;
      if (extra > 0 && group?.count > extra) {
        for (const said of [...oldest.querySelectorAll('.said')].slice(0, extra)) said.remove();
        group.count -= extra;
        this.#count -= extra;
      } else {
        oldest.remove();
        this.#count -= group?.count ?? 0;
      }
    }
    // Browsers that hold the place themselves have moved nothing.
    if (!this.#atEnd && !CSS.supports('overflow-anchor: auto')) {
      this.#element.scrollTop -= before - this.#element.scrollHeight;
    }
  }
}
