import { expect, test } from 'vitest';
import { textOf } from './tree.ts';

const page = 'docs/evidence.md';
const links = [...textOf(page).matchAll(/\[([^\]]+)\]\(\.\.\/([a-z-]+\/[a-z/-]+\.test\.ts)\)/g)];

/** Letters and digits alone: a title on the page may begin with a capital, and end early. */
const bare = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, ' ');

test('every test that the page names is in the file that it names', () => {
  expect(links.length).toBeGreaterThan(30);
  const wrong = links.filter(([, title, file]) => !bare(textOf(file!)).includes(bare(title!).trim()));
  expect(wrong.map(([, title, file]) => `${file}: ${title}`)).toEqual([]);
});
