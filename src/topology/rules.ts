import { keysOf, valueAt } from './explain.ts';
import type { Path, PathFault } from './problem.ts';
import { grant, nats as natsSchema } from './schema.ts';

/**
 * Which options go together. These rules look only at which keys are present, so that they can be told together with
 * everything else that is wrong with the file.
 */
export function presenceFaults(file: unknown): PathFault[] {
  return [...natsFaults(file), ...grantFaults(file)];
}

const secrets = ['credentials', 'nkey', 'user', 'password', 'token'] as const;

function natsFaults(file: unknown): PathFault[] {
  const nats = keysAt(file, ['nats']);
  if (nats === undefined) return [];
  const faults: PathFault[] = [];
  const fault = (path: Path, message: string, fix: string): void => {
    faults.push({ path: ['nats', ...path], on: 'key', message, fix });
  };
  const embedded = nats.includes('embedded');
  if (!embedded && !nats.includes('servers') && allKnown(nats, natsSchema)) {
    fault(
      [],
      'neither "servers" nor "embedded" is given',
      'add servers: [nats://HOST:4222], or embedded: { store: PATH }',
    );
  }
  if (embedded) {
    for (const key of nats.filter((name) => name === 'servers')) {
      fault([key], '"servers" and "embedded" exclude each other', 'keep the one that is meant');
    }
    for (const key of nats.filter(
      (name) => (secrets as readonly string[]).includes(name) || name === 'tls' || name === 'domain',
    )) {
      fault([key], `"${key}" has no meaning for an embedded server`, 'take it out: it is reached over loopback only');
    }
  }
  const ways = secrets.filter((key) => key !== 'password' && nats.includes(key));
  for (const key of ways.slice(1)) {
    fault([key], `"${ways[0]}" and "${key}" are two ways to log in`, 'keep one of them');
  }
  if (nats.includes('user') && !nats.includes('password')) {
    fault(['user'], '"user" is given without "password"', 'add password: { file: PATH } or { env: NAME }');
  }
  if (nats.includes('password') && !nats.includes('user')) {
    fault(['password'], '"password" is given without "user"', 'add user: { file: PATH } or { env: NAME }');
  }
  const tls = keysAt(file, ['nats', 'tls']) ?? [];
  if (tls.includes('cert') && !tls.includes('key'))
    fault(['tls', 'cert'], '"cert" is given without "key"', 'add key: PATH');
  if (tls.includes('key') && !tls.includes('cert'))
    fault(['tls', 'key'], '"key" is given without "cert"', 'add cert: PATH');
  for (const key of secrets) {
    const secret = keysAt(file, ['nats', key]);
    if (secret === undefined) continue;
    const given = secret.filter((name) => name === 'file' || name === 'env');
    if (given.length === 2) fault([key], `"${key}" is given twice, as file and as env`, 'keep one of the two');
    if (secret.length === 0) fault([key], `"${key}" says nothing`, 'write { file: PATH } or { env: NAME }');
  }
  return faults;
}

function grantFaults(file: unknown): PathFault[] {
  const grants = valueAt(file, ['grants']);
  if (!Array.isArray(grants)) return [];
  return grants.flatMap((_, index): PathFault[] => {
    const keys = keysAt(file, ['grants', index]);
    if (keys === undefined) return [];
    const verbs = keys.filter((key) => key === 'read' || key === 'append');
    if (verbs.length === 1 || (verbs.length === 0 && !allKnown(keys, grant))) return [];
    const message = verbs.length === 0 ? 'this grant allows nothing' : 'this grant has two verbs';
    const fix =
      verbs.length === 0 ? 'add read: { stream: NAME } or append: { stream: NAME }' : 'write a grant for each of them';
    return [{ path: ['grants', index], on: 'value', message, fix }];
  });
}

/** With a misspelt key about, what seems to be missing may be there. */
function allKnown(keys: readonly string[], schema: Parameters<typeof keysOf>[0]): boolean {
  const known = keysOf(schema);
  return keys.every((key) => known.includes(key));
}

/** The keys of the mapping at a path; undefined if there is no mapping. */
function keysAt(file: unknown, path: Path): string[] | undefined {
  const found = valueAt(file, path);
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return undefined;
  return Object.keys(found);
}
