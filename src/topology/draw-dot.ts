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
} from './box-size.ts';
import type { Line, LineEnd, LinkBox, NodeBox, Picture } from './picture.ts';
import { problemTexts, severityOf } from './picture.ts';
import type { LinkKind } from './plan.ts';

/** Colours that stay apart for colour-blind eyes (Okabe and Ito), on a light ground. */
const colours: Readonly<Record<LinkKind, string>> = { 'fan-in': '#0072b2', 'fan-out': '#00795a', replicate: '#8a4fa3' };
const errorColour = '#c4480a';
const warningColour = '#9a6700';
const softColour = '#5d6b7c';

/** The picture in the language of Graphviz. Its boxes have a fixed size, so that a layout made of it fits other drawings, too. */
export function drawDot(picture: Picture): string {
  const { title, nodes, links, lines } = picture;
  return [
    'digraph causeway {',
    `  graph [rankdir=LR, nodesep=0.25, ranksep=${spread(lines)}, fontname="Helvetica", fontsize=16, labelloc=t,`,
    `    label=${quoted(title)}]`,
    '  node [shape=plain, fontname="Helvetica"]',
    '  edge [arrowsize=0.8, penwidth=1.5]',
    ...nodes.map(
      (node) => `  ${quoted(node.id)} [${nodeLabel(node)}, tooltip=${tooltip(picture, node.id, node.problems)}]`,
    ),
    ...links.map(
      (link) =>
        `  ${quoted(link.id)} [${linkLabel(picture, link)}, tooltip=${tooltip(picture, link.about, link.problems)}, ordering=in]`,
    ),
    ...lines.map((line) => `  ${end(line.left, 'e')} -> ${end(line.right, 'w')} [${lineStyle(picture, line)}]`),
    '}',
    '',
  ].join('\n');
}

/** Inches between columns: the more lines meet in one box, the more room they need to fan out. */
function spread(lines: readonly Line[]): number {
  const meeting = new Map<string, number>();
  for (const { left, right, kind } of lines) {
    if (kind === undefined) continue;
    for (const box of [`${left.box} right`, `${right.box} left`]) meeting.set(box, (meeting.get(box) ?? 0) + 1);
  }
  const most = Math.max(1, ...meeting.values());
  return Math.round(Math.min(2.4, 0.55 + 0.1 * (most - 1)) * 100) / 100;
}

function nodeLabel(node: NodeBox): string {
  const { width, head } = nodeSize(node);
  const name = `<B><FONT POINT-SIZE="${nameSize}">${html(shortened(node.name))}</FONT></B>`;
  const notes = node.notes.map(
    (note) => `<BR/><FONT POINT-SIZE="${noteSize}" COLOR="${softColour}">${html(shortened(note))}</FONT>`,
  );
  const rows = node.streams.map((stream, i) => {
    const text = `<FONT POINT-SIZE="${streamSize}" FACE="Courier">${html(shortened(stream))}</FONT>`;
    return `<TR><TD PORT="s${i}" SIDES="T" ${fixed(width, streamHeight)}>${text}</TD></TR>`;
  });
  const foot = node.streams.length === 0 ? '' : `<TR><TD BORDER="0" ${fixed(width, 8)}></TD></TR>`;
  const style = node.dashed ? 'ROUNDED,DASHED' : 'ROUNDED';
  const double = node.type === 'group' ? 'BORDER="2"' : 'BORDER="1"';
  const table = `<TABLE ${double} STYLE="${style}" CELLBORDER="1" CELLSPACING="0" CELLPADDING="0">`;
  return `label=<${table}<TR><TD BORDER="0" ${fixed(width, head)}>${name}${notes.join('')}</TD></TR>${rows.join('')}${foot}</TABLE>>`;
}

function linkLabel(picture: Picture, link: LinkBox): string {
  const { width, height } = linkSizeOf(link);
  const colour = link.problems.length > 0 ? problemColour(picture, link.problems) : colours[link.kind];
  const name = `<B><FONT POINT-SIZE="${linkSize}">${html(shortened(link.name))}</FONT></B>`;
  const kind = `<FONT POINT-SIZE="${kindSize}" COLOR="${colour}">&#160; ${link.kind}</FONT>`;
  const mapping =
    link.mapping === undefined
      ? ''
      : `<BR/><FONT POINT-SIZE="${mappingSize}" FACE="Courier">${html(shortened(`as ${link.mapping}`))}</FONT>`;
  const table = `<TABLE BORDER="1" COLOR="${colour}" STYLE="ROUNDED" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">`;
  return `label=<${table}<TR><TD ${fixed(width, height)}>${name}${kind}${mapping}</TD></TR></TABLE>>`;
}

function fixed(width: number, height: number): string {
  return `FIXEDSIZE="TRUE" WIDTH="${width}" HEIGHT="${height}"`;
}

function end({ box, stream }: LineEnd, side: 'e' | 'w'): string {
  return stream === undefined ? `${quoted(box)}:${side}` : `${quoted(box)}:s${stream}:${side}`;
}

function lineStyle(picture: Picture, { id, left, right, kind, about, problems }: Line): string {
  const attributes: [string, string][] = [
    ['id', quoted(id)],
    ['dir', 'both'],
    ['arrowhead', arrow(right)],
    ['arrowtail', arrow(left)],
    ['tooltip', tooltip(picture, about, problems)],
  ];
  if (problems.length > 0) attributes.push(['color', quoted(problemColour(picture, problems))], ['style', 'dashed']);
  else if (kind === undefined) attributes.push(['color', quoted(softColour)], ['style', 'dotted']);
  else attributes.push(['color', quoted(colours[kind])]);
  return attributes.map(([key, value]) => `${key}=${value}`).join(', ');
}

function arrow({ arrow, dials }: LineEnd): string {
  return [arrow ? 'normal' : '', dials ? 'odot' : ''].join('') || 'none';
}

function problemColour(picture: Picture, indices: readonly number[]): string {
  return severityOf(picture, indices) === 'error' ? errorColour : warningColour;
}

function tooltip(picture: Picture, about: string, problems: readonly number[]): string {
  return quoted([about, ...problemTexts(picture, problems)].join('\n'));
}

/** A string of the language. A backslash stands for itself: no escape sequence of Graphviz comes out of a name. */
function quoted(text: string): string {
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '&#10;')}"`;
}

function html(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
