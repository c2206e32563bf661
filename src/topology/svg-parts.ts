import { textWidth } from './box-size.ts';
import type { Point } from './layout.ts';
import { type Picture, severityOf } from './picture.ts';

/** Small pieces of SVG. Classes are those of svg-style.ts. */

export const arrowLength = 9;
const ringRadius = 4;
const badgeSize = 11;

/** A text on its base line, escaped. */
export function text({ x, y }: Point, words: string, size: number, classes: string): string {
  return `<text class="${classes}" x="${round(x)}" y="${round(y)}" font-size="${size}">${escaped(words)}</text>`;
}

/** An arrow head from the end of a line to its tip. */
export function arrowHead(base: Point, tip: Point, mark: string): string {
  const [dx, dy] = [(tip.x - base.x) / 2.2, (tip.y - base.y) / 2.2];
  const corners: readonly Point[] = [tip, { x: base.x - dy, y: base.y + dx }, { x: base.x + dy, y: base.y - dx }];
  return `<path class="f-${mark}" d="M${corners.map(({ x, y }) => `${round(x)} ${round(y)}`).join('L')}Z"/>`;
}

/** The mark of the end that dials. */
export function ring({ x, y }: Point, mark: string): string {
  return `<circle class="ring s-${mark}" cx="${round(x)}" cy="${round(y)}" r="${ringRadius}"/>`;
}

/** The numbers of problems, on a disc or something longer; empty if there are none. */
export function badge(picture: Picture, problems: readonly number[], { x, y }: Point): string {
  if (problems.length === 0) return '';
  const numbers = problems.map((index) => String(index + 1));
  const words = numbers.length <= 3 ? numbers.join(' ') : `${numbers.slice(0, 2).join(' ')} …`;
  const width = Math.max(18, 10 + textWidth(words, badgeSize, true));
  const place = `x="${round(x - width / 2)}" y="${round(y - 9)}" width="${round(width)}" height="18" rx="9"`;
  const disc = `<rect class="f-${severityOf(picture, problems)}" ${place}/>`;
  return `${disc}${text({ x, y: y + 4 }, words, badgeSize, 'middle strong number')}`;
}

/** The point so far away from `from`, in the direction of `to`. */
export function pointAt(from: Point, to: Point, away: number): Point {
  const part = away / (distance(from, to) || 1);
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}

export function distance(a: Point, b: Point): number {
  const [dx, dy] = [a.x - b.x, a.y - b.y];
  return Math.sqrt(dx * dx + dy * dy);
}

/** Tenths of a point are as much as anybody sees, and the same on every machine. */
export function round(number: number): string {
  return String(Math.round(number * 10) / 10);
}

/** Text as it may stand in XML, also within quotes. */
export function escaped(words: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML has no way to write them.
  const clean = words.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, ' ');
  return clean.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
