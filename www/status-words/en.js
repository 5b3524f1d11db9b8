// English, for the status page.
const number = new Intl.NumberFormat('en');
const many = (count, one, more) => `${number.format(count)} ${count === 1 ? one : more}`;

export default {
  name: 'Sluice status',
  pause: 'Pause',
  goOn: 'Go on',
  what: (version, library, transport, threads) =>
    `Sluice ${version} on libh2o ${library}, ${many(threads, 'thread', 'threads')}, ${transport === 'io_uring' ? 'io_uring' : 'a system call each'}`,

  // The server, in a sentence.
  asking: 'Asking the server…',
  well: (up) => `All is well. The server has been up for ${up}.`,
  look: (up) => `The server answers and has been up for ${up}. Look at this:`,
  silent: (since) => `The server does not answer since ${since}. What is shown is from before; this page keeps asking.`,
  never: 'The server does not answer. This page keeps asking.',
  noFigures: (status) => `There are no figures at this address (${status}): “metrics: ON” has to stand beside this page.`,
  paused: (at) => `Paused at ${at}.`,
  up: (days, hours, minutes, seconds) => {
    if (days > 0) return `${many(days, 'day', 'days')} ${hours} h`;
    if (hours > 0) return `${hours} h ${minutes} min`;
    return minutes > 0 ? `${minutes} min` : `${seconds} s`;
  },

  // What to look at, of the last minutes.
  notices: 'What to look at',
  held: (consumer, route, count) => `${consumer} held a thread for too long ${many(count, 'time', 'times')} (${route}).`,
  slow: (count) => `${many(count, 'message', 'messages')} did not fit the queues of clients that read too slowly.`,
  stalled: (count) => `${many(count, 'connection was', 'connections were')} reset: the client took nothing.`,
  full: (count) => `${many(count, 'connection', 'connections')} refused: max-connections is reached.`,
  restarted: (count) => `The worker was started again ${many(count, 'time', 'times')}.`,
  reloadRefused: (count) => `${many(count, 'reload was', 'reloads were')} refused.`,

  // The plots.
  websockets: 'WebSockets',
  messages: 'Messages a second',
  bytes: 'Bytes a second',
  queued: 'Waiting to be sent',
  processor: 'Processor',
  memory: 'Memory',
  in: 'in',
  out: 'out',
  span: (minutes) => `${minutes} min ago`,
  now: 'now',
  plot: (name, now, most, minutes) => `${name}: now ${now}; over ${minutes} minutes at most ${most}`,

  // The tables.
  routes: 'Routes',
  noRoutes: 'No route has a consumer.',
  columns: ['Pattern', 'Consumer', 'WebSockets', 'Calls a second', 'Time in it', 'Too long'],
  closes: 'WebSockets that ended',
  closeCodes: {
    1000: 'done', 1001: 'left, or the server stops', 1002: 'protocol broken', 1005: 'without a code',
    1006: 'lost', 1007: 'not text', 1008: 'against the rules', 1009: 'message too big', 1011: 'consumer failed',
    1012: 'restart', 1013: 'read too slowly', other: 'other codes', '3000-3999': 'codes of libraries', '4000-4999': 'codes of consumers',
  },
  refused: 'Refused',
  causes: {
    'max-connections': 'over max-connections', head: 'a wrong head', method: 'a method that is not served',
    path: 'a wrong path', 'dot-file': 'a dot file', 'match-limit': 'a pattern gave up', origin: 'a foreign origin',
    handshake: 'a wrong handshake', 'no-handshake': 'no WebSocket handshake', token: 'publishing without a right token',
    'thread-full': 'no place, or stopping',
  },
  none: 'None so far',
  more: 'Besides',
  besides: {
    connections: 'Connections open', accepted: 'Connections accepted', groups: 'Groups', memberships: 'Members of groups',
    timers: 'Timers', offload: 'Jobs waiting for the pool', generation: 'Configuration number', reloads: 'Reloads', restarts: 'Restarts',
  },
};
