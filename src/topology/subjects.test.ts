import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compileMapping,
  isLiteralSubject,
  patternFault,
  patternOf,
  patternsOverlap,
  subjectMatches,
  templateFault,
} from './subjects.ts';

const token = fc.constantFrom('a', 'b', 'cc', 'a*', '>x', 'plant-a', '7', 'ü');
const subject = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join('.'));
const plainToken = fc.constantFrom('a', 'b', 'cc', '7');
const pattern = fc
  .tuple(
    fc.array(fc.oneof(plainToken, fc.constant('*')), { maxLength: 4 }),
    fc.constantFrom<string[]>([], ['>'], ['a'], ['*']),
  )
  .map(([tokens, last]) => [...tokens, ...last].join('.'))
  .filter((text) => text !== '');

/** What NATS documents, written the obvious way. */
function covers(patternTokens: readonly string[], tokens: readonly string[]): boolean {
  const [first, ...rest] = patternTokens;
  if (first === undefined || tokens.length === 0) return first === undefined && tokens.length === 0;
  if (first === '>') return true;
  return (first === '*' || first === tokens[0]) && covers(rest, tokens.slice(1));
}

describe('isLiteralSubject', () => {
  it.each(['a', 'a.b', 'a*.b>', '>x', '$SYS.x', 'ü.{x}'])('takes %j', (text) => {
    expect(isLiteralSubject(text)).toBe(true);
  });

  it.each(['', '.', 'a.', '.a', 'a..b', '*', 'a.*', 'a.*.b', '>', 'a.>', 'a b', 'a\tb', 'a\r\nPUB x 0', 'a\0'])(
    'refuses %j',
    (text) => {
      expect(isLiteralSubject(text)).toBe(false);
    },
  );
});

