import { z } from 'zod';
import {
  clusterName,
  dialAddress,
  domain,
  envName,
  linkName,
  listenAddress,
  path,
  serverUrl,
  streamName,
  subjectPattern,
  subjectTemplate,
  trustDomain,
} from './leaves.ts';
import { identityTemplate } from './subjects.ts';

/**
 * The topology file, option by option. Strict: an option enters with the code that implements it. The descriptions are
 * what editors show and what topologies/README.md lists; both are generated from here.
 */

export const secretTitle = 'a secret reference';
/** Default of `nats.embedded.port`. */
export const embeddedPort = 4222;
export const monitorAddress = '127.0.0.1:7444';

const port = z
  .int()
  .min(0)
  .max(65535)
  .meta({ title: 'a port', examples: [embeddedPort] });

const secret = z
  .strictObject({
    file: path
      .describe('File that holds the secret. Read at each connect.')
      .meta({ examples: ['secrets/nats'] })
      .optional(),
    env: envName.describe('Environment variable of the daemon that holds the secret.').optional(),
  })
  .meta({
    title: secretTitle,
    examples: [{ file: 'secrets/nats' }],
    oneOf: [{ required: ['file'] }, { required: ['env'] }],
  });

const tls = z
  .strictObject({
    cert: path.describe('Certificate (PEM, with intermediates) that names this cluster in a URI SAN.'),
    key: path.describe('Private key of `cert` (PEM).').meta({ examples: ['certs/hub.key'] }),
    ca: path
      .describe('Certificate authorities (PEM) that peers are verified against.')
      .meta({ examples: ['certs/ca.crt'] }),
  })
  .meta({ title: 'an identity', examples: [{ cert: 'certs/hub.crt', key: 'certs/hub.key', ca: 'certs/ca.crt' }] });

const natsTls = z
  .strictObject({
    ca: path
      .describe("Authorities (PEM) the server's certificate is verified against; default: those of Node.js.")
      .meta({ examples: ['certs/nats-ca.crt'] })
      .optional(),
    cert: path
      .describe('Client certificate (PEM), where the server demands one.')
      .meta({ examples: ['certs/nats.crt'] })
      .optional(),
    key: path
      .describe('Private key of `cert` (PEM).')
      .meta({ examples: ['certs/nats.key'] })
      .optional(),
  })
  .meta({ title: 'TLS files', examples: [{ ca: 'certs/nats-ca.crt' }] });

const embedded = z
  .strictObject({
    store: path.describe('Directory of the JetStream store; made if missing.').meta({ examples: ['data/plant-a'] }),
    port: port.min(1).describe('Loopback port on which the embedded server takes clients.').default(embeddedPort),
  })
  .meta({ title: 'an embedded server', examples: [{ store: 'data/hub' }] });

export const nats = z
  .strictObject({
    servers: z
      .array(serverUrl)
      .min(1)
      .describe('URLs of the servers of this cluster: `nats://` or `tls://`, default port 4222. This, or `embedded`.')
      .meta({ title: 'a list of NATS server URLs', examples: [['nats://127.0.0.1:4222']] })
      .optional(),
    credentials: secret.describe('NATS credentials (`.creds`: JWT and seed).').optional(),
    nkey: secret.describe('NKey seed (`SU...`).').optional(),
    user: secret.describe('User name; needs `password`.').optional(),
    password: secret.describe('Password; needs `user`.').optional(),
    token: secret.describe('Token.').optional(),
    tls: natsTls.describe('TLS to the servers, where it needs more than the scheme `tls://`.').optional(),
    domain: domain.describe('JetStream domain to work in.').optional(),
    embedded: embedded
      .describe(
        'Start and supervise a nats-server with JetStream here, on loopback, syncing every write. Takes no other `nats` option.',
      )
      .optional(),
  })
  .meta({
    title: 'the NATS servers of this cluster',
    examples: [{ servers: ['nats://127.0.0.1:4222'] }],
    oneOf: [{ required: ['servers'] }, { required: ['embedded'] }],
  });

