import { expect, it } from 'vitest';
import { laneTable, verdictTable } from './tables.ts';

it('shows lanes as they are, and unknown as unknown', () => {
  expect(
    laneTable('  6.5 s', [
      { lane: 'telemetry/plant-a/hub', sent: 12_345, stored: 12_300, perSecond: 1500, state: 'live' },
      { lane: 'telemetry/plant-b/hub', sent: 7, stored: undefined, perSecond: undefined, state: undefined },
    ]),
  ).toEqual([
    '  6.5 s                   sent   stored      lag    per s  state',
    'telemetry/plant-a/hub   12,345   12,300       45    1,500  live',
    'telemetry/plant-b/hub        7  unknown  unknown  unknown  no answer',
  ]);
});

it('gives the verdict, and speaks of altered records only where there are any', () => {
  const verdict = {
    lane: 'l/a/b',
    sent: 3,
    stored: 3,
    duplicates: 0,
    outOfOrder: 0,
    lost: 0,
    altered: 0,
    verified: 'equal',
  };
  expect(verdictTable([verdict])).toEqual([
    'lane      sent   stored  duplicates  out of order  lost  verified',
    'l/a/b        3        3           0             0     0     equal',
  ]);
  expect(verdictTable([{ ...verdict, altered: 2 }])[0]).toMatch(/lost {2}altered {2}verified$/);
});
