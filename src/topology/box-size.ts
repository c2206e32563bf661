import type { LinkBox, NodeBox } from './picture.ts';

/** How large the boxes of a picture are, in points. There is no font here to ask: widths are estimates on the wide side. */

export const nameSize = 15;
export const noteSize = 12;
export const streamSize = 11.5;
export const linkSize = 13;
export const kindSize = 11.5;
export const mappingSize = 11;

/** Height of one stream in a node. */
export const streamHeight = 24;
/** Space between a box and its text. */
export const padding = 12;

const nameLine = 20;
const noteLine = 16;
/** Longer texts are cut in the middle; the whole stands in the tooltip. */
const maxText = 40;

export interface NodeSize {
  readonly width: number;
  /** Height of the part with the name and the notes. */
  readonly head: number;
  readonly height: number;
}

export function nodeSize({ name, notes, streams }: NodeBox): NodeSize {
  const texts = [
    textWidth(shortened(name), nameSize, true),
    ...notes.map((note) => textWidth(shortened(note), noteSize)),
    ...streams.map((stream) => monoWidth(shortened(stream), streamSize) + padding),
  ];
  const width = Math.ceil(Math.max(96, ...texts.map((text) => text + 2 * padding)));
  const head = 10 + nameLine + notes.length * noteLine + (streams.length === 0 ? 10 : 6);
  return { width, head, height: head + streams.length * streamHeight + (streams.length === 0 ? 0 : 8) };
}

export interface LinkSize {
  readonly width: number;
  readonly height: number;
}

export function linkSizeOf({ name, kind, mapping }: LinkBox): LinkSize {
  const first = textWidth(shortened(name), linkSize, true) + 8 + textWidth(kind, kindSize);
  const second = mapping === undefined ? 0 : monoWidth(shortened(`as ${mapping}`), mappingSize);
  return { width: Math.ceil(Math.max(first, second) + 2 * padding), height: mapping === undefined ? 28 : 44 };
}

/** At most so many characters that it fits, with the beginning and the end. */
export function shortened(text: string): string {
  const characters = [...text];
  if (characters.length <= maxText) return text;
  const half = (maxText - 2) / 2;
  return `${characters.slice(0, half).join('')}…${characters.slice(-half).join('')}`;
}

/** Width in a sans-serif font. System fonts differ by some ten percent; this is near the widest. */
export function textWidth(text: string, size: number, bold = false): number {
  let ems = 0;
  for (const character of text) ems += widthOf(character);
  return ems * size * (bold ? 1.1 : 1);
}

function widthOf(character: string): number {
  if (isWide(character)) return 1.05;
  if (/[ilj.,:;'|!I]/.test(character)) return 0.31;
  if (/[ftr()[\]/\- ]/.test(character)) return 0.39;
  if (/[mwMW…%@]/.test(character)) return 0.95;
  return /[A-Z]/.test(character) ? 0.7 : 0.61;
}

/** Width in a monospaced font: they are all alike. */
export function monoWidth(text: string, size: number): number {
  let ems = 0;
  for (const character of text) ems += isWide(character) ? 1.05 : 0.605;
  return ems * size;
}

/** Scripts whose characters are as wide as high. */
function isWide(character: string): boolean {
  return character.codePointAt(0)! >= 0x1100;
}