const peer = z
  .strictObject({
    dial: z
      .array(dialAddress)
      .min(1)
      .describe('Addresses (host:port) of the peer, tried in this order. Left out: the peer dials us.')
      .meta({ title: 'a list of addresses', examples: [['hub.example:7443']] })
      .optional(),
  })
  .meta({ title: 'a peer', examples: [{}] });

const fromEnd = z
  .strictObject({
    cluster: z
      .union([clusterName, z.array(clusterName).min(1)])
      .describe('Cluster, or list of clusters, to read from. Left out: this one.')
      .meta({ title: 'a cluster name or a list of them', examples: [['plant-a', 'plant-b']] })
      .optional(),
    stream: streamName.describe('Stream to read, of this name in each source cluster. Retention: limits.'),
  })
  .meta({ title: 'the source of a link', examples: [{ cluster: 'plant-a', stream: 'TELEMETRY' }] });

const toEnd = z
  .strictObject({
    cluster: clusterName.describe('Cluster to write to. Left out: this one.').optional(),
    stream: streamName
      .describe('Stream to append to. It must exist, and own the subjects that the link writes.')
      .meta({ examples: ['FLEET'] }),
    subject: subjectTemplate
      .describe('Subject at the sink, with `{subject}`, `{origin}`, `{from}`, `{1}` `{2}` ...')
      .default(identityTemplate),
  })
  .meta({ title: 'the sink of a link', examples: [{ stream: 'FLEET' }] });

const kind = z
  .literal('fan-in')
  .describe('What kind of link: `fan-in` carries streams of one or many clusters into one stream.');

export const link = z
  .strictObject({
    kind: kind.meta({ title: 'a kind of link', examples: ['fan-in'] }),
    from: fromEnd.describe('Where the records are read.'),
    to: toEnd.describe('Where they are stored.'),
  })
  .meta({
    title: 'a link',
    examples: [{ kind: 'fan-in', from: { cluster: 'plant-a', stream: 'TELEMETRY' }, to: { stream: 'FLEET' } }],
  });

export const grant = z
  .strictObject({
    to: clusterName.describe('The peer whose links are allowed something here.'),
    read: z
      .strictObject({ stream: streamName.describe('Stream its links may read.') })
      .describe('Lets links of that peer read a stream. This, or `append`.')
      .meta({ title: 'what may be read', examples: [{ stream: 'TELEMETRY' }] })
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
      .describe('Lets links of that peer append to a stream. This, or `read`.')
      .meta({ title: 'what may be appended', examples: [{ stream: 'FLEET' }] })
      .optional(),
  })
  .meta({
    title: 'a grant',
    examples: [{ to: 'hub', read: { stream: 'TELEMETRY' } }],
    oneOf: [{ required: ['read'] }, { required: ['append'] }],
  });

export const peers = z
  .record(clusterName, peer)
  .describe('The other clusters, by name.')
  .meta({ title: 'a mapping of peers by name', examples: [{ hub: { dial: ['hub.example:7443'] } }] });

export const links = z
  .record(linkName, link)
  .describe('Links this file declares, by name. Exactly one end is this cluster.')
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
    cluster: clusterName.describe('Name of the cluster that this daemon belongs to.'),
    trustDomain: trustDomain.describe(
      'Trust domain of the certificates. Identity is the URI SAN `spiffe://TRUST-DOMAIN/CLUSTER`.',
    ),
    tls: tls.describe('The one identity of this daemon towards its peers, dialling or listening.'),
    nats: nats.describe('The own NATS cluster.'),
    listen: listenAddress
      .describe('Address (host:port) on which peers dial us. Left out: this daemon only dials.')
      .optional(),
    monitor: listenAddress
      .describe('Address of the read-only HTTP endpoints: health, metrics, status.')
      .meta({ examples: [monitorAddress] })
      .default(monitorAddress),
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

/** A link as it crosses the wire: complete, with nothing left out and nothing implied. */
export const wireLink = z.strictObject({
  name: linkName,
  kind,
  from: z.strictObject({ clusters: z.array(clusterName).min(1).max(1000), stream: streamName }),
  to: z.strictObject({ cluster: clusterName, stream: streamName, subject: subjectTemplate }),
});
