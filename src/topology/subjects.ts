import { type Fault, quote } from './problem.ts';

/**
 * NATS subjects: what may be published, what a pattern covers, and the mapping of subjects by a template. What runs
 * per record allocates nothing but the mapped subject itself.
 */

const star = 42;
const greater = 62;
const dollar = 36;

/** Where a record comes from, as the template's variables see it. Cluster names. */
export interface Hop {
  /** `{origin}`: the first-hop cluster. */
  readonly origin: string;
  /** `{from}`: the cluster at the other end of this lane. */
  readonly from: string;
}

/** A compiled subject template. */
export interface Mapping {
  readonly template: string;
  /** True for `{subject}`: every subject stays as it is. */
  readonly identity: boolean;
  /**
   * The subject at the sink; `undefined` if the record has none that may be published: a `{N}` beyond its tokens, a result
   * that is no literal subject, is longer than a server takes, or belongs to the server (`$...`, `_INBOX...`).
   * What it returns is safe to hand to a NATS client, whatever a peer sent.
   */
  map(subject: string, hop: Hop): string | undefined;
}

/** The template that leaves subjects as they are; the default. */
export const identityTemplate = '{subject}';

/** A NATS server ends the connection of a client whose control line is longer than 4096 bytes; reply and sizes need room too. */
const maxSubjectBytes = 3500;

/** White space or a control character (all below "!"), an empty token, a token that is a wildcard. Twice as fast as a loop. */
const notLiteral = /[^!-\uffff]|^\.|\.\.|\.$|^$|(?:^|\.)[*>](?:\.|$)/;

/**
 * True if `subject` may be published to: no empty token, no wildcard token, no white space (it would end the argument in the
 * NATS protocol) or control character. As nats-server does, `*` and `>` inside a longer token count as letters.
 */
export function isLiteralSubject(subject: string): boolean {
  return !notLiteral.test(subject);
}

/** True for subjects of the server and of clients (`$...`, `_INBOX...`), which no wildcard in a topology file covers. */
export function isSystemSubject(subject: string): boolean {
  return subject.charCodeAt(0) === dollar || subject.startsWith('_INBOX');
}

/** What is wrong with a subject pattern (`*` and `>` allowed) as it stands in a topology file. */
export function patternFault(pattern: string): Fault | undefined {
  const shown = `${quote(pattern)} is not a subject pattern`;
  const fix = 'write tokens joined by dots, as fleet.*.status or fleet.>';
  const tokens = pattern.split('.');
  if (pattern.length > 256) return { message: `${shown}: longer than 256 characters`, fix };
  if (hasOddCharacter(pattern)) return { message: `${shown}: white space or a control character in it`, fix };
  if (tokens.includes('')) return { message: `${shown}: an empty token in it`, fix };
  if (isSystemSubject(pattern)) {
    return {
      message: `${shown} that a link may write`,
      fix: 'subjects of the server ($..., _INBOX...) are left alone',
    };
  }
  const wild = tokens.indexOf('>');
  if (wild !== -1 && wild !== tokens.length - 1) return { message: `${shown}: ">" before its end`, fix };
  const mixed = tokens.find((token) => token.length > 1 && /[*>]/.test(token));
  if (mixed !== undefined) {
    return { message: `${shown}: a wildcard that is only part of the token ${quote(mixed)}`, fix };
  }
  return undefined;
}

/**
 * True if `pattern` covers `subject`. A wildcard in the first token never covers `$...` or `_INBOX...`: what a file grants
 * or selects with `>` is application traffic.
 */
export function subjectMatches(pattern: string, subject: string): boolean {
  let p = 0;
  let s = 0;
  for (;;) {
    const patternEnd = tokenEnd(pattern, p);
    const subjectEnd = tokenEnd(subject, s);
    if (subjectEnd === s) return false;
    const wild = patternEnd === p + 1 ? pattern.charCodeAt(p) : 0;
    if (wild === star || wild === greater) {
      if (s === 0 && isSystemSubject(subject)) return false;
      if (wild === greater) return patternEnd === pattern.length && !hasEmptyToken(subject, s);
    } else if (patternEnd - p !== subjectEnd - s || !sameRun(pattern, p, subject, s, patternEnd - p)) {
      return false;
    }
    const patternDone = patternEnd === pattern.length;
    const subjectDone = subjectEnd === subject.length;
    if (patternDone || subjectDone) return patternDone && subjectDone;
    p = patternEnd + 1;
    s = subjectEnd + 1;
  }
}

function tokenEnd(text: string, from: number): number {
  const end = text.indexOf('.', from);
  return end === -1 ? text.length : end;
}

function sameRun(a: string, aFrom: number, b: string, bFrom: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a.charCodeAt(aFrom + i) !== b.charCodeAt(bFrom + i)) return false;
  return true;
}

function hasEmptyToken(subject: string, from: number): boolean {
  for (let start = from; ; ) {
    const end = tokenEnd(subject, start);
    if (end === start) return true;
    if (end === subject.length) return false;
    start = end + 1;
  }
}

