/** Reads imports out of a module, and the rules of docs/architecture.md on who may import whom. */
import { dirname, join, normalize } from 'node:path/posix';

export interface Import {
  readonly specifier: string;
  /** Erased by the compiler. */
  readonly typeOnly: boolean;
  /** What is imported by name; absent for everything else. */
  readonly names?: readonly string[];
}

/** Static and dynamic imports and re-exports. The sources are formatted, so a statement begins its line. */
export function importsOf(text: string): Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s+'([^']+)'/gm)) {
    const listed = /^\{([^}]*)\}$/
      .exec(match[2]!)?.[1]
      ?.split(',')
      .map((name) => name.trim());
    const names = listed?.filter((name) => name !== '');
    const typeOnly = match[1] !== undefined || names?.every((name) => name.startsWith('type ')) === true;
    found.push({ specifier: match[3]!, typeOnly, ...(names && { names }) });
  }
  for (const match of text.matchAll(/^import\s+'([^']+)'/gm)) found.push({ specifier: match[1]!, typeOnly: false });
  for (const match of text.matchAll(/\bimport\(\s*['"`]([^'"`]+)['"`]/g)) {
    // `import('x').Y` as a type is written with `typeof` or in a type position; treating it as a value errs on the safe side.
    found.push({ specifier: match[1]!, typeOnly: false });
  }
  return found;
}

/** A room imports from lower levels only. */
const levels: Readonly<Record<string, number>> = {
  main: 5,
  cli: 4,
  daemon: 3,
  demo: 3,
  lane: 2,
  brokers: 2,
  transport: 2,
  security: 2,
  ops: 2,
  wire: 1,
  dedupe: 1,
  topology: 1,
  lib: 0,
};

/** The interfaces between rooms of one level: their types only. */
const sharedTypes: readonly string[] = [
  'src/brokers/broker.ts',
  'src/transport/channel.ts',
  'src/ops/status.ts',
  'src/security/identity.ts',
  'src/wire/reasons.ts',
];

/** What puts a daemon together from its parts: these files alone name a kind of broker. */
const composition: readonly string[] = ['src/daemon/cluster-end.ts', 'src/daemon/daemon.ts'];

/** Each outside library and the only folder that may import it. */
const libraries: Readonly<Record<string, string>> = {
  commander: 'src/cli/',
  zod: 'src/topology/',
  yaml: 'src/topology/',
  '@viz-js/viz': 'src/topology/',
  'lru-cache': 'src/dedupe/',
  '@bufbuild/protobuf': 'src/wire/',
  '@grpc/grpc-js': 'src/transport/',
  nats: 'src/brokers/nats/',
  '@nats-io/jetstream': 'src/brokers/nats/',
  '@nats-io/kv': 'src/brokers/nats/',
  'prom-client': 'src/ops/',
  pino: 'src/ops/',
  'pino-pretty': 'src/ops/',
  '@peculiar/x509': 'src/security/',
};

/** These rooms hold logic without input, output or clock. */
const pureRooms: readonly string[] = ['lane', 'wire', 'dedupe', 'topology'];
const impureModules = /^node:(net|tls|https?|http2|dgram|dns|fs|timers|child_process|worker_threads|cluster)(\/|$)/;
/** Functions of those modules that only look at their argument. */
const pureNames: Readonly<Record<string, readonly string[]>> = { 'node:net': ['isIP', 'isIPv4', 'isIPv6'] };
/** The loader reads the topology file and what it names. */
const impureExceptions: Readonly<Record<string, RegExp>> = { 'src/topology/load.ts': /^node:fs(\/|$)/ };

/** What is wrong with an import in a (non-test) module of src; undefined if it is allowed. */
export function objection(file: string, imported: Import): string | undefined {
  const { specifier } = imported;
  if (specifier.startsWith('node:')) return objectionToBuiltin(file, imported);
  if (specifier.startsWith('.')) return objectionToRoom(file, imported);
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const home = libraries[name];
  if (home === undefined) return `${name} is not on the list of libraries`;
  return file.startsWith(home) ? undefined : `${name} may be imported in ${home} only`;
}

export function roomOf(file: string): string {
  const parts = file.split('/');
  return parts.length === 2 ? parts[1]!.replace(/\.ts$/, '') : parts[1]!;
}

function objectionToBuiltin(file: string, { specifier, names }: Import): string | undefined {
  if (!pureRooms.includes(roomOf(file)) || !impureModules.test(specifier)) return undefined;
  if (impureExceptions[file]?.test(specifier) === true) return undefined;
  if (names?.every((name) => pureNames[specifier]?.includes(name) === true) === true) return undefined;
  return `${roomOf(file)} has no input, output or clock: not ${specifier}`;
}

function objectionToRoom(file: string, imported: Import): string | undefined {
  if (!imported.specifier.endsWith('.ts')) return 'a path of ours ends in .ts';
  const target = normalize(join(dirname(file), imported.specifier));
  if (!target.startsWith('src/')) return `src does not import ${target}`;
  const [from, to] = [roomOf(file), roomOf(target)];
  const [fromLevel, toLevel] = [levels[from], levels[to]];
  if (from === 'daemon' && /^src\/brokers\/[^/]+\//.test(target) && !composition.includes(file))
    return `${file} sees brokers by their interfaces, and not ${target}`;
  if (fromLevel === undefined) return `${from} is not a room`;
  if (toLevel === undefined) return `${to} is not a room`;
  if (from === to || toLevel < fromLevel) return undefined;
  if (toLevel === fromLevel && sharedTypes.includes(target)) {
    return imported.typeOnly ? undefined : `of ${target} only types may be imported here`;
  }
  return `${from} may not import ${to}`;
}
