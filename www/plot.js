// A small plot of the last minutes: one or two lines over the same time, as SVG. What it shows is also
// said in words, since a picture alone tells some readers nothing.
const SVG = 'http://www.w3.org/2000/svg';
const WIDE = 300;
const HIGH = 80;

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** The next of 1, 2, 5, 10, 20…: a scale that stands still while the values under it move. */
export function scale(most) {
  if (!(most > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  return unit * [1, 2, 5, 10].find((step) => step * unit >= most * (1 - 1e-9));
}

/** The path of the values from the left to the right; where there is none (null) the line breaks. */
export function path(values, most, places) {
  let drawn = '';
  let pen = 'M';
  const first = places - values.length;
  values.forEach((value, at) => {
    if (value === null) {
      pen = 'M';
      return;
    }
    const x = (((first + at) / (places - 1)) * WIDE).toFixed(1);
    const y = (HIGH - (value / most) * HIGH).toFixed(1);
    // A value alone between two gaps is a point: a line to itself, with round ends.
    drawn += `${pen}${x} ${y}${pen === 'M' ? `L${x} ${y}` : ''}`;
    pen = 'L';
  });
  return drawn;
}

/** A plot in the parent; places: how many values it has room for. */
export class Plot {
  #svg;
  #lines;
  #places;

  constructor(parent, lines, places) {
    this.#places = places;
    this.#svg = make('svg', { viewBox: `0 -4 ${WIDE} ${HIGH + 8}`, preserveAspectRatio: 'none', role: 'img' }, parent);
    for (const y of [0, HIGH / 2, HIGH]) make('path', { class: 'grid', d: `M0 ${y}H${WIDE}` }, this.#svg);
    this.#lines = Array.from({ length: lines }, (_, at) => make('path', { class: `line line-${at + 1}` }, this.#svg));
  }

  /** Draws the lists of values and says what they show; returns the scale's top. */
  draw(lists, label) {
    const most = scale(Math.max(0, ...lists.flat().filter((value) => value !== null)));
    this.#lines.forEach((line, at) => line.setAttribute('d', path(lists[at], most, this.#places)));
    this.#svg.setAttribute('aria-label', label(most));
    return most;
  }
}
