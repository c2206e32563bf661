import { z } from 'zod';
import { nearest } from './nearest.ts';
import { type Fault, type Path, type PathFault, quote } from './problem.ts';
import { secretTitle } from './schema-secret.ts';

type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;

/** Says in our words what zod found wrong with `value`, each fault at its place. Never repeats a secret. */
export function explainIssues(schema: Schema, value: unknown, issues: readonly Issue[]): PathFault[] {
  const faults = issues.flatMap((issue) => explain(schema, value, issue));
  // A misspelt key is one mistake: that the right one is missing follows from it.
  const meant = new Set(faults.map((fault) => (fault.meant === undefined ? '' : JSON.stringify(fault.meant))));
  return faults.flatMap(({ meant: _, isMissing, ...fault }) =>
    isMissing === true && meant.has(JSON.stringify(fault.path)) ? [] : [fault],
  );
}

interface Explained extends PathFault {
  /** Of an unknown key: the path of the key that was probably meant. */
  readonly meant?: Path;
  readonly isMissing?: boolean;
}

function explain(root: Schema, value: unknown, issue: Issue): Explained[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  const at = (fault: Fault, on: 'key' | 'value' = 'value'): Explained[] => [{ ...fault, path, on }];
  const found = valueAt(value, path);
  const schema = schemaAt(root, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(root, key, schema, found, path));
    case 'invalid_key': {
      // The key's own issues tell more than "invalid key".
      const inner = issue.issues[0];
      const key = String(path.at(-1));
      return at(
        inner?.code === 'custom' ? faultOf(inner) : { message: `${quote(key)} cannot be a key`, fix: 'rename it' },
        'key',
      );
    }
    case 'invalid_union': {
      const branch = issue.errors.find((errors) => !errors.every((inner) => isWrongType(inner)));
      if (branch === undefined)
        return found === undefined ? [missing(schema, path)] : at(wrongType(schema, found, 'a text', path));
      return branch.flatMap((inner) => explain(root, value, { ...inner, path: [...issue.path, ...inner.path] }));
    }
    case 'custom':
      return at(faultOf(issue));
    case 'invalid_value':
      return found === undefined ? [missing(schema, path)] : at(wrongValue(issue.values, found));
    case 'too_small':
    case 'too_big':
      return at(outOfRange(issue, schema));
    case 'invalid_type':
      return found === undefined
        ? [missing(schema, path)]
        : at(wrongType(schema, found, nouns[issue.expected] ?? 'a value', path));
    default:
      return at({ message: issue.message, fix: 'see topologies/README.md' });
  }
}

const nouns: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'a text',
  int: 'a whole number',
  number: 'a number',
};

function faultOf(issue: z.core.$ZodIssueCustom): Fault {
  const fix: unknown = issue.params?.fix;
  return { message: issue.message, fix: typeof fix === 'string' ? fix : 'see topologies/README.md' };
}

