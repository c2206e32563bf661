import { z } from 'zod';
import { envName, exceptPattern, path, proxyUrl } from './leaves.ts';
import { secret } from './schema-secret.ts';

/** `peers.X.proxy`. */
export const proxy = z
  .strictObject({
    url: proxyUrl.describe('URL of the proxy, `http://` or `https://`. This, or `env`.').optional(),
    env: envName
      .describe(
        'Environment variable of the daemon that holds the URL, maybe with a name and password. Unset or empty: no proxy.',
      )
      .meta({ examples: ['CORP_PROXY'] })
      .optional(),
    user: secret
      .describe('Name for Basic authentication; needs `password`.')
      .meta({ examples: [{ env: 'PROXY_USER' }] })
      .optional(),
    password: secret
      .describe('Password; needs `user`.')
      .meta({ examples: [{ file: 'secrets/proxy' }] })
      .optional(),
    ca: path
      .describe('Authorities (PEM) that an `https://` proxy is verified against; default: those of Node.js.')
      .meta({ examples: ['certs/proxy-ca.crt'] })
      .optional(),
    except: z
      .union([
        z.array(exceptPattern).min(1),
        z.strictObject({
          env: envName
            .describe('Environment variable that holds such a list, separated by commas.')
            .meta({ examples: ['NO_PROXY'] }),
        }),
      ])
      .describe('Hosts, domains and networks that are dialled without the proxy, or `{ env: NO_PROXY }`.')
      .meta({ title: 'a list of hosts, domains and networks', examples: [['.plant.example', '10.0.0.0/8']] })
      .optional(),
  })
  .meta({
    title: 'a proxy',
    examples: [{ url: 'http://proxy.example:3128' }],
    oneOf: [{ required: ['url'] }, { required: ['env'] }],
  });
