import { expect, test } from 'vitest';
import { importsOf, objection } from './imports.ts';
import { projectFiles, textOf } from './tree.ts';

const modules = projectFiles().filter((file) => /^src\/.*\.ts$/.test(file) && !file.endsWith('.test.ts'));

test('every import of src keeps to the rooms, and every library to its one room', () => {
  const objections = modules.flatMap((file) =>
    importsOf(textOf(file)).flatMap((imported) => {
      const why = objection(file, imported);
      return why === undefined ? [] : [`${file}: '${imported.specifier}': ${why}`];
    }),
  );
  expect(objections).toEqual([]);
});

const value = (specifier: string) => ({ specifier, typeOnly: false });
const type = (specifier: string) => ({ specifier, typeOnly: true });

test.each([
  ['src/main.ts', value('./cli/program.ts')],
  ['src/cli/run.ts', value('../daemon/daemon.ts')],
  ['src/cli/check.ts', value('../topology/load.ts')],
  ['src/daemon/lane-set.ts', type('../brokers/broker.ts')],
  ['src/daemon/cluster-end.ts', value('../brokers/nats/connection.ts')],
  ['src/lane/sender.ts', value('../wire/batch.ts')],
  ['src/lane/sender.ts', type('../brokers/broker.ts')],
  ['src/brokers/nats/source.ts', value('../broker.ts')],
  ['src/brokers/nats/source.ts', value('nats')],
  ['src/brokers/nats/source.ts', value('@nats-io/jetstream/internal')],
  ['src/topology/load.ts', value('node:fs/promises')],
  ['src/wire/batch.ts', value('node:crypto')],
  ['src/topology/leaves.ts', { ...value('node:net'), names: ['isIP'] }],
])('%s may have %o', (file, imported) => expect(objection(file, imported)).toBeUndefined());

test.each([
  ['src/lib/format.ts', value('../wire/reasons.ts')],
  ['src/lane/sender.ts', value('../brokers/broker.ts')],
  ['src/lane/sender.ts', type('../brokers/nats/source.ts')],
  ['src/lane/sender.ts', value('node:timers/promises')],
  ['src/daemon/daemon.ts', value('../cli/run.ts')],
  ['src/daemon/lane-set.ts', type('../brokers/nats/connection.ts')],
  ['src/daemon/daemon.ts', value('@grpc/grpc-js')],
  ['src/brokers/broker.ts', value('nats')],
  ['src/topology/schema.ts', value('node:fs')],
  ['src/topology/leaves.ts', { ...value('node:net'), names: ['isIP', 'connect'] }],
  ['src/wire/batch.ts', value('left-pad')],
  ['src/ops/log.ts', value('./redact')],
  ['src/ops/log.ts', value('../../test/support/until.ts')],
  ['src/attic/old.ts', value('../lib/format.ts')],
])('%s may not have %o', (file, imported) => expect(objection(file, imported)).toBeDefined());

test('imports are read in all their forms', () => {
  const text = `import './a.ts';
import type { B } from './b.ts';
import { type C, type D } from './c.ts';
import {
  type E,
  f,
} from './e.ts';
import * as g from './g.ts';
export { h } from './h.ts';
export type { I } from './i.ts';
const j = await import('./j.ts');
`;
  expect(importsOf(text).map(({ specifier, typeOnly }) => ({ specifier, typeOnly }))).toEqual([
    type('./b.ts'),
    type('./c.ts'),
    value('./e.ts'),
    value('./g.ts'),
    value('./h.ts'),
    type('./i.ts'),
    value('./a.ts'),
    value('./j.ts'),
  ]);
});
