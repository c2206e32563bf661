import { shortened } from './box-size.ts';
import type { Line, LinkBox, NodeBox, Picture } from './picture.ts';
import type { LinkKind } from './plan.ts';

/** Borders of links by kind, as in the drawing; readable on light and on dark. */
const colours: Readonly<Record<LinkKind, string>> = { 'fan-in': '#2a8bc7', 'fan-out': '#1d9a76', replicate: '#a872be' };
const faultColour = '#d9621e';

/** The picture as a Mermaid flowchart, which GitHub and others draw from a block of text. It has no sign for who dials: words say it. */
export function drawMermaid(picture: Picture): string {
  const { title, nodes, links, lines } = picture;
  const ids = new Map<string, string>();
  for (const [i, { id }] of nodes.entries()) ids.set(id, `n${i}`);
  for (const [i, { id }] of links.entries()) ids.set(id, `l${i}`);
  const idOf = (box: string): string => ids.get(box) ?? box;
  const faulty = lines.flatMap(({ problems }, i) => (problems.length > 0 ? [i] : []));
  return [
    '---',
    `title: ${JSON.stringify(title)}`,
    '---',
    'flowchart LR',
    ...nodes.map((node) => `  ${idOf(node.id)}${nodeShape(node)}`),
    ...links.map((link) => `  ${idOf(link.id)}([${label([link.name, ...linkWords(link)])}])`),
    ...lines.map((line) => `  ${drawLine(line, idOf)}`),
    ...(['fan-in', 'fan-out', 'replicate'] as const).flatMap((kind) => {
      const members = links.filter((link) => link.kind === kind && link.problems.length === 0);
      return styled(
        kind,
        `stroke:${colours[kind]},stroke-width:2px`,
        members.map(({ id }) => idOf(id)),
      );
    }),
    ...styled(
      'unknown',
      'stroke-dasharray:5 4',
      nodes.filter(({ dashed }) => dashed).map(({ id }) => idOf(id)),
    ),
    ...styled(
      'faulty',
      `stroke:${faultColour},stroke-width:2px,stroke-dasharray:7 4`,
      [...nodes, ...links].filter(({ problems }) => problems.length > 0).map(({ id }) => idOf(id)),
    ),
    ...(faulty.length === 0 ? [] : [`  linkStyle ${faulty.join(',')} stroke:${faultColour},stroke-dasharray:7 4`]),
    '',
  ].join('\n');
}

function nodeShape({ name, type, notes, streams, dials }: NodeBox): string {
  const words = label([
    name,
    ...notes,
    ...(dials.length === 0 ? [] : [`dials ${dials.join(', ')}`]),
    ...(streams.length === 0 ? [] : [`streams: ${streams.map(shortened).join(', ')}`]),
  ]);
  return type === 'group' ? `[[${words}]]` : `[${words}]`;
}

function linkWords({ kind, mapping }: LinkBox): string[] {
  return mapping === undefined ? [kind] : [kind, `as ${mapping}`];
}

/** Lines of text in quotes. What Mermaid or a browser would take for more than text is written as an entity. */
function label(lines: readonly string[]): string {
  const text = lines.map((line) => [...shortened(line)].map(entity).join(''));
  return `"${text.join('<br/>')}"`;
}

function entity(character: string): string {
  return /["#&<>`\\$*~]/.test(character) ? `#${character.codePointAt(0)};` : character;
}

/** A line in the direction of its records: the language has no line with a head at its beginning alone. */
function drawLine({ left, right, kind }: Line, idOf: (box: string) => string): string {
  const [a, b] = [idOf(left.box), idOf(right.box)];
  if (kind === undefined) return `${a} -.- ${b}`;
  if (kind === 'replicate') return `${a} <--> ${b}`;
  if (left.arrow) return `${b} --> ${a}`;
  if (right.arrow) return `${a} --> ${b}`;
  // From a source to the box of the link.
  return right.stream === undefined ? `${a} --- ${b}` : `${b} --- ${a}`;
}

function styled(name: string, style: string, members: readonly string[]): string[] {
  return members.length === 0 ? [] : [`  classDef ${name} ${style}`, `  class ${members.join(',')} ${name}`];
}
