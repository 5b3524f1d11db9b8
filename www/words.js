// The words of the page, in the first of the reader's languages that there is a file for.
import en from './words/en.js';
import zhCN from './words/zh-CN.js';

const languages = { en, 'zh-CN': zhCN };
const base = (tag) => tag.toLowerCase().split('-')[0];

/** The tag of the language to speak: an exact match first, then one of the same language. */
export function choose(wanted, offered = Object.keys(languages)) {
  for (const tag of wanted) {
    const found = offered.find((other) => other.toLowerCase() === tag.toLowerCase())
      ?? offered.find((other) => base(other) === base(tag));
    if (found) return found;
  }
  return 'en';
}

export const language = choose(navigator.languages);
export const words = languages[language];

/** The reader's own way to write the language, for times of day. */
export const locale = navigator.languages.find((tag) => base(tag) === base(language)) ?? language;

const names = new Intl.ListFormat(language, { type: 'conjunction' });
const NAMED = 4;

/** "Ann, Ben and Cleo", and of many the first few and how many more. */
export function listed(all) {
  if (all.length <= NAMED) return names.format(all);
  return names.format([...all.slice(0, NAMED - 1), words.more(all.length - NAMED + 1)]);
}

/** Puts the words into every element that names one; another page has words of its own. */
export function speak(root, said = words) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll('[data-word]')) element.textContent = said[element.dataset.word];
  for (const element of root.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', said[element.dataset.label]);
  }
}
