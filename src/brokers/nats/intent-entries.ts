import type { KV } from '@nats-io/kv';
import { decodeGroup } from '../../dedupe/intent-group.ts';
import type { KeptIntent } from '../store.ts';

/** The groups of intents under `prefix`, each in a slot of its own. Throws as the client does. */
export async function loadIntents(kv: KV, prefix: string): Promise<KeptIntent[]> {
  const slots: number[] = [];
  for await (const key of await kv.keys(`${prefix}>`)) slots.push(Number(key.slice(prefix.length)));
  const load = async (slot: number): Promise<KeptIntent[]> => {
    const entry = await kv.get(`${prefix}${slot}`);
    if (entry === null) return [];
    const group = entry.operation === 'PUT' ? decodeGroup(Buffer.from(entry.value)) : undefined;
    return [{ slot, revision: entry.revision, group }];
  };
  return (await Promise.all(slots.map(load))).flat();
}
