import { keysOf, valueAt } from './explain.ts';
import type { Path, PathFault } from './problem.ts';
import { grant, link } from './schema.ts';
import { nats as natsSchema } from './schema-nats.ts';
import { proxy } from './schema-proxy.ts';

/**
 * Which options go together. These rules look only at which keys are present, so that they can be told together with
 * everything else that is wrong with the file.
 */
export function presenceFaults(file: unknown): PathFault[] {
  const peers = keysAt(file, ['peers']) ?? [];
  const links = keysAt(file, ['links']) ?? [];
  return [
    ...natsFaults(file, ['nats']),
    ...peers.flatMap((name) => peerFaults(file, ['peers', name])),
    ...links.flatMap((name) => linkFaults(file, ['links', name])),
    ...grantFaults(file),
    ...standbyFaults(file),
  ];
}

/** Servers that live and die with the daemon are of no use to another one. */
function standbyFaults(file: unknown): PathFault[] {
  if (valueAt(file, ['standby']) !== true || valueAt(file, ['nats', 'embedded']) === undefined) return [];
  const message = 'no other daemon can stand by for an embedded server';
  return [
    { path: ['standby'], on: 'key', message, fix: 'take "standby" out, or name "servers" that all daemons reach' },
  ];
}

const secrets = ['credentials', 'nkey', 'user', 'password', 'token'] as const;

