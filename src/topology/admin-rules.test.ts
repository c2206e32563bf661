import { expect, it } from 'vitest';
import { problemsOf } from '../../test/support/problems.ts';
import { quote } from './problem.ts';

const file = (more: string): string => `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: [nats://n1] }
${more}
`;
const long = 'x'.repeat(108);

it.each([
  ['admin: { socket: run/admin.sock }', []],
  [
    'admin: run/admin.sock',
    ['f.yaml:6:8: "admin" must be the admin socket, not a text. write it as { socket: run/admin.sock }'],
  ],
  [
    `admin: { socket: /${long} }`,
    [
      `f.yaml:6:18: ${quote(`/${long}`)} has 109 bytes, and the path of a socket at most 107. choose a shorter path, as /run/causeway/admin.sock`,
    ],
  ],
  [
    'listen: unix:/run/a.sock\nadmin: { socket: /run/a.sock }',
    ['f.yaml:7:18: "admin" and "listen" want the same socket. change one of them'],
  ],
])('%s', async (more, problems) => {
  expect(await problemsOf(file(more))).toEqual(problems);
});