describe('subjectMatches', () => {
  it('agrees with the definition', () => {
    fc.assert(
      fc.property(pattern, subject, (p, s) => {
        expect(subjectMatches(p, s)).toBe(covers(p.split('.'), s.split('.')));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['a', 'a', true],
    ['a', 'ab', false],
    ['ab', 'a', false],
    ['a.b', 'a', false],
    ['a', 'a.b', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['a.>', 'a', false],
    ['a.>', 'a.b.c', true],
    ['>', 'a.b', true],
    ['>', '', false],
    ['>', 'a..b', false],
    ['*', '', false],
    ['a.>', 'a.', false],
    ['a.>.b', 'a.x.b', false],
    // what the server and clients use among themselves is never meant by a wildcard
    ['>', '$JS.API.STREAM.DELETE.FLEET', false],
    ['*.API.>', '$JS.API.INFO', false],
    ['>', '_INBOX.x.1', false],
    ['*.x.1', '_INBOX.x.1', false],
    ['>', '_INBOX_me.x', false],
    ['a.>', 'a.$JS.x', true],
    ['>', '_inbox.x', true],
    ['$KV.>', '$KV.b.k', true],
  ])('%j covers %j: %s', (p, s, expected) => {
    expect(subjectMatches(p, s)).toBe(expected);
  });
});

describe('patternFault', () => {
  it.each(['a', 'a.b.c', '*', '>', 'a.*.b.>', 'plant-a.7'])('takes %j', (text) => {
    expect(patternFault(text)).toBeUndefined();
  });

  it.each(['', '.', 'a..b', 'a.>.b', 'a*', 'a.b>', 'a b', 'a.\u0000', '$JS.>', '_INBOX.>', `a.${'b'.repeat(256)}`])(
    'refuses %j',
    (text) => {
      expect(patternFault(text)?.message).toContain('is not a subject pattern');
    },
  );
});

describe('patternsOverlap', () => {
  it('is true wherever one subject is covered by both, and for a pattern and itself', () => {
    fc.assert(
      fc.property(pattern, pattern, subject, (a, b, s) => {
        if (subjectMatches(a, s) && subjectMatches(b, s)) expect(patternsOverlap(a, b)).toBe(true);
        expect(patternsOverlap(a, b)).toBe(patternsOverlap(b, a));
        expect(patternsOverlap(a, a)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['a.>', 'b.>', false],
    ['a.*', 'a.b.c', false],
    ['a', 'a.>', false],
    ['*.b', 'a.*', true],
    ['*.b', 'a.c', false],
    ['>', 'a', true],
  ])('%j and %j: %s', (a, b, expected) => {
    expect(patternsOverlap(a, b)).toBe(expected);
  });
});

const hop = { origin: 'edge-7', from: 'plant-a' };

describe('a mapping', () => {
  it.each([
    ['{subject}', 'a.b', 'a.b'],
    ['fleet.{origin}.{subject}', 'press.7.t', 'fleet.edge-7.press.7.t'],
    ['{from}.{2}.{1}', 'a.b.c', 'plant-a.b.a'],
    ['all', 'a.b', 'all'],
    ['x-{1}-{3}', 'a.b.c', 'x-a-c'],
    ['{subject}.{subject}', 'a', 'a.a'],
    ['{10}', '1.2.3.4.5.6.7.8.9.ten', 'ten'],
    ['a.{1}', '{origin}.x', 'a.{origin}'],
  ])('%s maps %s to %s', (template, from, expected) => {
    expect(templateFault(template)).toBeUndefined();
    expect(compileMapping(template).map(from, hop)).toBe(expected);
  });

  it.each([
    ['{3}', 'a.b'],
    ['{subject}', ''],
    ['{subject}', 'a..b'],
    ['{subject}', 'a.*'],
    ['x.{subject}', 'a\r\nPUB evil 0'],
    ['{subject}', '$JS.API.STREAM.DELETE.FLEET'],
    ['{2}.{3}', 'x.$JS.API'],
    ['{subject}', '_INBOX.abc.1'],
    ['{subject}', `a.${'b'.repeat(3500)}`],
    ['x.{1}', 'ü'.repeat(1800)],
  ])('%s has no subject for %j', (template, from) => {
    expect(compileMapping(template).map(from, hop)).toBeUndefined();
  });

  it('has no subject for an origin that is no name', () => {
    const mapping = compileMapping('{origin}.{subject}');
    expect(mapping.map('a', { origin: '$JS', from: 'x' })).toBeUndefined();
    expect(mapping.map('a', { origin: 'a b', from: 'x' })).toBeUndefined();
    expect(mapping.map('a', { origin: '', from: 'x' })).toBeUndefined();
  });

  it('is free when it leaves subjects as they are', () => {
    expect(compileMapping('{subject}').identity).toBe(true);
    expect(compileMapping('x.{subject}').identity).toBe(false);
  });

  it('gives only subjects that may be published, whatever comes in', () => {
    const part = fc.constantFrom('a', '.', '{subject}', '{origin}', '{from}', '{1}', '{2}', '-');
    const template = fc
      .array(part, { minLength: 1, maxLength: 6 })
      .map((parts) => parts.join(''))
      .filter((text) => templateFault(text) === undefined);
    const anything = fc.oneof(
      subject,
      fc.string({ unit: fc.constantFrom('a', '.', '*', '>', ' ', '$', '\r', '{', '}') }),
    );
    fc.assert(
      fc.property(template, anything, anything, (text, from, origin) => {
        const mapped = compileMapping(text).map(from, { origin, from: 'plant-a' });
        if (mapped === undefined) return;
        expect(isLiteralSubject(mapped)).toBe(true);
        expect(subjectMatches('>', mapped)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('stays within the pattern that is told of it', () => {
    const part = fc.constantFrom('a', '.', '.', '{subject}', '{origin}', '{from}', '{1}', '{2}');
    const template = fc
      .array(part, { minLength: 1, maxLength: 7 })
      .map((parts) => parts.join(''))
      .filter((text) => templateFault(text) === undefined);
    fc.assert(
      fc.property(template, subject, (text, from) => {
        const mapped = compileMapping(text).map(from, hop);
        if (mapped !== undefined) expect(subjectMatches(patternOf(text, hop.from), mapped)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('templateFault', () => {
  it.each([
    ['', 'has an empty token'],
    ['a..b', 'has an empty token'],
    ['.{subject}', 'has an empty token'],
    ['a.*', 'holds a wildcard'],
    ['{subject}.>', 'holds a wildcard'],
    ['a b', 'holds white space or a control character'],
    ['$KV.{1}', 'belongs to the server'],
    ['_INBOX.{1}', 'belongs to the server'],
    ['{', 'without its counterpart'],
    ['a}', 'without its counterpart'],
    ['{{subject}}', 'without its counterpart'],
    ['{}', 'unknown variable "{}"'],
    ['{0}', 'unknown variable "{0}"'],
    ['{100}', 'unknown variable "{100}"'],
    ['{Subject}', 'unknown variable "{Subject}"'],
    ['{ subject }', 'unknown variable "{ subject }"'],
    ['x'.repeat(257), 'longer than 256'],
  ])('%j %s', (template, expected) => {
    expect(templateFault(template)?.message).toContain(expected);
    expect(() => compileMapping(template)).toThrow(expected);
  });
});
