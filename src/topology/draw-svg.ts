import {
  kindSize,
  linkSize,
  linkSizeOf,
  mappingSize,
  nameSize,
  nodeSize,
  noteSize,
  shortened,
  streamHeight,
  streamSize,
  textWidth,
} from './box-size.ts';
import { drawDot } from './draw-dot.ts';
import { type Layout, layOut, type Path, type Point } from './layout.ts';
import {
  type Line,
  type LineEnd,
  type LinkBox,
  type NodeBox,
  type Picture,
  problemTexts,
  severityOf,
} from './picture.ts';
import { drawLegend } from './svg-legend.ts';
import { arrowHead, arrowLength, badge, distance, escaped, pointAt, ring, round, text } from './svg-parts.ts';
import { svgStyle } from './svg-style.ts';

/** Space around everything. */
const margin = 24;
const titleSize = 18;
const titleHeight = 44;
/** How far along a line the mark of the dialling end stands: where it is apart from other lines of the same stream. */
const ringPart = 0.4;
const maxRingDistance = 56;

/** Draws a picture as SVG. Graphviz says where things go; the drawing is ours. */
export async function drawPicture(picture: Picture): Promise<string> {
  // The title is ours to place.
  const layout = await layOut(drawDot({ ...picture, title: '' }));
  const inner = Math.max(layout.width, Math.ceil(textWidth(picture.title, titleSize, true)), 300);
  const legend = drawLegend(picture, inner);
  const width = inner + 2 * margin;
  const graphTop = margin + titleHeight;
  const legendTop = graphTop + layout.height + 28;
  const height = legendTop + legend.height + margin;
  const size = `viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}"`;
  const graphLeft = margin + (inner - layout.width) / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} class="cw" role="img" aria-label="${escaped(picture.title)}">`,
    `<title>${escaped(picture.title)}</title>`,
    `<desc>${escaped(picture.links.map(({ about }) => about).join('; '))}</desc>`,
    `<style>${svgStyle}</style>`,
    `<rect class="ground" width="100%" height="100%" rx="10"/>`,
    text({ x: margin, y: margin + titleSize }, picture.title, titleSize, 'strong'),
    `<g transform="translate(${round(graphLeft)} ${round(graphTop)})">`,
    ...picture.nodes.map((node) => drawNode(picture, node, placeOf(layout, node.id))),
    ...picture.lines.map((line) => drawLine(picture, line, layout)),
    ...picture.links.map((link) => drawLink(picture, link, placeOf(layout, link.id))),
    '</g>',
    `<g transform="translate(${margin} ${round(legendTop)})">`,
    legend.svg,
    '</g>',
    '</svg>',
  ]
    .filter((part) => part !== '')
    .map((part) => `${part}\n`)
    .join('');
}

function placeOf(layout: Layout, id: string): Point {
  const place = layout.boxes.get(id);
  if (place === undefined) throw new Error(`the layout left out ${id}`);
  return place;
}

function pathOf(layout: Layout, id: string): Path {
  const path = layout.paths.get(id);
  if (path === undefined || path.points.length < 4) throw new Error(`the layout left out ${id}`);
  return path;
}

function drawNode(picture: Picture, node: NodeBox, { x, y }: Point): string {
  const { width, head, height } = nodeSize(node);
  const [left, top] = [x - width / 2, y - height / 2];
  const rect = (dx: number, dy: number, inset: number, extra = ''): string =>
    `<rect class="box${extra}" x="${round(left + inset + dx)}" y="${round(top + dy)}" width="${round(width - 2 * inset)}" height="${round(height)}" rx="8"/>`;
  const stack = node.type === 'group' ? [rect(0, -10, 12), rect(0, -5, 6)] : [];
  const notes = node.notes.map((note, i) =>
    text({ x, y: top + 42 + i * 16 }, shortened(note), noteSize, 'middle soft'),
  );
  const streams = node.streams.map((stream, i) => {
    const rowTop = top + head + i * streamHeight;
    const row = `<rect class="inset" x="${round(left + 6)}" y="${round(rowTop + 2)}" width="${round(width - 12)}" height="${streamHeight - 4}" rx="4"/>`;
    return `${row}${text({ x, y: rowTop + 16 }, shortened(stream), streamSize, 'middle mono')}`;
  });
  return [
    `<g><title>${escaped([node.id, ...problemTexts(picture, node.problems)].join('\n'))}</title>`,
    ...stack,
    rect(0, 0, 0, node.dashed ? ' unknown' : ''),
    text({ x, y: top + 25 }, shortened(node.name), nameSize, 'middle strong'),
    ...notes,
    ...streams,
    badge(picture, node.problems, { x: left + width - 4, y: top + 2 }),
    '</g>',
  ].join('');
}

function drawLink(picture: Picture, link: LinkBox, { x, y }: Point): string {
  const { width, height } = linkSizeOf(link);
  const { name, kind, mapping, problems } = link;
  const [left, top] = [x - width / 2, y - height / 2];
  const mark = problems.length === 0 ? kind : severityOf(picture, problems);
  // The two words of the first line are centred together.
  const shown = shortened(name);
  const words = `${escaped(shown)} <tspan class="f-${mark}" font-size="${kindSize}" font-weight="400">${kind}</tspan>`;
  return [
    `<g><title>${escaped([link.about, ...problemTexts(picture, problems)].join('\n'))}</title>`,
    `<rect class="box s-${mark}${problems.length === 0 ? '' : ' faulty'}" x="${round(left)}" y="${round(top)}" width="${round(width)}" height="${round(height)}" rx="${mapping === undefined ? 14 : 10}"/>`,
    `<text class="middle strong" x="${round(x)}" y="${round(top + 19)}" font-size="${linkSize}">${words}</text>`,
    mapping === undefined ? '' : text({ x, y: top + 35 }, shortened(`as ${mapping}`), mappingSize, 'middle mono soft'),
    badge(picture, problems, { x: left + width - 4, y: top + 2 }),
    '</g>',
  ].join('');
}

function drawLine(picture: Picture, line: Line, layout: Layout): string {
  const { points, leftTip, rightTip } = pathOf(layout, line.id);
  const mark = line.problems.length > 0 ? severityOf(picture, line.problems) : (line.kind ?? 'peers');
  const [start, ...rest] = points as readonly [Point, ...Point[]];
  const left = lineEnd(line.left, start, leftTip, mark);
  const right = lineEnd(line.right, points.at(-1)!, rightTip, mark);
  const style = `${line.kind === undefined ? 'connection' : 'line'} s-${mark}${line.problems.length === 0 ? '' : ' faulty'}`;
  return [
    `<g><title>${escaped([line.about, ...problemTexts(picture, line.problems)].join('\n'))}</title>`,
    `<path class="${style}" d="M${at(left.stop)}L${at(start)}C${rest.map(at).join(' ')}L${at(right.stop)}"/>`,
    left.arrow,
    right.arrow,
    line.left.dials ? ring(along(points, ringPart, maxRingDistance), mark) : '',
    line.right.dials ? ring(along(points.toReversed(), ringPart, maxRingDistance), mark) : '',
    line.kind === undefined ? badge(picture, line.problems, along(points, 0.5)) : '',
    '</g>',
  ].join('');
}

/** Where the stroke of a line stops, and its arrow. `last` is the end of the spline, `tip` that of what Graphviz left room for. */
function lineEnd(
  { arrow }: LineEnd,
  last: Point,
  tip: Point | undefined,
  mark: string,
): { stop: Point; arrow: string } {
  if (tip === undefined) return { stop: last, arrow: '' };
  const base = pointAt(tip, last, arrowLength);
  return arrow ? { stop: base, arrow: arrowHead(base, tip, mark) } : { stop: tip, arrow: '' };
}

/** The point of a spline at a part of its length, or at most so far from its beginning; near enough for a mark. */
function along(points: readonly Point[], part: number, most = Number.POSITIVE_INFINITY): Point {
  const samples = Array.from({ length: Math.floor((points.length - 1) / 3) }, (_, i) => points.slice(3 * i, 3 * i + 4))
    .flatMap((four) =>
      Array.from({ length: 16 }, (_, step) => onCurve(four as [Point, Point, Point, Point], step / 16)),
    )
    .concat(points.at(-1)!);
  const length = samples.reduce((sum, point, i) => sum + distance(samples[i - 1] ?? point, point), 0);
  let left = Math.min(part * length, most);
  for (const [i, point] of samples.entries()) {
    const next = samples[i + 1];
    if (next === undefined) return point;
    const step = distance(point, next);
    if (left <= step) return pointAt(point, next, left);
    left -= step;
  }
  throw new Error('a line without points');
}

function onCurve([a, b, c, d]: readonly [Point, Point, Point, Point], t: number): Point {
  // Products, not powers, which engines round in their own ways.
  const u = 1 - t;
  const [p, q, r, s] = [u * u * u, 3 * t * u * u, 3 * t * t * u, t * t * t];
  return { x: p * a.x + q * b.x + r * c.x + s * d.x, y: p * a.y + q * b.y + r * c.y + s * d.y };
}

function at({ x, y }: Point): string {
  return `${round(x)} ${round(y)}`;
}
