// What people write, as nodes of the page: text stays text, addresses become links.

// Up to a blank, a quote or a character that shows nothing.
const ADDRESS = /https?:\/\/[^\s\p{Cf}\p{Cc}<>"'`{}|\\^]+/giu;
const TRAILING = new Set('.,;:!?…。，；：！？、）】》」』]');

/** Where the address ends that a sentence may go on behind: "(see http://a.b/c)." */
function trimmed(address) {
  let unopened = address.split(')').length - address.split('(').length;
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (last === ')' && unopened > 0) unopened -= 1;
    else if (!TRAILING.has(last)) break;
  }
  return address.slice(0, end);
}

/** The address as the browser understands it, or null when it is none to follow. */
function target(address) {
  try {
    const url = new URL(address);
    // "https://bank.example@evil.example/" reads like another place than it is.
    return url.username || url.password ? null : url.href;
  } catch {
    return null;
  }
}

function link(address, href) {
  const anchor = document.createElement('a');
  anchor.href = href;
  anchor.textContent = address;
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer nofollow ugc';
  // Shows letters that only look Latin for what they are.
  anchor.title = href;
  return anchor;
}

/** The nodes for a text. Nothing in it becomes markup but links to http and https. */
export function nodesOf(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = target(address);
    if (!href) continue;
    nodes.push(text.slice(done, match.index), link(address, href));
    done = match.index + address.length;
  }
  nodes.push(text.slice(done));
  return nodes.filter((node) => node !== '');
}

/** An element with a class and what is in it: text or nodes. */
export function make(tag, kind, ...children) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
}

const segmenter = new Intl.Segmenter();

/** A round sign for a person: the first letters of the nick on a colour of the id. */
export function face(id, nick) {
  const first = [...segmenter.segment(nick)].map(({ segment }) => segment);
  const second = first[first.indexOf(' ') + 1];
  const sign = make('span', 'face', (first[0] ?? '?') + (first.includes(' ') && second ? second : ''));
  sign.style.setProperty('--hue', hue(id));
  sign.setAttribute('aria-hidden', 'true');
  return sign;
}

/** A colour's angle that is always the same for an id. */
export function hue(id) {
  let sum = 2166136261;
  for (const letter of id) sum = Math.imul(sum ^ letter.codePointAt(0), 16777619) >>> 0;
  return (sum % 24) * 15;
}
