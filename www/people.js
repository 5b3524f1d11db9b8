// Who is in the room, and who types there.

const TYPING = 4000;
const MOST_SHOWN = 100;

export class People {
  #people = new Map();
  #typing = new Map();
  #order;
  unnamed = 0;
  connections = 0;

  constructor(language) {
    const collator = new Intl.Collator(language);
    this.#order = (one, other) => collator.compare(one.nick, other.nick);
  }

  /** A person whose windows have different names is shown with each of them. */
  #key(id, nick) { return `${id} ${nick}`; }

  replace({ people, unnamed, connections }) {
    this.#people = new Map(people.map((person) => [this.#key(person.id, person.nick), { ...person }]));
    Object.assign(this, { unnamed, connections });
  }

  joined({ id, nick }) {
    const person = this.#people.get(this.#key(id, nick));
    if (person) person.windows += 1;
    else this.#people.set(this.#key(id, nick), { id, nick, windows: 1 });
    this.connections += 1;
  }

  left({ id, nick }) {
    const person = this.#people.get(this.#key(id, nick));
    if (!person) return;
    person.windows -= 1;
    if (person.windows <= 0) this.#people.delete(this.#key(id, nick));
    this.connections -= 1;
    if (!this.has(id)) this.#typing.delete(id);
  }

  renamed({ id, old, new: nick }) {
    this.left({ id, nick: old });
    this.joined({ id, nick });
  }

  clear() {
    this.replace({ people: [], unnamed: 0, connections: 0 });
    this.hush();
  }

  /** Nobody types any more. */
  hush() { this.#typing.clear(); }

  /** With a nick: whether one of the person's windows has it. */
  has(id, nick) {
    if (nick !== undefined) return this.#people.has(this.#key(id, nick));
    return [...this.#people.values()].some((person) => person.id === id);
  }

  get count() { return this.#people.size; }

  /** The first hundred by name, oneself in front. */
  list(self) {
    const all = [...this.#people.values()].sort(this.#order);
    const own = all.filter(({ id }) => id === self);
    return [...own, ...all.filter(({ id }) => id !== self)].slice(0, MOST_SHOWN);
  }

  types({ id, from }) { this.#typing.set(id, { from, until: performance.now() + TYPING }); }

  stopsTyping(id) { this.#typing.delete(id); }

  /** The names of those who type now. */
  get typing() {
    const now = performance.now();
    for (const [id, { until }] of this.#typing) if (until <= now) this.#typing.delete(id);
    return [...this.#typing.values()].map(({ from }) => from);
  }
}
