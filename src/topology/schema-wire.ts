import { z } from 'zod';
import {
  clusterName,
  lastTimeMs,
  linkName,
  startWords,
  streamName,
  subjectPattern,
  subjectTemplate,
} from './leaves.ts';
import { kind } from './schema.ts';

/** What a declaration says of two clusters, as it crosses the wire: complete, with nothing left out and nothing implied. */
export const wireLink = z.strictObject({
  name: linkName,
  kind,
  from: z.strictObject({
    clusters: z.array(clusterName).min(1).max(2),
    stream: streamName,
    consume: z.literal(true).optional(),
  }),
  to: z.strictObject({
    clusters: z.array(clusterName).min(1).max(2),
    stream: streamName,
    subject: subjectTemplate,
    create: z
      .strictObject({
        subjects: z.array(subjectPattern).min(1),
        maxBytes: z.int().min(1),
        maxAgeMs: z.int().min(1).optional(),
        replicas: z.int().min(1).max(5),
      })
      .optional(),
    shared: z.literal(true).optional(),
  }),
  start: z
    .union([
      z.strictObject({ at: z.enum(startWords) }),
      z.strictObject({ at: z.literal('sequence'), sequence: z.int().min(1) }),
      z.strictObject({ at: z.literal('time'), timeMs: z.int().min(0).max(lastTimeMs) }),
    ])
    .optional(),
  previously: linkName.optional(),
  sourced: z.boolean().optional(),
  gaps: z.literal('park').optional(),
});
