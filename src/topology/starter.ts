import { stringify } from 'yaml';
import { compile } from './compile.ts';
import { parseTopologyDocument } from './document.ts';
import type { Fault } from './problem.ts';
import { monitorAddress } from './schema.ts';
import { embeddedPort } from './schema-nats.ts';

/** What is known of a cluster whose first topology file is to be written. */
export interface Starter {
  readonly cluster: string;
  readonly trustDomain: string;
  /** Server URLs; the usual one if there is none and nothing is embedded. */
  readonly servers: readonly string[];
  /** Directory of the embedded server's store. */
  readonly embedded?: string;
  /** host:port; chosen if it is left out and a peer dials us. */
  readonly listen?: string;
  /** host:port */
  readonly monitor?: string;
  /** Addresses to dial by peer; none for a peer that dials us. */
  readonly peers: ReadonlyMap<string, readonly string[]>;
  /** Name of the file, for the hints in it. */
  readonly file: string;
}

export type Started =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly faults: readonly Fault[] };

const defaultListen = '0.0.0.0:7443';

/**
 * A topology file to begin with. It is valid as it stands. What is commented out begins with `#` and no space, and is valid, too, once
 * that is taken away; `# ` begins an explanation.
 */
export function starterFile(starter: Starter): Started {
  const text = write(starter);
  const parsed = parseTopologyDocument(text);
  if (!parsed.ok) return { ok: false, faults: parsed.faults };
  const compiled = compile(parsed.document.value, `/${starter.file}`, '');
  return compiled.ok ? { ok: true, text } : { ok: false, faults: compiled.faults };
}

function write(starter: Starter): string {
  const { cluster, trustDomain, monitor, peers, file } = starter;
  // A daemon that is dialled listens.
  const listen = starter.listen ?? ([...peers.values()].some((dial) => dial.length === 0) ? defaultListen : undefined);
  const all = [cluster, ...peers.keys()].join(' ');
  const [peer = 'other'] = peers.keys();
  return `# Topology of the cluster ${cluster}: what its daemon connects to, whom it peers with, which links it declares, and what
# links of others may do here. Lines that begin with # and no space are examples: take the # away to use them,
# from the line that they stand under, too.
#
#   causeway certs --trust-domain ${trustDomain} ${all}
#   causeway check ${file}
#   causeway run ${file}
#
# Every option: topologies/README.md. For an editor that completes and checks, causeway schema > causeway.schema.json and
# yaml-language-server: $schema=causeway.schema.json
version: 1
cluster: ${scalar(cluster)}

# The same in the files of all clusters that are to be peers. Paths are relative to this file.
trustDomain: ${scalar(trustDomain)}
tls: { cert: ${flow(`certs/${cluster}.crt`)}, key: ${flow(`certs/${cluster}.key`)}, ca: certs/ca.crt }

${natsPart(starter)}

# Where peers dial us. A daemon that only dials needs no such address.
${listen === undefined ? `#listen: ${defaultListen}` : `listen: ${scalar(listen)}`}

# Health, metrics and the status page, to read only. A second daemon on this machine needs another port.
${monitor === undefined ? `#monitor: ${monitorAddress}` : `monitor: ${scalar(monitor)}`}

# Where this daemon takes commands, such as causeway gaps list: a unix socket of its own user.
admin: { socket: ${flow(`run/${cluster}.sock`)} }

# Memory for records on their way, of all links together. Left out: a quarter of what there is, at most 1GiB.
#memory: 256MiB

# The other clusters. Of two peers at least one has an address to dial; which one says nothing about who sends.
${peersPart(peers)}

# Links that this file declares: streams carried between clusters, in order and exactly once. The sink stream exists already, or
# is made with "create", and owns the subjects that the link writes.
#links: # take the # from this line, too, when you use a link
  #orders: # ${peer}/ORDERS into our ORDERS_ALL; ${peer} has to grant it: - { to: ${cluster}, read: { stream: ORDERS } }
    #kind: fan-in # or fan-out, from one cluster to many
    #from: { cluster: ${flow(peer)}, stream: ORDERS } # cluster: [${peer}, ...] for several
    #to:
      #stream: ORDERS_ALL
      #subject: "all.{origin}.{subject}" # where it is stored; left out: under the same subject
      #create: { subjects: ["all.>"], maxBytes: 1GiB } # left out: the stream must be there
    #start: all # or new, for records from now on; needed if the sink stream holds records already
  #shared: # the same records in both clusters; ${peer} declares it alike
    #kind: replicate
    #between: [${flow(cluster)}, ${flow(peer)}]
    #stream: SHARED
    #start: all

# What links that others declare may do here. Nothing is granted by default.
#grants: # take the # from this line, too, when you use a grant
  #- { to: ${flow(peer)}, read: { stream: ORDERS } } # ${peer} may read our ORDERS
  #- { to: ${flow(peer)}, append: { stream: FROM_OTHERS, subjects: ["from.>"] } } # ${peer} may write into our FROM_OTHERS
`;
}

function natsPart({ cluster, servers, embedded }: Starter): string {
  if (embedded !== undefined) {
    return `# The daemon starts and supervises a nats-server here. Clients of this cluster connect to this port of 127.0.0.1.
nats:
  embedded: { store: ${flow(embedded)}, port: ${embeddedPort} }`;
  }
  const urls = servers.length === 0 ? ['nats://127.0.0.1:4222'] : servers;
  return `# The NATS servers of this cluster, with JetStream. Secrets are named, never written here: { file: PATH } or { env: NAME }.
# Without servers of your own, embedded: { store: data/${cluster} } instead of all this starts one.
nats:
  servers: [${urls.map(flow).join(', ')}]
  #credentials: { file: secrets/nats.creds } # or nkey, user with password, token
  #tls: { ca: certs/nats-ca.crt } # for tls:// with an authority of your own
  #domain: hub # JetStream domain, where the servers have one`;
}

function peersPart(peers: Starter['peers']): string {
  if (peers.size === 0) {
    return `#peers: # take the # from this line, too, when you use a peer
  #other: { dial: ["bridge.other.example:7443"] } # we dial
  #third: {} # dials us
  #edges: { match: "edge-*", expect: 40 } # a group: every cluster of such a name, all of which dial us`;
  }
  const lines = [...peers].map(([name, addresses]) =>
    addresses.length === 0
      ? `  ${scalar(name)}: {} # dials us`
      : `  ${scalar(name)}: { dial: [${addresses.map((address) => JSON.stringify(address)).join(', ')}] }`,
  );
  return `peers:
${lines.join('\n')}
  #edges: { match: "edge-*", expect: 40 } # a group: every cluster of such a name, all of which dial us`;
}

/** A text as YAML, in quotes where it would be taken for something else. */
function scalar(text: string): string {
  return stringify(text, { lineWidth: 0 }).trimEnd();
}

/** The same within brackets. */
function flow(text: string): string {
  const list = stringify([text], { collectionStyle: 'flow', lineWidth: 0 }).trim();
  return list.slice(1, -1).trim();
}
