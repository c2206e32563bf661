import { expect, it } from 'vitest';
import { problemsOf } from '../../test/support/problems.ts';

const file = (nats: string, standby: string): string => `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: ${nats}
standby: ${standby}
`;

it('several daemons need servers that all of them reach', () => {
  const [embedded, servers] = ['{ embedded: { store: d } }', '{ servers: [nats://n1] }'];
  expect(problemsOf(file(embedded, 'true'))).toEqual([
    'f.yaml:6:1: no other daemon can stand by for an embedded server. take "standby" out, or name "servers" that all daemons reach',
  ]);
  for (const [nats, standby] of [
    [embedded, 'false'],
    [servers, 'true'],
  ] as const)
    expect(problemsOf(file(nats, standby))).toEqual([]);
});
