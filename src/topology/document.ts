import { Composer, type CST, type Document, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, Parser } from 'yaml';
import { type Path, type Position, quote } from './problem.ts';

/** The plain value of a topology file, and where each part of it stands. */
export interface TopologyDocument {
  readonly value: unknown;
  /** The place of a key or value; of the nearest thing around it if the path leads nowhere. */
  locate(path: Path, on: 'key' | 'value'): Position;
}

/** A fault of the YAML itself. */
export interface YamlFault extends Position {
  readonly message: string;
  readonly fix: string;
}

export type ParsedDocument =
  | { readonly ok: true; readonly document: TopologyDocument }
  | { readonly ok: false; readonly faults: readonly YamlFault[] };

/** The schema is 5 levels deep; the YAML library crashes the process on some thousand. */
const maxDepth = 100;

/**
 * Parses one YAML 1.2 document of plain values. Anchors, aliases and tags are refused: a topology file has no place for
 * them, and they are the ways to make a small file large. Never throws.
 */
export function parseTopologyDocument(text: string): ParsedDocument {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const place = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const tokens = tokenize(text, lines);
  if (typeof tokens === 'number') {
    const fault = { message: `nested deeper than ${maxDepth} levels`, fix: 'check the brackets and the indentation' };
    return { ok: false, faults: [{ ...place(tokens), ...fault }] };
  }
  const composer = new Composer({ uniqueKeys: false, stringKeys: true, resolveKnownTags: false, version: '1.2' });
  const documents = [...composer.compose(tokens, true, text.length)];
  const errors = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  if (errors.length > 0) {
    const written = text.split('\n');
    const faults = errors.map(({ code, message, pos }) => {
      const at = place(pos[0]);
      return { ...at, ...explainYaml(code, message, textAround(written, at.line)) };
    });
    return { ok: false, faults: firstOfEachLine(faults) };
  }
  const [document, second] = documents;
  if (second !== undefined) {
    const fix = 'one file describes one cluster: take out everything from the second "---" on';
    return { ok: false, faults: [{ ...place(second.range[0]), message: 'the file holds several documents', fix }] };
  }
  const reader = new Reader(document!);
  if (reader.faults.length > 0) {
    return { ok: false, faults: reader.faults.map(({ offset, ...fault }) => ({ ...place(offset), ...fault })) };
  }
  const locate = (path: Path, on: 'key' | 'value'): Position => place(reader.offset(path, on));
  return { ok: true, document: { value: reader.value, locate } };
}

/** The tokens of the text, or the offset at which it is nested too deeply. */
function tokenize(text: string, lines: LineCounter): CST.Token[] | number {
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (parser.stack.length > maxDepth) return parser.offset;
  }
  tokens.push(...parser.end());
  return tokens;
}

interface Around {
  /** The number of the line, from 1. */
  readonly line: number;
  readonly text: string;
  readonly next: string;
}