function isWrongType(issue: Issue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

function unknownKey(root: Schema, key: string, schema: Schema | undefined, found: unknown, path: Path): Explained {
  const known = keysOf(schema);
  const free = known.filter((name) => !isObject(found) || !Object.hasOwn(found, name));
  const meant = nearest(key, free);
  const fault = { message: `unknown key ${quote(key)}`, path: [...path, key], on: 'key' } as const;
  if (meant !== undefined) return { ...fault, fix: `did you mean ${quote(meant)}?`, meant: [...path, meant] };
  return { ...fault, fix: placeOf(root, key, schema, path) ?? `known here: ${known.join(', ')}` };
}

/** Where a key belongs that stands one level too high or too low. */
function placeOf(root: Schema, key: string, schema: Schema | undefined, path: Path): string | undefined {
  const homes = keysOf(schema).filter((name) => keysOf(schemaAt(schema!, [name])).includes(key));
  if (homes.length > 0) return `it belongs into ${homes.map(quote).join(' or ')}`;
  const outer = path.length === 0 ? [] : keysOf(schemaAt(root, path.slice(0, -1)));
  return outer.includes(key) ? `it belongs one level up, beside ${quote(String(path.at(-1)))}` : undefined;
}

function missing(schema: Schema | undefined, path: Path): Explained {
  const name = String(path.at(-1));
  const { title, examples } = metaOf(schema);
  const example = examples?.[0];
  const what = title === undefined ? name : `${name}: ${title}`;
  const fix = example === undefined ? `add ${what}` : `add it, as ${name}: ${flow(example)}`;
  return { message: `${quote(name)} is missing`, fix, path, on: 'value', isMissing: true };
}

function wrongType(schema: Schema | undefined, found: unknown, noun: string, path: Path): Fault {
  const { title, examples } = metaOf(schema);
  const name = typeof path.at(-1) === 'number' ? 'this entry' : quote(String(path.at(-1) ?? ''));
  if (title === secretTitle && found !== null && typeof found !== 'object') {
    return {
      message: `${name} holds a secret itself`,
      fix: 'write { file: PATH } or { env: NAME }; a topology file holds no secrets',
    };
  }
  if (path.length === 0)
    return {
      message: `${nounOf(found)} stands where keys and values belong`,
      fix: 'write keys and values, starting with version: 1',
    };
  const example = examples?.[0] === undefined ? undefined : flow(examples[0]);
  const write = example === undefined ? 'see topologies/README.md' : `write it as ${example}`;
  if (found === null) return { message: `${name} has no value`, fix: `${write}, or take the key out` };
  const message = `${name} must be ${title ?? noun}, not ${nounOf(found)}`;
  const isPlain = typeof found === 'number' || typeof found === 'boolean';
  if (noun === 'a text' && isPlain && schema !== undefined && z.safeParse(schema, String(found)).success) {
    return { message, fix: `put it in quotes if it is meant: "${String(found)}"` };
  }
  return { message, fix: write };
}

function wrongValue(allowed: readonly unknown[], found: unknown): Fault {
  const list = allowed.map((one) => JSON.stringify(one)).join(' or ');
  const shown =
    typeof found === 'string'
      ? quote(found)
      : found === null
        ? 'empty'
        : String(isObject(found) ? nounOf(found) : found);
  const texts = allowed.filter((one) => typeof one === 'string');
  const meant = typeof found === 'string' ? nearest(found, texts) : undefined;
  return {
    message: `must be ${list}, not ${shown}`,
    fix: meant === undefined ? `write ${list}` : `did you mean ${quote(meant)}?`,
  };
}

function outOfRange(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig, given: Schema | undefined): Fault {
  const schema = given === undefined ? undefined : unwrap(given);
  const { title, examples } = metaOf(given);
  const example = examples?.[0] === undefined ? '' : `, as ${flow(examples[0])}`;
  if (issue.origin === 'array' && issue.code === 'too_small') {
    if (Number(issue.minimum) > 1)
      return { message: 'the list is too short', fix: `name at least ${issue.minimum}${example}` };
    return { message: 'the list is empty', fix: `name at least one${example}, or take the key out` };
  }
  if (issue.origin === 'array' && issue.code === 'too_big') {
    return {
      message: `the list has more than ${issue.maximum} entries`,
      fix: 'say it with fewer, wildcards if need be',
    };
  }
  const bound = issue.code === 'too_small' ? `at least ${issue.minimum}` : `at most ${issue.maximum}`;
  // Of several choices it is the number that was taken.
  const what = schema instanceof z.ZodUnion ? 'the number' : title;
  return { message: `${what ?? 'this'} must be ${bound}`, fix: `change it${example}` };
}

function nounOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return 'a text';
  return typeof value === 'number' || typeof value === 'boolean'
    ? `${typeof value === 'number' ? 'the number' : ''} ${value}`.trim()
    : 'nothing';
}

/** A value as YAML on one line. */
export function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (isObject(value)) {
    const pairs = Object.entries(value).map(([key, inner]) => `${key}: ${flow(inner)}`);
    return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
  }
  return typeof value === 'string' && !/^[\w/][\w./:-]*$/.test(value) ? JSON.stringify(value) : String(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What stands at a path, without looking at what objects inherit. */
export function valueAt(value: unknown, path: Path): unknown {
  let here: unknown = value;
  for (const part of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, part)) return undefined;
    here = (here as Record<string | number, unknown>)[part];
  }
  return here;
}

interface Meta {
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly examples?: readonly unknown[];
}

/** Title, description and examples; a wrapper (optional, default) shows those of what it wraps. */
export function metaOf(schema: Schema | undefined): Meta {
  if (schema === undefined) return {};
  const inner = unwrap(schema);
  const own = z.globalRegistry.get(schema);
  return { ...z.globalRegistry.get(inner), ...own };
}

/** The schema inside optional and default. */
export function unwrap(schema: Schema): Schema {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? unwrap(schema.def.innerType) : schema;
}

function schemaAt(root: Schema, path: Path): Schema | undefined {
  let here: Schema | undefined = root;
  for (const part of path) {
    if (here === undefined) return undefined;
    const schema: Schema = unwrap(here);
    if (schema instanceof z.ZodObject) here = schema.shape[part];
    else if (schema instanceof z.ZodRecord) here = schema.valueType;
    else if (schema instanceof z.ZodArray) here = schema.element;
    else if (schema instanceof z.ZodUnion)
      here = schema.options.map((one) => schemaAt(one, [part])).find((one) => one !== undefined);
    else here = undefined;
  }
  return here;
}

/** The keys that a strict object knows, also as one of several choices; none for anything else. */
export function keysOf(schema: Schema | undefined): string[] {
  const inner = schema === undefined ? undefined : unwrap(schema);
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((one) => keysOf(one));
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : [];
}
