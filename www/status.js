// The status page: asks the server for its figures, shows them and the last minutes of them, and says
// when it gets no answer.
import { Plot } from './plot.js';
import { choose, locale, speak } from './words.js';
import en from './status-words/en.js';
import zhCN from './status-words/zh-CN.js';

const languages = { en, 'zh-CN': zhCN };
const language = choose(navigator.languages, Object.keys(languages));
const words = languages[language];

const ASK_MS = 2000;
const PATIENCE_MS = 5000;
const MINUTES = 5;
const PLACES = (MINUTES * 60000) / ASK_MS + 1;

const $ = (id) => document.getElementById(id);
const address = document.querySelector('meta[name="figures"]').content;

/* --- how figures are written --- */

const whole = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { notation: 'compact', maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat(language, { style: 'percent', maximumSignificantDigits: 2 });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: 'medium' });
const units = ['kilobyte', 'megabyte', 'gigabyte', 'terabyte'].map((unit) =>
  new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short', maximumSignificantDigits: 3 }));

function size(bytes) {
  const step = bytes < 1e6 ? 1 : Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  return units[step - 1].format(bytes / 1000 ** step);
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  return words.up(Math.floor(hours / 24), hours % 24, minutes % 60, Math.floor(seconds));
}

/* --- the last minutes --- */

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

/** What is plotted: of: a value of now; or rate: of something that is counted, a second. */
const kinds = [
  { name: 'websockets', lines: [{ of: (figures) => figures.websockets }], write: (value) => short.format(value) },
  { name: 'messages',
    lines: [{ word: 'in', rate: (figures) => figures.messages_received }, { word: 'out', rate: (figures) => sum(figures.messages_sent) }],
    write: (value) => short.format(value) },
  { name: 'bytes',
    lines: [{ word: 'in', rate: (figures) => figures.received_bytes }, { word: 'out', rate: (figures) => figures.sent_bytes }],
    write: size },
  { name: 'queued', lines: [{ of: (figures) => figures.queued_bytes }], write: size },
  { name: 'processor', lines: [{ rate: (figures) => figures.processor_seconds }], write: (value) => percent.format(value) },
  { name: 'memory', lines: [{ of: (figures) => figures.resident_bytes }], write: size },
];

/** One for each time that was asked, the newest last: {at, figures}; figures are null without an
 * answer. */
const past = [];
const answered = () => past.findLast(({ figures }) => figures !== null);

/** How much more it is a second than at the time before; null when the server began anew meanwhile,
 * or did not answer. */
function rate(count, at) {
  const [before, after] = [past[at - 1], past[at]];
  if (!before?.figures || !after.figures || before.figures.started !== after.figures.started) return null;
  const seconds = after.figures.now - before.figures.now; // by the server's clock: answers take their time
  return seconds > 0 ? Math.max(0, (count(after.figures) - count(before.figures)) / seconds) : null;
}

function values(line) {
  return past.map(({ figures }, at) => {
    if (line.rate) return rate(line.rate, at);
    return figures === null ? null : line.of(figures);
  });
}

/** How much was added within the minutes that are shown. */
function added(count) {
  let all = 0;
  for (let at = 1; at < past.length; at++) {
    const faster = rate(count, at);
    if (faster !== null) all += faster * (past[at].figures.now - past[at - 1].figures.now);
  }
  return Math.round(all);
}

/* --- what is shown --- */

function add(parent, name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  parent.append(element);
  return element;
}

for (const kind of kinds) {
  const card = add($('plots'), 'section');
  add(card, 'h2', words[kind.name]);
  kind.value = add(card, 'p', '–', 'value');
  const frame = add(card, 'div', undefined, 'frame');
  kind.top = add(frame, 'span', '', 'top-of-scale');
  kind.plot = new Plot(frame, kind.lines.length, PLACES);
  const axis = add(card, 'p', undefined, 'axis');
  axis.setAttribute('aria-hidden', 'true');
  add(axis, 'span', words.span(MINUTES));
  add(axis, 'span', words.now);
}

/** The value of now: with the words for each of two lines. */
function writeNow(kind, lists) {
  kind.value.replaceChildren();
  kind.lines.forEach((line, at) => {
    const last = lists[at].at(-1);
    const part = add(kind.value, 'span', last === null ? '–' : kind.write(last), line.word && `key key-${at + 1}`);
    if (line.word) add(part, 'small', ` ${words[line.word]}`);
  });
  return kind.value.textContent;
}

function showPlots() {
  for (const kind of kinds) {
    const lists = kind.lines.map(values);
    const now = kind.lines.map((line, at) => lists[at].at(-1)).every((value) => value === null) ? '–' : writeNow(kind, lists);
    const top = kind.plot.draw(lists, () => words.plot(words[kind.name], now,
      kind.write(Math.max(0, ...lists.flat().filter((value) => value !== null))), MINUTES));
    kind.top.textContent = kind.write(top);
  }
}

function showRoutes({ routes }) {
  const at = past.length - 1;
  const of = (route) => (figures) => figures.routes.find((one) => one.route === route.route && one.consumer === route.consumer);
  $('routes').replaceChildren();
  $('no-routes').hidden = routes.length > 0;
  for (const route of routes) {
    const row = add($('routes'), 'tr');
    const found = of(route);
    const calls = rate((figures) => found(figures)?.hook_calls ?? 0, at);
    const time = rate((figures) => found(figures)?.hook_seconds ?? 0, at);
    const head = add(row, 'th', undefined);
    head.scope = 'row';
    add(head, 'code', route.route);
    add(row, 'td', route.consumer);
    for (const text of [whole.format(route.route_websockets), calls === null ? '–' : short.format(calls),
      time === null ? '–' : percent.format(time), whole.format(route.hooks_over_budget)]) add(row, 'td', text, 'number');
  }
}

function showList(list, entries) {
  list.replaceChildren();
  if (entries.length === 0) add(add(list, 'div'), 'dt', words.none);
  for (const [name, text, code] of entries) {
    const row = add(list, 'div');
    const term = add(row, 'dt', name);
    if (code) add(term, 'small', ` ${code}`);
    add(row, 'dd', text);
  }
}

const counted = (counts, names) => Object.entries(counts).filter(([, count]) => count > 0)
  .sort(([, a], [, b]) => b - a).map(([key, count]) => [names[key] ?? key, whole.format(count), /^\d/.test(key) && key]);

function showLists(figures) {
  const { besides } = words;
  showList($('closes'), counted(figures.closes, words.closeCodes));
  showList($('refused'), counted(figures.refused, words.causes));
  showList($('more'), Object.entries({
    connections: figures.connections, accepted: figures.connections_accepted, groups: figures.groups,
    memberships: figures.group_memberships, timers: figures.timers, offload: figures.offload_waiting,
    generation: figures.generation, reloads: sum(figures.reloads), restarts: figures.restarts,
  }).map(([name, count]) => [besides[name], whole.format(count)]));
}

/** What somebody should look at, of the minutes that are shown. */
function noticesOf(figures) {
  const notices = [];
  const tell = (count, say) => { if (count > 0) notices.push(say(count)); };
  for (const { route, consumer } of figures.routes) {
    tell(added((then) => then.routes.find((one) => one.route === route && one.consumer === consumer)?.hooks_over_budget ?? 0),
      (count) => words.held(consumer, route, count));
  }
  tell(added((then) => sum(then.messages_dropped)), words.slow);
  tell(added((then) => then.connections_stalled), words.stalled);
  tell(added((then) => then.refused['max-connections']), words.full);
  tell(figures.restarts, words.restarted);
  tell(added((then) => then.reloads.refused), words.reloadRefused);
  return notices;
}

function say(state, text) {
  $('state').dataset.state = state;
  // A sentence that is the same is not told again to who listens.
  if ($('state').textContent !== text) $('state').textContent = text;
}

function showAnswer(figures) {
  const notices = noticesOf(figures);
  const up = duration(figures.now - figures.started);
  $('what').textContent = words.what(figures.version, figures.libh2o, figures.transport, figures.threads);
  $('notices').replaceChildren();
  for (const notice of notices) add($('notices'), 'li', notice);
  $('notices').hidden = notices.length === 0;
  say(notices.length ? 'look' : 'well', notices.length ? words.look(up) : words.well(up));
  showRoutes(figures);
  showLists(figures);
}

/* --- asking --- */

let paused = false;
let timer;
let missing; // the status of an answer without figures

async function ask() {
  missing = undefined;
  try {
    const answer = await fetch(address, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) {
      missing = answer.status;
      return null;
    }
    return await answer.json();
  } catch {
    return null;
  }
}

function showSilence() {
  const last = answered();
  if (missing) say('silent', words.noFigures(missing));
  else say('silent', last ? words.silent(clock.format(last.at)) : words.never);
}

async function turn() {
  const began = performance.now();
  const figures = await ask();
  if (paused) return;
  past.push({ at: Date.now(), figures });
  if (past.length > PLACES) past.shift();
  document.body.classList.toggle('old', figures === null);
  if (figures === null) showSilence();
  else showAnswer(figures);
  showPlots();
  timer = setTimeout(turn, Math.max(0, ASK_MS - (performance.now() - began)));
}

$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').textContent = paused ? words.goOn : words.pause;
  clearTimeout(timer);
  if (paused) say('paused', words.paused(clock.format(Date.now())));
  else turn();
});

speak(document, words);
document.title = words.name;
for (const column of words.columns) add($('columns'), 'th', column).scope = 'col';
say('asking', words.asking);
turn();
