import { z } from 'zod';
import {
  byteSize,
  clusterName,
  clusterPattern,
  dialEndpoint,
  duration,
  linkName,
  listenAddress,
  listenEndpoint,
  path,
  startText,
  streamName,
  subjectPattern,
  subjectTemplate,
  trustDomain,
} from './leaves.ts';
import { nats, peerNats } from './schema-nats.ts';
import { proxy } from './schema-proxy.ts';
import { identityTemplate } from './subjects.ts';

/**
 * The topology file, option by option. Strict: an option enters with the code that implements it. The descriptions are
 * what editors show and what topologies/README.md lists; both are generated from here.
 */

export const monitorAddress = '127.0.0.1:7444';
const adminSocket = 'run/admin.sock';

const tls = z
  .strictObject({
    cert: path.describe('Certificate (PEM, with intermediates) that names this cluster in a URI SAN.'),
    key: path.describe('Private key of `cert` (PEM).').meta({ examples: ['certs/hub.key'] }),
    ca: path
      .describe('Certificate authorities (PEM) that peers are verified against.')
      .meta({ examples: ['certs/ca.crt'] }),
  })
  .meta({ title: 'an identity', examples: [{ cert: 'certs/hub.crt', key: 'certs/hub.key', ca: 'certs/ca.crt' }] });

const peer = z
  .strictObject({
    dial: z
      .array(dialEndpoint)
      .min(1)
      .describe('Addresses (host:port, or unix:PATH) of the peer, tried in this order. Left out: the peer dials us.')
      .meta({ title: 'a list of addresses', examples: [['hub.example:7443']] })
      .optional(),
    proxy: proxy
      .describe('HTTP proxy (CONNECT) on the way to those addresses. TLS goes through it, from end to end.')
      .optional(),
    nats: peerNats
      .describe('The NATS servers of the peer: this daemon serves that cluster too, and nobody is dialled.')
      .optional(),
    match: clusterPattern
      .describe('Makes this a group: every cluster whose name fits and that has no entry of its own. They dial us.')
      .optional(),
    except: z
      .array(clusterName)
      .min(1)
      .describe('Clusters that fit and do not belong to the group.')
      .meta({ title: 'a list of cluster names', examples: [['edge-13']] })
      .optional(),
    expect: z
      .union([z.int().min(1).max(100_000), z.array(clusterName).min(1)])
      .describe('How many members there are, or which: those that never called are shown as such.')
      .meta({ title: 'a number or a list of cluster names', examples: [40] })
      .optional(),
  })
  .meta({ title: 'a peer', examples: [{}] });

const someClusters = z
  .union([clusterName, z.array(clusterName).min(1)])
  .meta({ title: 'a cluster name or a list of them', examples: [['plant-a', 'plant-b']] });

const fromEnd = z
  .strictObject({
    cluster: someClusters
      .describe('Cluster, group, or list of them, to read from. Left out: this cluster. A list only for `fan-in`.')
      .optional(),
    stream: streamName.describe(
      'Stream to read, of this name in each source cluster. Retention: limits, or with `consume` another.',
    ),
    consume: z
      .literal(true)
      .describe(
        'The stream has WorkQueue or Interest retention: each record is acknowledged at the source once it is stored at the sink, which drains the stream. Of `fan-in` links.',
      )
      .meta({ title: 'true', examples: [true] })
      .optional(),
  })
  .meta({ title: 'the source of a link', examples: [{ cluster: 'plant-a', stream: 'TELEMETRY' }] });

export const create = z
  .strictObject({
    subjects: z
      .array(subjectPattern)
      .min(1)
      .max(100)
      .describe('Subjects of the new stream. Left out: what `subject` leads to, if that says enough.')
      .meta({ title: 'a list of subject patterns', examples: [['firmware.>']] })
      .optional(),
    maxBytes: byteSize.describe('Size of the new stream; the oldest records go first.'),
    maxAge: duration.describe('Age at which its records go.').optional(),
    replicas: z
      .int()
      .min(1)
      .max(5)
      .describe('Copies in the NATS cluster.')
      .meta({ title: 'a number of replicas', examples: [3] })
      .default(1),
  })
  .meta({ title: 'a mapping with "maxBytes"', examples: [{ maxBytes: '1GiB' }] });

