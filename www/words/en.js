// English. A language is a file like this one and a line in words.js.
const number = new Intl.NumberFormat('en');
const people = (count) => (count === 1 ? '1 person' : `${number.format(count)} people`);

export default {
  // The entrance.
  name: 'Sluice chat',
  welcome: 'Choose a name and a room. Whoever has the room’s address can come in.',
  nick: 'Your name',
  room: 'Room',
  enter: 'Enter',
  needsNick: 'Please give a name.',
  longNick: (most) => `A name has up to ${most} characters.`,
  needsRoom: 'A room is named with up to 50 letters, digits and _ alone.',

  // The connection.
  connecting: 'Connecting…',
  open: 'Connected',
  lost: 'Connection lost',
  offline: 'No network',
  asked: { 1012: 'The server is restarting', 1013: 'The server is busy' },
  troubled: (what, seconds) => `${what}. ${seconds > 0 ? `Next try in ${seconds} s.` : 'Trying again…'}`,
  closed: 'Closed',
  closedByYou: 'You closed the connection.',
  closedByServer: (code, reason) => `The server closed the connection${reason ? `: ${reason}` : ''} (${code}).`,
  close: 'Close',
  reconnect: 'Reconnect',
  leave: 'Leave',

  // What is said.
  messages: 'Messages',
  message: 'Message',
  messageTo: (room) => `Message to ${room}`,
  send: 'Send',
  somebody: 'somebody',
  hush: 'Nothing has been said since you came. Send somebody the room’s address!',
  newer: (count) => (count === 1 ? '1 new message' : `${number.format(count)} new messages`),
  tooLong: (over) => `Too long by ${number.format(over)} bytes.`,
  bytesLeft: (count) => `${number.format(count)} bytes left`,
  tooMany: 'Too many messages are waiting; this one stays here.',
  newSince: 'New since you left',
  notRecovered: 'Some of what was said meanwhile may be missing here.',
  missed: (from, to) => `What was said between ${from} and ${to} is not shown here.`,
  numbered: (asked, nick) => `${asked} is somebody else here; you are ${nick}.`,

  // One's own messages on their way.
  waiting: 'Goes out when connected',
  sending: 'Sending…',
  unsure: 'Sending…',
  slowed: (seconds) => `Too fast: goes out in ${seconds} s`,
  unknown: 'Perhaps not sent',
  refused: 'Not sent',
  again: 'Send again',
  discard: 'Discard',

  // Who is here.
  beside: 'The room and you',
  here: (count) => `${people(count)} here`,
  you: 'you',
  windows: (count) => `${count} windows`,
  more: (count) => `${number.format(count)} more`,
  unnamed: (count) => `${number.format(count)} without a name`,
  joined: (names) => `${names} joined`,
  left: (names) => `${names} left`,
  renamed: (old, nick) => `${old} is now ${nick}`,
  typing: (names, count) => `${names} ${count === 1 ? 'is' : 'are'} typing…`,
  manyTyping: 'Several people are typing…',
  change: 'Change',
  address: 'The room’s address',
  copy: 'Copy',
  copied: 'Copied',

  // The server's refusals, by code.
  errors: {
    taken: 'Somebody else has this name.',
    'too-long': 'That is too long.',
    empty: 'There is nothing to show in that.',
    busy: 'The server is busy. Please try again.',
    'not-kept': 'The server could not keep it. Please try again.',
    flood: (seconds) => `Too many messages. Please try again in ${seconds} s.`,
  },
};