/** True if some subject is covered by both patterns. */
export function patternsOverlap(a: string, b: string): boolean {
  const left = a.split('.');
  const right = b.split('.');
  for (let i = 0; ; i++) {
    const l = left[i];
    const r = right[i];
    if (l === undefined || r === undefined) return l === r;
    if (l === '>' || r === '>') return true;
    if (l !== '*' && r !== '*' && l !== r) return false;
  }
}

type Part = string | { readonly variable: 'subject' | 'origin' | 'from' } | { readonly token: number };

/** What is wrong with a subject template. */
export function templateFault(template: string): Fault | undefined {
  const parsed = parseTemplate(template);
  if (!Array.isArray(parsed)) return parsed;
  const sample = parsed.map((part) => (typeof part === 'string' ? part : 'x')).join('');
  const shown = `the subject template ${quote(template)}`;
  const fix = 'write tokens joined by dots, as fleet.{origin}.{subject}';
  if (template.length > 256) return { message: `${shown} is longer than 256 characters`, fix };
  if (hasOddCharacter(template)) return { message: `${shown} holds white space or a control character`, fix };
  if (sample.split('.').includes('')) return { message: `${shown} has an empty token`, fix };
  if (/[*>]/.test(sample)) {
    return {
      message: `${shown} holds a wildcard`,
      fix: 'a record is stored under one subject: use {subject}, {1}, {2} ...',
    };
  }
  if (isSystemSubject(sample)) {
    return { message: `${shown} starts in a space that belongs to the server`, fix: 'start it with another word' };
  }
  return undefined;
}

/** Compiles a template that `templateFault` has nothing against; throws on any other. */
export function compileMapping(template: string): Mapping {
  const fault = templateFault(template);
  if (fault !== undefined) throw new Error(`${fault.message}. ${fault.fix}`);
  if (template === identityTemplate) {
    return { template, identity: true, map: (subject) => (isPublishable(subject) ? subject : undefined) };
  }
  const parts = partsOf(template);
  const map = (subject: string, hop: Hop): string | undefined => {
    let mapped = '';
    for (const part of parts) {
      if (typeof part === 'string') {
        mapped += part;
      } else if ('token' in part) {
        const token = tokenAt(subject, part.token);
        if (token === undefined) return undefined;
        mapped += token;
      } else {
        mapped += part.variable === 'subject' ? subject : hop[part.variable];
      }
    }
    return isPublishable(mapped) ? mapped : undefined;
  };
  return { template, identity: false, map };
}

/** The pattern that covers everything a template can produce on a lane from `from`. May cover more. */
export function patternOf(template: string, from: string): string {
  const shape = partsOf(template)
    .map((part) => {
      if (typeof part === 'string') return part;
      if ('token' in part || part.variable === 'origin') return '*';
      return part.variable === 'from' ? from : '>';
    })
    .join('');
  const tokens: string[] = [];
  for (const token of shape.split('.')) {
    // A whole subject has any number of tokens, so nothing is known from there on.
    if (token.includes('>')) return [...tokens, '>'].join('.');
    tokens.push(token.includes('*') ? '*' : token);
  }
  return tokens.join('.');
}

function isPublishable(subject: string): boolean {
  if (subject.length * 3 > maxSubjectBytes && Buffer.byteLength(subject) > maxSubjectBytes) return false;
  return isLiteralSubject(subject) && !isSystemSubject(subject);
}

/** The token with this number, from 1. */
function tokenAt(subject: string, number: number): string | undefined {
  let start = 0;
  for (let i = 1; i < number; i++) {
    const end = subject.indexOf('.', start);
    if (end === -1) return undefined;
    start = end + 1;
  }
  return subject.slice(start, tokenEnd(subject, start));
}

function partsOf(template: string): readonly Part[] {
  const parts = parseTemplate(template);
  if (!Array.isArray(parts)) throw new Error(`${parts.message}. ${parts.fix}`);
  return parts;
}

function parseTemplate(template: string): Part[] | Fault {
  const parts: Part[] = [];
  for (const piece of template.match(/\{[^{}]*\}|[^{}]+|[{}]/g) ?? []) {
    if (piece === '{' || piece === '}') {
      const message = `the subject template ${quote(template)} has a "${piece}" without its counterpart`;
      return { message, fix: 'variables are written {subject}, {origin}, {from}, {1}, {2} ...' };
    }
    if (!piece.startsWith('{')) {
      parts.push(piece);
      continue;
    }
    const name = piece.slice(1, -1);
    if (name === 'subject' || name === 'origin' || name === 'from') parts.push({ variable: name });
    else if (/^[1-9][0-9]?$/.test(name)) parts.push({ token: Number(name) });
    else {
      const message = `the subject template ${quote(template)} has an unknown variable ${quote(piece)}`;
      return { message, fix: 'there are {subject}, {origin}, {from}, and {1}, {2} ... for the tokens of the subject' };
    }
  }
  return parts;
}

function hasOddCharacter(text: string): boolean {
  return /[\s\p{Cc}]/u.test(text);
}
