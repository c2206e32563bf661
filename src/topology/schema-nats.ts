import { z } from 'zod';
import { domain, path, serverUrl } from './leaves.ts';
import { secret } from './schema-secret.ts';

/** The options of NATS servers: those of the own cluster, and of peers that are served. */

/** Default of `nats.embedded.port`. */
export const embeddedPort = 4222;

const port = z
  .int()
  .min(0)
  .max(65535)
  .meta({ title: 'a port', examples: [embeddedPort] });

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

const servers = z
  .array(serverUrl)
  .min(1)
  .describe('URLs of the servers of this cluster: `nats://` or `tls://`, default port 4222. This, or `embedded`.')
  .meta({ title: 'a list of NATS server URLs', examples: [['nats://127.0.0.1:4222']] });

/** What it takes to log in and to work at servers that somebody else runs. */
const account = {
  credentials: secret.describe('NATS credentials (`.creds`: JWT and seed).').optional(),
  nkey: secret.describe('NKey seed (`SU...`).').optional(),
  user: secret.describe('User name; needs `password`.').optional(),
  password: secret.describe('Password; needs `user`.').optional(),
  token: secret.describe('Token.').optional(),
  tls: natsTls.describe('TLS to the servers, where it needs more than the scheme `tls://`.').optional(),
  domain: domain.describe('JetStream domain to work in.').optional(),
};

export const nats = z
  .strictObject({
    servers: servers.optional(),
    ...account,
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

export const peerNats = z
  .strictObject({ servers: servers.describe('URLs of the servers of that cluster.'), ...account })
  .meta({ title: 'the NATS servers of the peer', examples: [{ servers: ['nats://berlin.example:4222'] }] });
