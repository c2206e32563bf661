import { noteSize, textWidth } from './box-size.ts';
import { type Picture, problemTexts } from './picture.ts';
import type { LinkKind } from './plan.ts';
import { arrowHead, badge, ring, text } from './svg-parts.ts';

/** What stands below the drawing: what its signs mean, as far as they occur, and the problems by number. */
export interface Legend {
  readonly svg: string;
  readonly height: number;
}

interface Entry {
  /** Around the middle of a field 40 wide, 0 in height. */
  readonly sign: string;
  readonly words: string;
}

const rowHeight = 24;
const signWidth = 40;
const gap = 22;
const problemLine = 17;

export function drawLegend(picture: Picture, width: number): Legend {
  const parts: string[] = [];
  let [x, y] = [0, 10];
  for (const { sign, words } of entriesOf(picture)) {
    const entryWidth = signWidth + 8 + textWidth(words, noteSize);
    if (x > 0 && x + entryWidth > width) [x, y] = [0, y + rowHeight];
    parts.push(
      `<g transform="translate(${Math.round(x)} ${y})">${sign}${text({ x: signWidth + 8, y: 4 }, words, noteSize, 'soft')}</g>`,
    );
    x += entryWidth + gap;
  }
  y += parts.length === 0 ? 0 : rowHeight;
  for (const index of picture.problems.keys()) {
    y += 8;
    parts.push(badge(picture, [index], { x: 9, y }));
    const [told = ''] = problemTexts(picture, [index]);
    for (const line of wrapped(told.slice(told.indexOf(' ') + 1), width - 28)) {
      parts.push(text({ x: 28, y: y + 4 }, line, noteSize, ''));
      y += problemLine;
    }
  }
  return { svg: parts.join('\n'), height: Math.max(0, y - 10) };
}

function entriesOf({ nodes, links, lines, problems }: Picture): Entry[] {
  const entries: Entry[] = [];
  const line = (style: string, from = 2, to = 38): string => `<path class="${style}" d="M${from} 0H${to}"/>`;
  const arrow = (kind: LinkKind, from: number, to: number): string =>
    arrowHead({ x: from, y: 0 }, { x: to, y: 0 }, kind);
  const shown: Readonly<Record<LinkKind, Entry>> = {
    'fan-in': { sign: line('line s-fan-in', 2, 30) + arrow('fan-in', 29, 38), words: 'fan-in' },
    'fan-out': { sign: line('line s-fan-out', 2, 30) + arrow('fan-out', 29, 38), words: 'fan-out' },
    replicate: {
      sign: line('line s-replicate', 10, 30) + arrow('replicate', 11, 2) + arrow('replicate', 29, 38),
      words: 'replicate',
    },
  };
  for (const kind of ['fan-in', 'fan-out', 'replicate'] as const)
    if (links.some((link) => link.kind === kind)) entries.push(shown[kind]);
  if (lines.some(({ kind }) => kind === undefined)) entries.push({ sign: line('connection s-peers'), words: 'peers' });
  if (lines.some(({ left, right }) => left.dials || right.dials)) {
    const cluster = '<rect class="box" x="2" y="-8" width="11" height="16" rx="3"/>';
    entries.push({
      sign: cluster + line('line s-peers', 13) + ring({ x: 24, y: 0 }, 'peers'),
      words: 'this cluster dials',
    });
  }
  if (nodes.some(({ type }) => type === 'group')) {
    const sheet = (y: number, inset: number): string =>
      `<rect class="box" x="${6 + inset}" y="${y}" width="${28 - 2 * inset}" height="12" rx="3"/>`;
    entries.push({ sign: sheet(-9, 5) + sheet(-5, 0), words: 'group of clusters' });
  }
  if (nodes.some(({ dashed }) => dashed)) {
    const sign = '<rect class="box unknown" x="6" y="-7" width="28" height="14" rx="4"/>';
    entries.push({ sign, words: 'no file given' });
  }
  for (const severity of ['error', 'warning'] as const)
    if (problems.some((problem) => problem.severity === severity))
      entries.push({ sign: line(`line s-${severity} faulty`), words: severity });
  return entries;
}

function wrapped(words: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of words.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && textWidth(longer, noteSize) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}
