/** What each kind of fault does to a running world. Every one is over when its promise is settled. */
import { cp, rename } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import type { ChaosProxy } from './chaos-proxy.ts';
import type { NatsServer } from './nats-launcher.ts';
import { startNats } from './nats-launcher.ts';
import { type Chronicle, type NamedGap, setAside } from './nemesis-account.ts';
import type { FaultKind, PlannedFault } from './nemesis-schedule.ts';
import type { NemesisWorld } from './nemesis-world.ts';
import { readStream, type Stored } from './oracle.ts';
import { until } from './until.ts';

const patienceMs = 60_000;
const ledger = 'KV_CAUSEWAY_GAPS';
const quarantine = 'CAUSEWAY_QUARANTINE';

export interface Stage {
  readonly nemesis: NemesisWorld;
  readonly chronicles: ReadonlyMap<string, Chronicle>;
  /** Runs actions that concern the same thing one after the other. */
  readonly alone: <T>(things: readonly string[], action: () => Promise<T>) => Promise<T>;
  readonly tell: (what: string) => void;
}

type Strike = (stage: Stage, fault: PlannedFault) => Promise<void>;

/** A fault that begins, lasts, and is taken back. */
function onLine(begin: (line: ChaosProxy, fault: PlannedFault) => void, end: (line: ChaosProxy) => void): Strike {
  return ({ nemesis, alone }, fault) =>
    alone([`line ${fault.target}`], async () => {
      const [from = '', to = ''] = fault.target.split('>');
      const line = nemesis.world.line(from, to);
      begin(line, fault);
      await delay(fault.forMs);
      end(line);
    });
}

const nothing = (): void => undefined;
const pick = <T>(list: readonly T[], choice: number): T => list[Math.floor(choice * list.length)]!;
const ways = ['both', 'to-target', 'from-target'] as const;

export const strikes: Readonly<Record<FaultKind, Strike>> = {
  'daemon-killed': ({ nemesis, alone }, { target, forMs }) =>
    alone([`daemon ${target}`], async () => {
      const { daemon } = nemesis.world.cluster(target);
      await daemon.kill();
      await delay(forMs);
      await daemon.start();
    }),
  'server-killed': ({ nemesis, alone }, { target, forMs, choice }) =>
    alone([`server ${target}`], async () => {
      const server = pick(nemesis.servers(target), choice);
      await server.kill();
      await delay(forMs);
      await server.start();
      await whole(nemesis, target);
    }),
  'daemon-frozen': ({ nemesis, alone }, { target, forMs }) =>
    alone([`daemon ${target}`], async () => {
      const { daemon } = nemesis.world.cluster(target);
      await daemon.freeze();
      await delay(forMs);
      daemon.thaw();
    }),
  'server-frozen': ({ nemesis, alone }, { target, forMs, choice }) =>
    alone([`server ${target}`], async () => {
      const server = pick(nemesis.servers(target), choice);
      await server.freeze();
      await delay(forMs);
      server.thaw();
      await whole(nemesis, target);
    }),
  'line-cut': onLine(
    (line) => line.cutOff(),
    (line) => line.restore(),
  ),
  'line-frozen': onLine(
    (line, { choice }) => line.freeze(pick(ways, choice)),
    (line) => line.thaw(),
  ),
  'line-slow': onLine(
    (line, { choice }) =>
      line.shape(
        pick(
          [
            { delayMs: 80, jitterMs: 60 },
            { bytesPerSecond: 150_000 },
            { delayMs: 20, jitterMs: 20, bytesPerSecond: 500_000 },
          ],
          choice,
        ),
      ),
    (line) => line.shape({ delayMs: 0, jitterMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY }),
  ),
  'line-torn': onLine(
    (line, { choice }) =>
      line.cutAfter(Math.ceil(choice * 30_000), pick(['to-target', 'from-target'], (choice * 7) % 1)),
    nothing,
  ),
  'line-half-open': onLine((line, { choice }) => line.halfOpen(pick(['dialler', 'target'], choice)), nothing),
  'sink-full': (stage, { target, forMs, choice }) =>
    stage.alone([`stream ${target}`], async () => {
      await limit(stage, target, (bytes) => bytes + 50_000 + Math.ceil(choice * 50_000));
      await delay(forMs);
      await limit(stage, target, () => -1);
    }),
  'permission-taken': ({ nemesis, alone }, { target, forMs, choice }) =>
    alone([`permission ${target}`], async () => {
      const { stream, root } = nemesis.place(target);
      const denied = pick(
        [
          [`${root}.>`],
          ['$KV.CAUSEWAY.>'],
          [`$JS.API.STREAM.INFO.${stream}`],
          ['$JS.API.CONSUMER.CREATE.>'],
          [`$JS.API.STREAM.MSG.GET.${stream}`],
          ['$JS.API.>'],
        ],
        choice,
      );
      await nemesis.deny(target, denied);
      await delay(forMs);
      await nemesis.deny(target, []);
    }),
  'sink-purged': (stage, { target }) => purge(stage, target),
  'sink-restored': async (stage, { target, forMs }) => {
    const copy = await copyStore(stage, target);
    await delay(forMs + 500);
    await restore(stage, target, copy);
  },
  'leader-steps-down': ({ nemesis, alone }, { target, forMs }) =>
    alone([`server ${target}`], async () => {
      const { stream } = nemesis.place(target);
      const client = await nemesis.world.cluster(target).client();
      for (const name of [stream, 'KV_CAUSEWAY']) {
        // Without a leader at this moment there is none to step down.
        await client.request(`$JS.API.STREAM.LEADER.STEPDOWN.${name}`, '', { timeout: 2_000 }).catch(nothing);
        await delay(forMs / 2);
      }
    }),
  // Not so far back that certificates are of the future: such a daemon does not start.
  'clock-jumps': async ({ nemesis }, { target, choice }) => {
    nemesis.shiftClock(target, pick([-200_000, -5_000, 5_000, 86_400_000], choice));
  },
};