const toEnd = z
  .strictObject({
    cluster: someClusters
      .describe('Cluster, group, or list of them, to write to. Left out: this cluster. A list only for `fan-out`.')
      .optional(),
    stream: streamName
      .describe('Stream to append to. It must own the subjects that the link writes.')
      .meta({ examples: ['FLEET'] }),
    subject: subjectTemplate
      .describe('Subject at the sink, with `{subject}`, `{origin}`, `{from}`, `{1}` `{2}` ...')
      .default(identityTemplate),
    create: create.describe('Make the stream if it is missing. One that exists is left as it is.').optional(),
    shared: z
      .literal(true)
      .describe(
        'Applications write this stream, too: records are appended by message ids from the start, so that the first of theirs does not cost one of ours its place.',
      )
      .meta({ examples: [true] })
      .optional(),
  })
  .meta({ title: 'the sink of a link', examples: [{ stream: 'FLEET' }] });

export const kind = z
  .enum(['fan-in', 'fan-out', 'replicate'])
  .meta({ title: 'a kind of link', examples: ['fan-in'] })
  .describe(
    'What kind of link: `fan-in` carries streams of many clusters into one stream, `fan-out` one stream to many clusters, `replicate` keeps one stream alike in all of them.',
  );

const start = z
  .union([z.int().min(1), startText])
  .meta({ title: 'all, new, fromMirror, a sequence or a time', examples: ['all'] })
  .describe(
    'Where a lane begins that never stored anything: `all`, `new`, a sequence, a time (RFC 3339), or `fromMirror` to take over from JetStream sources or a former mirror. Needed where the sink stream holds records that Causeway did not bring.',
  );

const origins = z
  .array(clusterPattern)
  .min(1)
  .meta({ title: 'a list of patterns of cluster names', examples: [['edge-*']] });

export const link = z
  .strictObject({
    kind,
    from: fromEnd.describe('Where the records are read. Of `fan-in` and `fan-out`.').optional(),
    to: toEnd.describe('Where they are stored. Of `fan-in` and `fan-out`.').optional(),
    between: z
      .array(clusterName)
      .min(2)
      .describe('Of `replicate`: all members, this cluster among them. Each declares the link alike.')
      .meta({ title: 'a list of cluster names', examples: [['hub', 'berlin']] })
      .optional(),
    stream: streamName
      .describe('Of `replicate`: the stream, of this name in every member.')
      .meta({ examples: ['ORDERS'] })
      .optional(),
    start: start.optional(),
    previously: linkName
      .describe('Name that this link had before: its lanes go on where they stood under that name.')
      .meta({ examples: ['old-name'] })
      .optional(),
    sourced: z
      .boolean()
      .describe(
        'Whether records are carried that JetStream itself sourced or mirrored into the source stream. Default: `true`; of `replicate` `false`, since they would go round.',
      )
      .meta({ title: 'true or false', examples: [true] })
      .optional(),
    gaps: z
      .enum(['continue', 'park'])
      .describe(
        'What the lanes do when their source has lost records before they were read: `continue` behind them, or `park` until somebody acknowledges it (`causeway gaps ack`). Default: continue. Either way it is an alarm.',
      )
      .meta({ examples: ['park'] })
      .optional(),
    origins: origins
      .describe(
        'Clusters, besides the sources themselves, that records may come from when this cluster stores them: a source that passes on what others sent speaks in their names.',
      )
      .optional(),
  })
  .meta({
    title: 'a link',
    examples: [{ kind: 'fan-in', from: { cluster: 'plant-a', stream: 'TELEMETRY' }, to: { stream: 'FLEET' } }],
  });

