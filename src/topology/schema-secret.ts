import { z } from 'zod';
import { envName, path } from './leaves.ts';

export const secretTitle = 'a secret reference';

/** Secrets stand in files of their own or in the environment, never in a topology file. */
export const secret = z
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
