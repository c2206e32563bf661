import { EventEmitter } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path/posix';
import { expect, test } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { loadTopology } from '../../src/topology/load.ts';
import { formatProblem } from '../../src/topology/problem.ts';
import { tempDir } from '../support/temp.ts';
import { projectFiles, root, textOf } from './tree.ts';

const pages = projectFiles().filter((file) => file.endsWith('.md'));

interface Block {
  readonly page: string;
  /** What stands behind the fence: `yaml`, `yaml fragment`, `sh`. */
  readonly info: string;
  readonly text: string;
}

const blocks: readonly Block[] = pages.flatMap((page) =>
  [...textOf(page).matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, info = '', text = '']) => ({ page, info, text })),
);

test('every topology file on a page loads; a part of one is marked as a fragment', async () => {
  await using dir = await tempDir('pages');
  const files = blocks.filter(({ info }) => info === 'yaml');
  expect(files.length).toBeGreaterThan(1);
  for (const [i, { page, text }] of files.entries()) {
    const path = join(dir.path, `${i}.yaml`);
    await writeFile(path, text);
    const loaded = loadTopology(path);
    expect(loaded.ok ? [] : loaded.problems.map(formatProblem), page).toEqual([]);
  }
});

test('the files of the five-minute example are those of topologies/pair', () => {
  const bare = (text: string): string =>
    text
      .split('\n')
      .map((line) => line.replace(/(^|\s+)#.*$/, ''))
      .filter((line) => line !== '')
      .join('\n');
  const shown = blocks
    .filter(({ page, info }) => page === 'README.md' && info === 'yaml')
    .map(({ text }) => bare(text));
  const loaded = ['east', 'west'].map((name) => bare(textOf(`topologies/pair/${name}.yaml`)));
  // One may write a mapping in one line or in several.
  const flat = (text: string): string => text.replace(/\{ ([^{}]*) \}/g, '$1').replace(/\s+/g, '');
  expect(shown.map(flat)).toEqual(loaded.map(flat));
});

/** Options of a command, from its own help; undefined if there is no such command. */
async function optionsOf(...command: readonly string[]): Promise<ReadonlySet<string> | undefined> {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  const host = { name: 'causeway', version: '1', env: {}, stderrIsTerminal: false, stdoutColumns: () => undefined };
  await runCli([...command, '--help'], { ...host, out: write, err: write, signals: new EventEmitter() });
  // For a word that is none of its commands it shows the help of the whole.
  if (!text.startsWith(`Usage: causeway ${command.join(' ')} `)) return undefined;
  return new Set([...text.matchAll(/(?<=^ {2}|, )--?[a-z][a-z-]*/gm)].map(([option]) => option));
}

test('every command line on a page has a command and options that there are', async () => {
  const wrong: string[] = [];
  const lines = pages.flatMap((page) => {
    const spans = [...textOf(page).matchAll(/`(causeway [^`\n]+)`/g)].map(([, line = '']) => line);
    const typed = blocks
      .filter((block) => block.page === page)
      .flatMap(({ text }) => text.split('\n'))
      .filter((line) => /^\s*(\w+=\S+ )*causeway /.test(line));
    return [...spans, ...typed].map((line) => ({ page, line: line.replace(/\s#.*$/, '') }));
  });
  expect(lines.length).toBeGreaterThan(10);
  for (const { page, line } of lines) {
    const [first = '', ...words] = line.slice(line.indexOf('causeway ')).split(' ').slice(1);
    // Not `causeway --help`, nor a word in capitals that stands for any command.
    if (!/^[a-z]+$/.test(first)) continue;
    const [second = ''] = words;
    // A command may have commands of its own: `gaps list`.
    const inner = /^[a-z]+$/.test(second) ? await optionsOf(first, second) : undefined;
    const options = inner ?? (await optionsOf(first));
    if (options === undefined) wrong.push(`${page}: no command ${first}: ${line}`);
    for (const [word] of words.join(' ').matchAll(/(?<=^|[\s[|])--?[a-z][a-z-]*/g))
      if (options?.has(word) === false) wrong.push(`${page}: no option ${word}: ${line}`);
  }
  expect(wrong).toEqual([]);
});

test('every link on a page leads to a file and heading that are there', () => {
  const slug = (heading: string): string =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-');
  const headings = (page: string): string[] =>
    [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => slug(heading));
  const wrong = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
      if (/^https?:/.test(target)) return [];
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(root, file))) return [`${page}: ${target}`];
      if (anchor === undefined || headings(file).includes(anchor)) return [];
      return [`${page}: ${target}`];
    }),
  );
  expect(wrong).toEqual([]);
});

test('the table of rooms has every room', () => {
  const rooms = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const listed = [...textOf('docs/architecture.md').matchAll(/^\| \d \| `([a-z]+)\/` \|/gm)].map(([, room]) => room);
  expect(listed.toSorted()).toEqual(rooms.map(({ name }) => name).toSorted());
});
