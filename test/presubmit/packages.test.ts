import { expect, test } from 'vitest';
import { textOf } from './tree.ts';

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

interface Locked {
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(textOf('package.json')) as Manifest;
const locked = (JSON.parse(textOf('package-lock.json')) as { packages: Readonly<Record<string, Locked>> }).packages;

test('package.json pins exact versions', () => {
  const pins = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  const exact = /^(npm:@?[\w/.-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/;
  expect(pins.filter(([, version]) => !exact.test(version))).toEqual([]);
});

test('package-lock.json names no place to download from', () => {
  expect(Object.keys(locked).filter((name) => locked[name]!.resolved !== undefined)).toEqual([]);
});

test('package-lock.json has the packages of every platform, or npm ci would refuse it', () => {
  const missing = Object.entries(locked).flatMap(([name, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter(
      (wanted) => !(`${name}/node_modules/${wanted}` in locked) && !(`node_modules/${wanted}` in locked),
    ),
  );
  expect(missing).toEqual([]);
});
