import type { PeerStatus } from '../ops/status.ts';
import type { Greeting } from '../wire/control.ts';

type Greeted = Pick<PeerStatus, 'software' | 'node' | 'file' | 'fileHash' | 'generation' | 'certificateNotAfterMs'>;

/** What a peer that is connected has said of itself. `notAfterMs`: when its certificate ends. */
export function greetedStatus(greeting: Greeting | undefined, notAfterMs: number | undefined): Greeted {
  if (greeting === undefined) return {};
  const { software, node, file, fileHash, generation } = greeting;
  return {
    software,
    node,
    file,
    fileHash,
    generation,
    ...(notAfterMs && Number.isFinite(notAfterMs) ? { certificateNotAfterMs: notAfterMs } : {}),
  };
}
