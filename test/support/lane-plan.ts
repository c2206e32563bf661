import type { LanePlan } from '../../src/topology/plan.ts';

/** The only lane of a link `l`, as its file may say it. */
export const lanePlan: LanePlan = {
  id: 'l/a/b',
  link: 'l',
  kind: 'fan-in',
  from: 'a',
  to: 'b',
  sourceStream: 'S',
  sinkStream: 'T',
  subject: '{subject}',
  shared: false,
  origins: [],
  declaredBy: 'b',
  linkHash: 'h',
};
