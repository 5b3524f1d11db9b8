// chat.v1 as it comes from the server: what each message must have for the page to show it.

const SHAPES = {
  welcome: { id: 'string', nick: 'string', greeting: 'string', limits: 'object' },
  said: { id: 'string', from: 'string', time: 'string', text: 'string' },
  joined: { id: 'string', nick: 'string' },
  left: { id: 'string', nick: 'string' },
  nick: { id: 'string', old: 'string', new: 'string' },
  typing: { id: 'string', from: 'string' },
  who: { people: 'object', unnamed: 'number', connections: 'number' },
  history: { epoch: 'string', offset: 'number', count: 'number' },
  kept: { ref: 'string', at: 'number' },
  error: { code: 'string', field: 'string', message: 'string' },
};

const fits = (value, type) => typeof value === type && value !== null;

/** Whether it is a message of chat.v1, whole. What else it has is of no matter. */
export function understood(message) {
  const shape = Object.hasOwn(SHAPES, message.type) && SHAPES[message.type];
  if (!shape || !Object.entries(shape).every(([name, type]) => fits(message[name], type))) return false;
  if (message.type === 'welcome') return fits(message.limits.nick, 'number') && fits(message.limits.text, 'number');
  if (message.type !== 'who') return true;
  return Array.isArray(message.people) && message.people.every((person) => fits(person, 'object')
    && fits(person.id, 'string') && fits(person.nick, 'string') && fits(person.windows, 'number'));
}