/** Removes what the stream of a cluster holds, and remembers it. */
export async function purge({ nemesis, chronicles, alone, tell }: Stage, target: string): Promise<void> {
  await alone([`server ${target}`, `stream ${target}`], async () => {
    const { stream } = nemesis.place(target);
    const records = await read(nemesis, target);
    const last = records.at(-1);
    if (last === undefined) return;
    const client = await nemesis.world.cluster(target).client();
    // What is stored meanwhile stays, for nobody has seen it.
    await asked(`${stream} of ${target} to be purged`, async () => {
      const question = JSON.stringify({ seq: last.sequence + 1 });
      const answer = await client.request(`$JS.API.STREAM.PURGE.${stream}`, question, { timeout: 2_000 });
      return answer.json<{ readonly success?: boolean }>().success === true;
    });
    chronicles.get(target)!.purged.push(...records);
    tell(`${target}: purged up to ${last.sequence}`);
  });
}

/** Copies the store of a cluster's server. Gives the folder. */
export function copyStore({ nemesis, alone, tell }: Stage, target: string): Promise<string> {
  return alone([`server ${target}`, `stream ${target}`], async () => {
    const { server } = nemesis.world.cluster(target);
    await server.kill();
    const copy = `${server.storeDir}-copy`;
    await cp(server.storeDir, copy, { recursive: true });
    await server.start();
    tell(`${target}: copied`);
    return copy;
  });
}

/** Puts a copy in the place of the store, and remembers what went. */
export async function restore(
  { nemesis, chronicles, alone, tell }: Stage,
  target: string,
  copy: string,
): Promise<void> {
  await alone([`server ${target}`, `stream ${target}`], async () => {
    const { server } = nemesis.world.cluster(target);
    await server.kill();
    const before = `${server.storeDir}-before`;
    await rename(server.storeDir, before);
    const chronicle = chronicles.get(target)!;
    const [was, kept] = [await look(nemesis, target, server, before), await look(nemesis, target, server, copy)];
    await rename(copy, server.storeDir);
    chronicle.lost = { before: was.records, keptUpTo: kept.lastSequence };
    chronicle.gaps.push(...was.gaps);
    await server.start();
    tell(`${target}: restored, ${was.lastSequence} became ${kept.lastSequence}`);
  });
}

