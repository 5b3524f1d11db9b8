// Prometheus' text exposition format 0.0.4, read strictly: what a server may leave out or in another
// order without harm is a fault here too.
import assert from 'node:assert/strict';

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"/;
const VALUE = /^ (\d+(?:\.\d+)?)$/;

function take(pattern, text, what) {
  const match = pattern.exec(text);
  assert.ok(match, `${what} is wanted at: ${text}`);
  return [match, text.slice(match[0].length)];
}

function readLabels(text) {
  const labels = new Map();
  let match;
  let rest = text.slice(1);
  while (!rest.startsWith('}')) {
    if (labels.size) [, rest] = take(/^,/, rest, 'a comma');
    [match, rest] = take(LABEL, rest, 'a label');
    const [, name, escaped] = match;
    assert.ok(!name.startsWith('__') && !labels.has(name), `label ${name} in ${text}`);
    labels.set(name, escaped.replace(/\\(.)/g, (_, letter) => (letter === 'n' ? '\n' : letter)));
  }
  return [labels, rest.slice(1)];
}

function readSample(line) {
  const [[name], rest] = take(NAME, line, 'a name');
  const [labels, behind] = rest.startsWith('{') ? readLabels(rest) : [new Map(), rest];
  const [[, value]] = take(VALUE, behind, 'a value');
  return { name, labels, value: Number(value) };
}

/** The line that every metric begins with, and the one behind it. */
function readHead(help, type, families) {
  const [, name] = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\]|\\\\|\\n)+$/.exec(help) ?? [];
  assert.ok(name, `a HELP line is wanted: ${help}`);
  const [, typed, kind] = /^# TYPE (\S+) (counter|gauge)$/.exec(type) ?? [];
  assert.equal(typed, name, `the TYPE of ${name} is wanted: ${type}`);
  assert.ok(!families.has(name), `${name} stands twice`);
  assert.equal(name.endsWith('_total'), kind === 'counter', `${name} is no name for a ${kind}`);
  families.set(name, kind);
  return name;
}

/**
 * The figures of an answer: a function of a name and its labels, which have to be all that the
 * series has; undefined when there is no such series.
 */
export function readExposition(text) {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const families = new Map();
  const series = new Map();
  const key = (name, labels) => JSON.stringify([name, [...labels].sort()]);
  const lines = text.slice(0, -1).split('\n');
  let current;
  for (let at = 0; at < lines.length; at++) {
    if (lines[at].startsWith('#')) {
      current = readHead(lines[at], lines[++at] ?? '', families);
      continue;
    }
    const sample = readSample(lines[at]);
    assert.equal(sample.name, current, `${sample.name} stands among those of ${current}`);
    const id = key(sample.name, sample.labels);
    assert.ok(!series.has(id), `${lines[at]} stands twice`);
    series.set(id, sample.value);
  }
  const figure = (name, labels = {}) => series.get(key(name, Object.entries(labels)));
  figure.names = [...families.keys()];
  figure.size = series.size;
  return figure;
}
