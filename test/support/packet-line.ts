/**
 * A line between two network namespaces on this machine that loses, delays and drops IP packets, so that real TCP meets real loss.
 * Where Linux has netem one could do it with that; many kernels have not, hence a relay of our own between two TUN devices.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { RelayOrder } from './packet-relay.ts';
import type { PacketShape } from './packet-shape.ts';

/** A command line. */
export type Command = readonly [command: string, args: readonly string[]];

/** One end of the line: a network namespace. */
export interface PacketEnd {
  /** Its address on the line, for the other end. */
  readonly address: string;
  /** Its address for this process, over a way that is not shaped. */
  readonly host: string;
  /** The command line that runs a command there; the process id stays the same. */
  command(...line: Command): Command;
}

export interface PacketLineSpec extends PacketShape {
  /** Decides which packets are lost. Default 1. */
  readonly seed?: number;
  /** Congestion control of TCP over the line; it decides what loss costs. Default: cubic, as on most machines. */
  readonly congestion?: string;
}

const execute = promisify(execFile);

/** Opens TUN devices, which takes an ioctl that Node has not, and becomes the relay, which inherits them. TUNSETIFF; IFF_TUN | IFF_NO_PI. */
const opener = `$^F = 255;
for (splice @ARGV, 0, 2) {
  sysopen(my $tun, "/dev/net/tun", 2) or die "/dev/net/tun: $!\\n";
  ioctl($tun, 0x400454ca, pack("a16s x22", $_, 0x1001)) or die "making the device $_: $!\\n";
  push @kept, $tun;
}
exec @ARGV, map { fileno $_ } @kept or die "$ARGV[0]: $!\\n";`;

let made = 0;

export class PacketLine implements AsyncDisposable {
  readonly near: PacketEnd;
  readonly far: PacketEnd;
  readonly #names: readonly string[];
  readonly #relay: ChildProcess;
  readonly #onExit: () => void;

  private constructor(ends: readonly [PacketEnd, PacketEnd], names: readonly string[], relay: ChildProcess) {
    [this.near, this.far] = ends;
    this.#names = names;
    this.#relay = relay;
    this.#onExit = () => removeNow(names);
    process.once('exit', this.#onExit);
  }

  /** Makes a line, or says why this machine has none: it takes Linux, root, `ip`, `nsenter`, perl, and /dev/net/tun. */
  static async open(spec: PacketLineSpec): Promise<PacketLine | string> {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes root on Linux';
    const number = (process.pid + made++) % 256;
    const id = `${process.pid}-${made}`;
    const names = [`${prefix}${id}-near`, `${prefix}${id}-far`];
    const tuns = ['a', 'b'].map((end) => `cw${number}${end}t`);
    let relay: ChildProcess | undefined;
    try {
      await sweep();
      relay = await startRelay(tuns, spec.seed ?? 1);
      const ends: PacketEnd[] = [];
      for (const [index, name] of names.entries()) {
        ends.push(await makeEnd({ name, index, number, tun: tuns[index]!, congestion: spec.congestion ?? 'cubic' }));
      }
      const line = new PacketLine(ends as [PacketEnd, PacketEnd], names, relay);
      await line.shape(spec);
      return line;
    } catch (error) {
      relay?.kill('SIGKILL');
      removeNow(names);
      const { stderr = '', message } = error as Error & { readonly stderr?: string };
      return stderr.trim() || message;
    }
  }

  /** Both directions are like this from now on. */
  shape({ delayMs, loss, bitsPerSecond }: PacketShape): Promise<void> {
    return this.#order({ shape: { delayMs, loss, ...(bitsPerSecond === undefined ? {} : { bitsPerSecond }) } });
  }

  /** No packet arrives any more, at neither end; nobody is told. */
  cut(): Promise<void> {
    return this.#order({ cut: true });
  }

  restore(): Promise<void> {
    return this.#order({ cut: false });
  }

  /** Ends the line; whatever runs in its namespaces should have ended before. */
  async stop(): Promise<void> {
    process.off('exit', this.#onExit);
    if (this.#relay.exitCode === null && this.#relay.signalCode === null) {
      this.#relay.kill('SIGKILL');
      await once(this.#relay, 'exit');
    }
    removeNow(this.#names);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #order(order: RelayOrder): Promise<void> {
    const done = once(this.#relay, 'message');
    this.#relay.send(order);
    await done;
  }
}

const prefix = 'causeway-line-';

async function startRelay(tuns: readonly string[], seed: number): Promise<ChildProcess> {
  const relay = fileURLToPath(new URL('packet-relay.ts', import.meta.url));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const child = spawn('perl', ['-e', opener, ...tuns, process.execPath, '--import', tsx, relay, String(seed)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('error', reject);
    child.once('close', () => reject(new Error(said.trim() || 'the relay ended')));
  });
  return child;
}

interface EndSpec {
  readonly name: string;
  readonly index: number;
  /** Keeps the lines of several processes apart. */
  readonly number: number;
  readonly tun: string;
  readonly congestion: string;
}

/** Addresses are of 198.18.0.0/15, which is meant for measuring (RFC 2544). */
async function makeEnd({ name, index, number, tun, congestion }: EndSpec): Promise<PacketEnd> {
  const net = `198.18.${number}`;
  const [here, host, address] = [`${net}.${4 * index + 1}`, `${net}.${4 * index + 2}`, `${net}.${9 + index}`];
  const way = [`cw${number}${index}h`, `cw${number}${index}n`] as const;
  const ip = (line: string): Promise<unknown> => execute('ip', line.split(' '));
  await ip(`netns add ${name}`);
  await ip(`link add ${way[0]} type veth peer name ${way[1]} netns ${name}`);
  await ip(`addr add ${here}/30 dev ${way[0]}`);
  await ip(`link set ${way[0]} up`);
  await ip(`link set ${tun} netns ${name}`);
  const inside = (line: string): Promise<unknown> => ip(`-n ${name} ${line}`);
  await inside('link set lo up');
  await inside(`addr add ${host}/30 dev ${way[1]}`);
  await inside(`link set ${way[1]} up`);
  await inside(`addr add ${address}/30 dev ${tun}`);
  await inside(`link set ${tun} up`);
  await inside(`route change ${net}.8/30 dev ${tun} proto kernel scope link congctl ${congestion}`);
  const there = `--net=/run/netns/${name}`;
  // As Linux does before 6.5, and as most others do: what asks for a connection is repeated after 1 s, 3 s, 7 s, and so on. Linux that
  // has no such setting knows nothing else.
  const setting = '/proc/sys/net/ipv4/tcp_syn_linear_timeouts';
  await execute('nsenter', [there, 'sh', '-c', `[ ! -e ${setting} ] || echo 0 > ${setting}`]);
  return { address, host, command: (command, args) => ['nsenter', [there, command, ...args]] };
}

/** Namespaces that a run left behind that was killed. */
async function sweep(): Promise<void> {
  const { stdout } = await execute('ip', ['netns', 'list']);
  for (const line of stdout.split('\n')) {
    const [name, pid] = /^causeway-line-(\d+)-\S+/.exec(line) ?? [];
    if (name !== undefined && !existsSync(`/proc/${pid}`)) removeNow([name]);
  }
}

/** A namespace takes its devices with it once nothing runs in it. */
function removeNow(names: readonly string[]): void {
  for (const name of names) {
    try {
      execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    } catch {
      // It has not been made, or is gone already.
    }
  }
}
