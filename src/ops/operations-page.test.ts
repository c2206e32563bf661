import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Reason, reasons } from '../wire/reasons.ts';
import { laneStates } from './status.ts';

const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');

/** Sections of the third level below a heading of the second, by their names. */
function sections(title: string): Map<string, string> {
  const start = page.indexOf(`\n## ${title}\n`);
  expect(start, title).toBeGreaterThan(0);
  const end = page.indexOf('\n## ', start + 1);
  const [, ...parts] = page.slice(start, end === -1 ? undefined : end).split('\n### ');
  return new Map(parts.map((part) => [part.slice(1, part.indexOf('`', 1)), part.slice(part.indexOf('\n')).trim()]));
}

describe('docs/operations.md', () => {
  it('has a section for every state of a lane, and for nothing else', () => {
    const found = sections('States of a lane');
    expect([...found.keys()].sort()).toEqual([...laneStates].sort());
    for (const [state, text] of found) expect(text.length, state).toBeGreaterThan(20);
  });

  it('has a section for every reason, and for nothing else', () => {
    expect([...sections('Reasons').keys()].sort()).toEqual(Object.keys(reasons).sort());
  });

  it('says of every reason how it is retried, what it means, why it may be and what to do', () => {
    for (const [reason, text] of sections('Reasons')) {
      expect(text, reason).toMatch(/^- Retry: `\w+`\n- Meaning: .+\.\n- Likely cause: .+\.\n- What to do: .+\.$/s);
      expect(text, reason).toContain(`- Retry: \`${reasons[reason as Reason].retry}\``);
    }
  });

  it('explains every way of retrying', () => {
    for (const retry of new Set(Object.values(reasons).map((info) => info.retry)))
      expect(page).toContain(`| \`${retry}\` |`);
  });
});
