/** Worlds made of the example files in topologies/: as they stand there, but for addresses and paths. */
import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { ClusterSpec, StreamSpec } from './world.ts';

const root = new URL('../../topologies/', import.meta.url);

interface ExampleFile {
  readonly cluster: string | { readonly from: 'certificate' };
  readonly peers?: Readonly<
    Record<string, { readonly dial?: unknown; readonly match?: string; readonly nats?: unknown }>
  >;
  readonly links?: Readonly<Record<string, unknown>>;
  readonly grants?: readonly unknown[];
}

export interface ExampleOptions {
  readonly streams: Readonly<Record<string, Readonly<Record<string, StreamSpec>>>>;
  /** Clusters that run on the one file that takes its name from the certificate. */
  readonly members?: readonly string[];
}

/** The clusters of an example: `folder` below topologies/. */
export function exampleClusters(folder: string, options: ExampleOptions): Record<string, ClusterSpec> {
  const files = readdirSync(new URL(`${folder}/`, root)).filter((name) => name.endsWith('.yaml'));
  const specs: Record<string, ClusterSpec> = {};
  for (const name of files) {
    const file = parse(readFileSync(new URL(`${folder}/${name}`, root), 'utf8')) as ExampleFile;
    const clusters = typeof file.cluster === 'string' ? [file.cluster] : (options.members ?? []);
    for (const cluster of clusters) specs[cluster] = specOf(file, options.streams[cluster] ?? {});
  }
  return specs;
}

function specOf(file: ExampleFile, streams: Readonly<Record<string, StreamSpec>>): ClusterSpec {
  const peers = Object.entries(file.peers ?? {});
  const groups = peers.flatMap(([name, { match, ...rest }]) =>
    match === undefined ? [] : [[name, { match, ...rest }] as const],
  );
  return {
    dial: peers.filter(([, peer]) => peer.dial !== undefined).map(([name]) => name),
    groups: Object.fromEntries(groups),
    streams,
    links: file.links ?? {},
    grants: file.grants ?? [],
    ...(typeof file.cluster === 'string' ? {} : { topology: { cluster: file.cluster } }),
  };
}
