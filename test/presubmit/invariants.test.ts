import { expect, test } from 'vitest';
import { breaks } from '../simulation/breaks.ts';
import { projectFiles, textOf } from './tree.ts';

const invariants = [...textOf('docs/architecture.md').matchAll(/^- (I\d) /gm)].map((match) => match[1]!);
const code = projectFiles()
  .filter((file) => /^src\/.*\.ts$/.test(file) && !file.endsWith('.test.ts'))
  .map(textOf)
  .join('\n');

test('each invariant is numbered in the code that keeps it, and there is a way to break it that the simulation is shown to catch', () => {
  expect(invariants).toEqual(['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']);
  expect(invariants.filter((one) => !new RegExp(`\\b${one}\\b`).test(code))).toEqual([]);
  expect(invariants.filter((one) => !breaks.some((broken) => broken.breaks === one))).toEqual([]);
});