export const grant = z
  .strictObject({
    to: clusterName.describe('The peer, or group, whose links are allowed something here.'),
    read: z
      .strictObject({ stream: streamName.describe('Stream its links may read.') })
      .describe('Lets links of that peer read a stream. This, `consume`, or `append`.')
      .meta({ title: 'a mapping with "stream"', examples: [{ stream: 'TELEMETRY' }] })
      .optional(),
    consume: z
      .strictObject({ stream: streamName.describe('Stream its links may drain.').meta({ examples: ['JOBS'] }) })
      .describe('Lets links of that peer drain a stream of WorkQueue or Interest retention (`consume: true`).')
      .meta({ title: 'a mapping with "stream"', examples: [{ stream: 'JOBS' }] })
      .optional(),
    append: z
      .strictObject({
        stream: streamName.describe('Stream its links may append to.').meta({ examples: ['FLEET'] }),
        subjects: z
          .array(subjectPattern)
          .min(1)
          .describe('Subjects they may write, `*` and `>` allowed. Left out: whatever the stream takes.')
          .meta({ title: 'a list of subject patterns', examples: [['fleet.>']] })
          .optional(),
      })
      .describe('Lets links of that peer append to a stream. This, `read`, or `consume`.')
      .meta({ title: 'a mapping with "stream"', examples: [{ stream: 'FLEET' }] })
      .optional(),
    create: z
      .strictObject({ maxBytes: byteSize.describe('No larger than this.') })
      .describe('With `append`: the stream may be made if it is missing.')
      .meta({ title: 'a mapping with "maxBytes"', examples: [{ maxBytes: '1GiB' }] })
      .optional(),
    origins: origins
      .describe(
        'With `append`: clusters, besides the peer itself, in whose names it may speak. Default: none, so that nobody can speak in the name of another site.',
      )
      .optional(),
  })
  .meta({
    title: 'a grant',
    examples: [{ to: 'hub', read: { stream: 'TELEMETRY' } }],
    oneOf: [{ required: ['read'] }, { required: ['consume'] }, { required: ['append'] }],
  });

export const peers = z
  .record(clusterName, peer)
  .describe('The other clusters, by name, and groups of them.')
  .meta({ title: 'a mapping of peers by name', examples: [{ hub: { dial: ['hub.example:7443'] } }] });

export const links = z
  .record(linkName, link)
  .describe('Links this file declares, by name. This cluster is one end of each.')
  .meta({
    title: 'a mapping of links by name',
    examples: [
      { telemetry: { kind: 'fan-in', from: { cluster: 'plant-a', stream: 'TELEMETRY' }, to: { stream: 'FLEET' } } },
    ],
  });

/** A whole topology file. */
export const topologyFile = z
  .strictObject({
    version: z
      .literal(1)
      .describe('Version of this format.')
      .meta({ title: 'a version', examples: [1] }),
    cluster: z
      .union([
        clusterName,
        z.strictObject({
          from: z
            .literal('certificate')
            .describe('Take the name from `tls.cert`: one file for a whole fleet.')
            .meta({ examples: ['certificate'] }),
        }),
      ])
      .describe('Name of the cluster that this daemon belongs to, or `{ from: certificate }`.')
      .meta({ title: 'a cluster name', examples: ['hub'] }),
    trustDomain: trustDomain.describe(
      'Trust domain of the certificates. Identity is the URI SAN `spiffe://TRUST-DOMAIN/CLUSTER`.',
    ),
    tls: tls.describe('The one identity of this daemon towards its peers, dialling or listening.'),
    nats: nats.describe('The own NATS cluster.'),
    listen: listenEndpoint
      .describe('Address (host:port, or unix:PATH) on which peers dial us. Left out: this daemon only dials.')
      .optional(),
    monitor: listenAddress
      .describe('Address of the read-only HTTP endpoints: health, metrics, status.')
      .meta({ examples: [monitorAddress] })
      .default(monitorAddress),
    admin: z
      .strictObject({
        socket: path
          .describe('Path of the unix socket for commands to the running daemon; made with mode 0600.')
          .meta({ examples: [adminSocket] }),
      })
      .describe('Where the running daemon takes commands, as `causeway gaps`. Left out: nowhere.')
      .meta({ title: 'the admin socket', examples: [{ socket: adminSocket }] })
      .optional(),
    memory: byteSize
      .describe(
        'Memory for the records that this daemon holds, divided among all its lanes. Left out: a quarter of what the machine or container has, at most 1GiB.',
      )
      .meta({ examples: ['256MiB'] })
      .optional(),
    standby: z
      .boolean()
      .describe(
        'This may be one of several daemons of the cluster: one is active, by a lease in the bucket `CAUSEWAY`, the others stand by.',
      )
      .meta({ title: 'true or false', examples: [true] })
      .optional(),
    peers: peers.default({}),
    links: links.default({}),
    grants: z
      .array(grant)
      .describe('What links that peers declare may do here. Default: nothing.')
      .meta({ title: 'a list of grants', examples: [[{ to: 'hub', read: { stream: 'TELEMETRY' } }]] })
      .default([]),
  })
  .meta({ title: 'Causeway topology file' });

export type TopologyFile = z.infer<typeof topologyFile>;
export type LinkEntry = z.infer<typeof link>;
export type GrantEntry = z.infer<typeof grant>;
