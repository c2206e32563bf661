import { z } from 'zod';
import { flow, metaOf, unwrap } from './explain.ts';
import { topologyFile } from './schema.ts';

/**
 * What is generated from the schema: the JSON Schema for editors (topologies/topology.schema.json) and the table of
 * options in topologies/README.md.
 */

/** The JSON Schema of the topology file, draft 7, which is what editors know best. */
export function topologyJsonSchema(): object {
  return z.toJSONSchema(topologyFile, { target: 'draft-7', io: 'input' });
}

/** The JSON Schema as text, in the project's format: lists of plain values stay on one line. */
export function jsonSchemaText(): string {
  return `${print(topologyJsonSchema(), 0, 0)}\n`;
}

const lineWidth = 120;

function print(value: unknown, indent: number, column: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const outer = ' '.repeat(indent);
  const inner = ' '.repeat(indent + 2);
  if (Array.isArray(value)) {
    const line = `[${value.map((item) => print(item, 0, 0)).join(', ')}]`;
    if (!line.includes('\n') && column + line.length < lineWidth) return line;
    return `[\n${value.map((item) => inner + print(item, indent + 2, indent + 2)).join(',\n')}\n${outer}]`;
  }
  const pairs = Object.entries(value).map(([key, item]) => {
    const head = `${inner}${JSON.stringify(key)}: `;
    return head + print(item, indent + 2, head.length);
  });
  return pairs.length === 0 ? '{}' : `{\n${pairs.join(',\n')}\n${outer}}`;
}

/** One option of the topology file. */
export interface Option {
  /** As in `links.NAME.from.stream` and `grants[].to`. */
  readonly path: string;
  readonly required: boolean;
  readonly description: string;
  /** The default, as YAML. */
  readonly fallback?: string;
  /** An example, as YAML; absent for an option that consists of others. */
  readonly example?: string;
}

/** Every option there is, in the order of the schema. */
export function topologyOptions(): Option[] {
  return optionsIn(topologyFile, '');
}

function optionsIn(schema: z.core.$ZodType, prefix: string): Option[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodRecord) return optionsIn(inner.valueType, `${prefix}.NAME`);
  if (inner instanceof z.ZodArray) return optionsIn(inner.element, `${prefix}[]`);
  if (!(inner instanceof z.ZodObject)) return [];
  return Object.entries(inner.shape).flatMap(([key, value]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    return [option(path, value), ...optionsIn(value, path)];
  });
}

function option(path: string, schema: z.core.$ZodType): Option {
  const { description, examples } = metaOf(schema);
  if (description === undefined) throw new Error(`the option ${path} has no description`);
  const fallback = schema instanceof z.ZodDefault ? flow(schema.def.defaultValue) : undefined;
  // What is made of other options is shown by those.
  const example = optionsIn(schema, path).length > 0 ? undefined : examples?.[0];
  return {
    path,
    required: !(schema instanceof z.ZodDefault || schema instanceof z.ZodOptional),
    description,
    ...(fallback === undefined ? {} : { fallback }),
    ...(example === undefined ? {} : { example: flow(example) }),
  };
}

/** The table of options, in Markdown, its columns aligned as the project's formatter wants them. */
export function optionTable(): string {
  const rows = topologyOptions().map(({ path, required, description, fallback, example }) => {
    const standard = required ? 'required' : fallback === undefined ? '' : code(fallback);
    return [code(path), standard, description, example === undefined ? '' : code(example)];
  });
  const all = [['option', 'default', 'what it is', 'example'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const [header, ...body] = all.map(line);
  return [header, line(widths.map((width) => '-'.repeat(width))), ...body].join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}

const begin = '<!-- options: generated from src/topology/schema.ts -->';
const end = '<!-- end of options -->';

/** A README with its table of options brought up to date; throws if it has no place for one. */
export function withOptionTable(readme: string): string {
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end);
  if (from === -1 || to < from) throw new Error(`there is no place for the options, between "${begin}" and "${end}"`);
  return `${readme.slice(0, from + begin.length)}\n\n${optionTable()}\n\n${readme.slice(to)}`;
}