/** Of a line as much as it takes to see what was meant: lines of a foreign file may be long. */
function textAround(lines: readonly string[], line: number): Around {
  return { line, text: (lines[line - 1] ?? '').slice(0, 500), next: (lines[line] ?? '').slice(0, 500) };
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function explainYaml(code: string, text: string, around: Around): { message: string; fix: string } {
  // Some messages end in a piece of the file, which may be a secret.
  const message = text.replace(/: ".*$/s, '');
  switch (code) {
    case 'TAB_AS_INDENT':
      return { message: 'a tab stands where YAML wants spaces', fix: 'indent with spaces' };
    case 'BAD_INDENT':
      return { message: 'this line is indented differently from its neighbours', fix: 'align it with them' };
    case 'TAG_RESOLVE_FAILED':
      return { message: 'YAML tags are not used in a topology file', fix: 'take out the word that starts with "!"' };
    case 'NON_STRING_KEY':
      return { message: 'a key must be a plain text', fix: 'write it as key: value' };
    case 'BLOCK_AS_IMPLICIT_KEY':
      if (around.next.trim() !== '' && indentOf(around.next) > indentOf(around.text)) {
        const { line } = around;
        return {
          message: `line ${line + 1} is indented deeper than line ${line}, which already has a value`,
          fix: 'align it with its neighbours',
        };
      }
      return { message: 'a second ": " stands in this line', fix: 'put the text in quotes, or begin a new line' };
    case 'UNEXPECTED_TOKEN':
      // A template without quotes begins like a mapping, an IPv6 address like a list.
      if (/[:,[]\s*(\{[a-z0-9]+\}[^\s,}\]]|\[[0-9a-f:]*\]:|[^\s"'#{,[]+\{[a-z0-9]+\})/i.test(around.text))
        return { message: 'a text with brackets stands here without quotes', fix: 'put it in quotes' };
      return unknownFault(message);
    case 'BAD_SCALAR_START':
      return { message: `not valid YAML: ${lowerFirst(message)}`, fix: 'put the text in quotes' };
    case 'MISSING_CHAR':
      return {
        message: `not valid YAML: ${lowerFirst(message).replace(/["'](quote)/, '$1')}`,
        fix: 'close what was opened before',
      };
    default:
      return unknownFault(message);
  }
}

function unknownFault(message: string): { message: string; fix: string } {
  const fix = 'check the indentation, and put texts that hold ": ", "#", "{" or "[" in quotes';
  return { message: `not valid YAML: ${lowerFirst(message)}`, fix };
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** One mistake often makes the parser stumble several times in the same line. */
function firstOfEachLine(faults: readonly YamlFault[]): YamlFault[] {
  const lines = new Map<number, YamlFault>();
  for (const fault of faults) if (!lines.has(fault.line)) lines.set(fault.line, fault);
  return [...lines.values()];
}

interface Offsets {
  readonly key: number;
  readonly value: number;
}

/** Walks the document once: makes the plain value, and notes where everything stands. */
class Reader {
  readonly value: unknown;
  readonly faults: { readonly offset: number; readonly message: string; readonly fix: string }[] = [];
  readonly #offsets = new Map<string, Offsets>();

  constructor(document: Document.Parsed) {
    this.value = this.#read(document.contents, [], 0);
  }

  offset(path: Path, on: 'key' | 'value'): number {
    for (let length = path.length; length > 0; length--) {
      const found = this.#offsets.get(JSON.stringify(path.slice(0, length)));
      // What is missing inside something is shown at the key of that thing.
      if (found !== undefined) return length < path.length || on === 'key' ? found.key : found.value;
    }
    return 0;
  }

  #read(node: unknown, path: Path, around: number): unknown {
    if (node === null) return null;
    if (!(isMap(node) || isSeq(node) || isScalar(node)) || node.anchor !== undefined) {
      return this.#refuseAlias(offsetOf(node) ?? around, isAlias(node));
    }
    if (isMap(node)) return this.#readMap(node.items, path, offsetOf(node) ?? around);
    if (isScalar(node)) return node.value;
    return node.items.map((item, index) => {
      const offset = offsetOf(item) ?? around;
      return this.#readAt(item, [...path, index], { key: offset, value: offset });
    });
  }

  #readMap(items: readonly { key: unknown; value: unknown }[], path: Path, around: number): object {
    const value: Record<string, unknown> = {};
    const first = new Map<string, number>();
    for (const item of items) {
      const keyOffset = offsetOf(item.key) ?? around;
      if (!isScalar(item.key) || typeof item.key.value !== 'string') {
        this.#refuseAlias(keyOffset);
        continue;
      }
      const key = item.key.value;
      if (key === '__proto__') {
        this.faults.push({ offset: keyOffset, message: 'unknown key "__proto__"', fix: 'take it out' });
        continue;
      }
      if (first.has(key)) {
        const fix = 'keep one of the two';
        this.faults.push({ offset: keyOffset, message: `the key ${quote(key)} stands here twice`, fix });
        continue;
      }
      first.set(key, keyOffset);
      // A value that is left empty is shown at its key.
      const offsets = { key: keyOffset, value: isEmpty(item.value) ? keyOffset : (offsetOf(item.value) ?? keyOffset) };
      value[key] = this.#readAt(item.value, [...path, key], offsets);
    }
    return value;
  }

  #readAt(node: unknown, path: Path, offsets: Offsets): unknown {
    this.#offsets.set(JSON.stringify(path), offsets);
    return this.#read(node, path, offsets.value);
  }

  #refuseAlias(offset: number, isName = false): undefined {
    const message = 'YAML anchors and aliases are not used in a topology file';
    // The text is not repeated: it may be a secret.
    const fix = isName ? 'put a text that begins with "*" in quotes, as "*-edge"' : 'write the value out';
    this.faults.push({ offset, message, fix });
    return undefined;
  }
}

function isEmpty(node: unknown): boolean {
  return isScalar(node) && node.value === null && node.range?.[0] === node.range?.[1];
}

function offsetOf(node: unknown): number | undefined {
  const range = (node as { range?: readonly number[] | null } | null)?.range;
  return range?.[0];
}