/** What a store holds that no running server has. */
async function look(nemesis: NemesisWorld, target: string, { binary }: NatsServer, dir: string) {
  await using server = await startNats({ binary, name: 'looked-at', storeDir: dir });
  const { stream } = nemesis.place(target);
  const connection = await connect({ servers: server.url });
  try {
    const { state } = await (await jetstreamManager(connection)).streams.info(stream);
    const [records, gaps] = [await readStream(server.url, stream), await readGaps(server.url)];
    return { records, gaps, lastSequence: state.last_seq };
  } finally {
    await connection.close();
  }
}

/** Every record of a cluster's stream, as soon as its server lets it be read. */
export function read(nemesis: NemesisWorld, target: string): Promise<Stored[]> {
  const { stream } = nemesis.place(target);
  return asked(`${stream} of ${target} to be read`, () => nemesis.world.cluster(target).read(stream));
}

/** Every entry of the ledger of gaps that a server keeps, and of the quarantine. */
export async function readGaps(url: string): Promise<NamedGap[]> {
  const connection = await connect({ servers: url });
  try {
    const { streams } = await jetstreamManager(connection);
    const names: string[] = [];
    for await (const name of streams.names()) names.push(name);
    const gaps: NamedGap[] = [];
    const messages = async (stream: string) => (names.includes(stream) ? readStream(url, stream) : []);
    for (const { sequence } of await messages(ledger)) {
      const entry = (await streams.getMessage(ledger, { seq: sequence }))?.json<Partial<NamedGap>>();
      if (entry?.lane !== undefined && entry.after !== undefined) gaps.push(entry as NamedGap);
    }
    for (const { sequence, subject } of await messages(quarantine)) {
      if (!subject.endsWith('.head')) continue;
      const entry = (await streams.getMessage(quarantine, { seq: sequence }))?.json<{
        readonly lane: string;
        readonly position: NamedGap['upTo'];
      }>();
      if (entry === undefined) continue;
      const { lane, position } = entry;
      const after = { ...position, sequence: position.sequence - 1 };
      gaps.push({ lane, after, upTo: position, reason: setAside });
    }
    return gaps;
  } finally {
    await connection.close();
  }
}

async function limit({ nemesis, chronicles }: Stage, target: string, to: (bytes: number) => number): Promise<void> {
  const { stream } = nemesis.place(target);
  const client = await nemesis.world.cluster(target).client();
  const before = await read(nemesis, target);
  await asked(`the limit of ${stream} of ${target} to be changed`, async () => {
    const { streams } = await jetstreamManager(client, { timeout: 2_000 });
    const { state } = await streams.info(stream);
    await streams.update(stream, { max_bytes: to(state.bytes) });
    return true;
  });
  // What came between question and answer may make it more than that: then the server removes the oldest.
  const { state } = await asked(`${stream} of ${target} to be looked at`, async () =>
    (await jetstreamManager(client)).streams.info(stream),
  );
  chronicles.get(target)!.purged.push(...before.filter(({ sequence }) => sequence < state.first_seq));
}

/** Waits until every server of a cluster takes part again: two of three at once would be no outage, but a loss. */
async function whole(nemesis: NemesisWorld, target: string): Promise<void> {
  const servers = nemesis.servers(target);
  if (servers.length === 1) return;
  for (const server of servers)
    await asked(`${server.name} to be healthy`, async () => (await fetch(`${server.monitorUrl}/healthz`)).ok);
}

/** Asks a server that may be away, until it answers. */
function asked<T>(what: string, question: () => Promise<T>): Promise<Exclude<T, undefined | null | false>> {
  return until(question, { what, deadlineMs: patienceMs, everyMs: 100 });
}