function natsFaults(file: unknown, at: Path): PathFault[] {
  const nats = keysAt(file, at);
  if (nats === undefined) return [];
  const faults: PathFault[] = [];
  const fault = (path: Path, message: string, fix: string): void => {
    faults.push({ path: [...at, ...path], on: 'key', message, fix });
  };
  const embedded = nats.includes('embedded');
  if (at.length === 1 && !embedded && !nats.includes('servers') && allKnown(nats, natsSchema)) {
    fault(
      [],
      'neither "servers" nor "embedded" is given',
      'add servers: [nats://HOST:4222], or embedded: { store: PATH }',
    );
  }
  if (at.length === 1 && embedded) {
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
  const tls = keysAt(file, [...at, 'tls']) ?? [];
  if (tls.includes('cert') && !tls.includes('key'))
    fault(['tls', 'cert'], '"cert" is given without "key"', 'add key: PATH');
  if (tls.includes('key') && !tls.includes('cert'))
    fault(['tls', 'key'], '"key" is given without "cert"', 'add cert: PATH');
  return [...faults, ...secrets.flatMap((key) => secretFaults(file, [...at, key]))];
}

function secretFaults(file: unknown, path: Path): PathFault[] {
  const keys = keysAt(file, path);
  if (keys === undefined) return [];
  const name = path.at(-1);
  const given = keys.filter((key) => key === 'file' || key === 'env');
  const fault = (message: string, fix: string): PathFault[] => [{ path, on: 'key', message, fix }];
  if (given.length === 2) return fault(`"${name}" is given twice, as file and as env`, 'keep one of the two');
  return keys.length === 0 ? fault(`"${name}" says nothing`, 'write { file: PATH } or { env: NAME }') : [];
}

function proxyFaults(file: unknown, at: Path): PathFault[] {
  const keys = keysAt(file, at);
  if (keys === undefined) return [];
  const faults: PathFault[] = [];
  const fault = (path: Path, message: string, fix: string): void => {
    faults.push({ path: [...at, ...path], on: 'key', message, fix });
  };
  const [url, env] = [keys.includes('url'), keys.includes('env')];
  if (url && env) fault(['env'], '"url" and "env" are two ways to name the proxy', 'keep one of them');
  if (!url && !env && allKnown(keys, proxy))
    fault([], 'neither "url" nor "env" is given', 'add url: http://HOST:PORT, or env: NAME');
  for (const [key, other] of [
    ['user', 'password'],
    ['password', 'user'],
  ] as const)
    if (keys.includes(key) && !keys.includes(other))
      fault([key], `"${key}" is given without "${other}"`, `add ${other}: { file: PATH } or { env: NAME }`);
  return [...faults, ...['user', 'password'].flatMap((key) => secretFaults(file, [...at, key]))];
}

function peerFaults(file: unknown, at: Path): PathFault[] {
  const keys = keysAt(file, at);
  if (keys === undefined) return [];
  const faults: PathFault[] = [];
  const fault = (key: string, message: string, fix: string): void => {
    faults.push({ path: [...at, key], on: 'key', message, fix });
  };
  const isGroup = keys.includes('match');
  if (isGroup && keys.includes('dial')) fault('dial', 'members of a group dial us', 'take "dial" out, or "match"');
  if (isGroup && keys.includes('nats'))
    fault('nats', 'a group has no NATS servers of its own', 'take "nats" out, or "match"');
  if (keys.includes('nats') && keys.includes('dial')) {
    const fix = 'keep "nats" if this daemon reaches the servers of the peer itself, "dial" if a daemon runs there';
    fault('dial', '"dial" and "nats" are two ways to reach the peer', fix);
  }
  if (keys.includes('proxy') && !keys.includes('dial'))
    fault('proxy', '"proxy" is for peers that are dialled', 'add dial: ["HOST:PORT"], or take it out');
  for (const key of ['except', 'expect'])
    if (!isGroup && keys.includes(key))
      fault(key, `"${key}" is only for a group`, 'add match: PATTERN, or take it out');
  return [...faults, ...natsFaults(file, [...at, 'nats']), ...proxyFaults(file, [...at, 'proxy'])];
}

function linkFaults(file: unknown, at: Path): PathFault[] {
  const keys = keysAt(file, at);
  if (keys === undefined || !allKnown(keys, link)) return [];
  const kind = valueAt(file, [...at, 'kind']);
  const faults: PathFault[] = [];
  const fault = (path: Path, message: string, fix: string, on: PathFault['on'] = 'key'): void => {
    faults.push({ path: [...at, ...path], on, message, fix });
  };
  if (kind === 'replicate') {
    const ends = ['from', 'to'].filter((name) => keys.includes(name));
    for (const key of ends)
      fault(
        [key],
        `"${key}" is not for a replicate link, whose ends are all alike`,
        'write between: [CLUSTER, CLUSTER] and stream: NAME',
      );
    for (const [key, value] of Object.entries({ between: '[CLUSTER, CLUSTER]', stream: 'NAME' }))
      if (ends.length === 0 && !keys.includes(key)) fault([], `"${key}" is missing`, `add ${key}: ${value}`);
    if (!keys.includes('start')) {
      const fix = 'add start: all to bring every member what the others hold, or start: new';
      fault([], 'a replicate link has to say what happens to records that are there already', fix);
    }
  } else if (kind === 'fan-in' || kind === 'fan-out') {
    const foreign = ['between', 'stream'].filter((name) => keys.includes(name));
    for (const key of foreign)
      fault([key], `"${key}" is for replicate links`, `write "from" and "to", or make the link a replicate`);
    if (kind === 'fan-out' && valueAt(file, [...at, 'from', 'consume']) === true) {
      const fix = 'a record is gone once it is acknowledged: use a fan-in link to one cluster, and fan out from there';
      fault(['from', 'consume'], '"consume" is only for fan-in links', fix);
    }
    const start = valueAt(file, [...at, 'start']);
    if (valueAt(file, [...at, 'from', 'consume']) === true && start !== undefined && start !== 'all') {
      const message = 'a stream that is drained is carried from its first record on';
      fault(['start'], message, 'take "start" out, or write start: all', 'value');
    }
    for (const key of ['from', 'to'].filter((name) => foreign.length === 0 && !keys.includes(name)))
      fault([], `"${key}" is missing`, `add ${key}: { stream: NAME }, and "cluster" if it is elsewhere`);
  }
  return faults;
}

function grantFaults(file: unknown): PathFault[] {
  const grants = valueAt(file, ['grants']);
  if (!Array.isArray(grants)) return [];
  return grants.flatMap((_, index): PathFault[] => {
    const keys = keysAt(file, ['grants', index]);
    if (keys === undefined) return [];
    const verbs = keys.filter((key) => key === 'read' || key === 'consume' || key === 'append');
    if (verbs.length === 1 && verbs[0] !== 'append') {
      return ['create', 'origins']
        .filter((key) => keys.includes(key))
        .map((key) => ({
          path: ['grants', index, key],
          on: 'key',
          message: `"${key}" says nothing about ${verbs[0] === 'read' ? 'reading' : 'consuming'}`,
          fix: 'take it out, or put it into a grant with "append"',
        }));
    }
    if (verbs.length === 1 || (verbs.length === 0 && !allKnown(keys, grant))) return [];
    const message = verbs.length === 0 ? 'this grant allows nothing' : 'this grant has more than one verb';
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
