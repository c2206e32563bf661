import { writeFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type Starter, starterFile } from '../topology/starter.ts';
import { parseCluster, parseTrustDomain } from './arguments.ts';
import { type Cli, CliError } from './cli.ts';
import { exitCodes } from './exit-codes.ts';

const help = `
Writes a topology file to begin with: valid as it stands, with every option that one needs at first explained in it. FILE is
CLUSTER.yaml if it is not given, and - is standard output. A file that exists is never replaced. The cluster is named as the
file unless --cluster says otherwise.

Two clusters on one machine:
Examples:
  causeway init east.yaml --listen 127.0.0.1:7443 --peer west
  causeway init west.yaml --dial east=127.0.0.1:7443 --server nats://127.0.0.1:4223 --monitor 127.0.0.1:7445
  causeway certs --trust-domain trial east west
  # then put a link into east.yaml, its grant into west.yaml, and
  causeway check east.yaml west.yaml
`;

interface InitOptions {
  readonly cluster?: readonly string[];
  readonly trustDomain: string;
  readonly listen?: string;
  readonly dial?: ReadonlyMap<string, readonly string[]>;
  readonly peer?: readonly string[];
  readonly server?: readonly string[];
  readonly embedded?: string;
  readonly monitor?: string;
}

/** `causeway init [FILE]`: a topology file to begin with. */
export function initCommand(cli: Cli): Command {
  return new Command('init')
    .description('write a topology file to begin with')
    .argument('[FILE]', 'the file to write, or - for standard output')
    .option('--cluster <NAME>', 'name of the cluster; default: that of the file', (name: string) => parseCluster(name))
    .option('--trust-domain <NAME>', 'the same for all clusters that are to be peers', parseTrustDomain, 'trial')
    .option('--listen <HOST:PORT>', 'address on which peers dial this daemon')
    .option('--dial <PEER=HOST:PORT>', 'a peer and the address at which it listens; repeatable', parseDial)
    .option('--peer <NAME>', 'a peer that dials this daemon; repeatable', parseCluster)
    .option(
      '--server <URL>',
      'NATS server of the cluster; repeatable',
      (url: string, before: readonly string[] = []) => [...before, url],
    )
    .option('--embedded <DIR>', 'let the daemon start a NATS server, with its store here')
    .option('--monitor <HOST:PORT>', 'address of health, metrics and status page')
    .addHelpText('after', help)
    .action((file: string | undefined, options: InitOptions) => init(cli, file, options));
}

async function init(cli: Cli, given: string | undefined, options: InitOptions): Promise<void> {
  const { trustDomain, listen, dial, peer, server, embedded, monitor } = options;
  const cluster = options.cluster?.[0] ?? clusterOf(given);
  if (embedded !== undefined && server !== undefined)
    throw new CliError(exitCodes.usage, '--embedded starts a server of its own: leave out --server');
  const file = given ?? `${cluster}.yaml`;
  const peers = new Map<string, readonly string[]>((peer ?? []).map((name) => [name, []]));
  for (const [name, addresses] of dial ?? []) peers.set(name, addresses);
  const starter: Starter = {
    ...{ cluster, trustDomain, servers: server ?? [], peers, file: file === '-' ? `${cluster}.yaml` : file },
    ...(embedded === undefined ? {} : { embedded }),
    ...(listen === undefined ? {} : { listen }),
    ...(monitor === undefined ? {} : { monitor }),
  };
  const started = starterFile(starter);
  if (!started.ok) {
    const words = started.faults.map(({ message, fix }) => `${message}. ${fix}`).join('\n');
    throw new CliError(exitCodes.usage, words);
  }
  if (file === '-') {
    cli.out(started.text);
    return;
  }
  await writeNew(file, started.text);
  const names = [cluster, ...peers.keys()].join(' ');
  cli.out(`wrote  ${file}  (cluster ${cluster})

Next:
1. ${cli.name} certs --trust-domain ${trustDomain} ${names}    # where there are none yet
2. Take the # from a link or a grant in ${file}, and make it yours.
3. ${cli.name} check FILE... tells what is still missing, best with the files of all peers together.
`);
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' });
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST')) throw thrown;
    throw new CliError(exitCodes.failed, `${file} exists and is left as it is`, { cause: thrown });
  }
}

/** The name of a file without its ending, if a cluster can be called so. */
function clusterOf(file: string | undefined): string {
  const name = file === undefined || file === '-' ? '' : basename(file, extname(file));
  if (/^[a-z0-9-]{1,32}$/.test(name)) return name;
  throw new CliError(
    exitCodes.usage,
    'what is the cluster called? Give --cluster NAME, or a file named as it is, such as hub.yaml',
  );
}

type Dial = ReadonlyMap<string, readonly string[]>;

/** `PEER=HOST:PORT`; the same peer again adds an address. */
function parseDial(text: string, before: Dial = new Map()): Dial {
  const [, peer = '', address = ''] = /^([^=]*)=(.+)$/.exec(text) ?? [];
  if (address === '') throw new InvalidArgumentError('Write a peer and its address, such as hub=hub.example:7443.');
  parseCluster(peer);
  return new Map([...before, [peer, [...(before.get(peer) ?? []), address]]]);
}
