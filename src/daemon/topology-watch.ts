import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';

/** How often the file is looked at. Polling sees what notifications miss: atomic renames, swapped links of a ConfigMap, network folders. */
const pollMs = 1000;

export interface TopologyWatchOptions {
  readonly file: string;
  /** Hash of the text that is in use. */
  readonly hash: string;
  /** The text is another one than last time, or can no longer be read. */
  readonly changed: () => void;
}

/** Notices that a topology file holds another text, whichever way it got there. A file that is still being written is waited for. */
export class TopologyWatch {
  readonly #options: TopologyWatchOptions;
  readonly #timer: NodeJS.Timeout;
  /** Of the text that was last told, or why there was none. */
  #hash: string;
  /** What the last look found, and what was read. */
  #stamp = '';
  #settled = '';
  #looking = false;

  constructor(options: TopologyWatchOptions) {
    this.#options = options;
    this.#hash = options.hash;
    this.#timer = setInterval(() => void this.#look(), pollMs);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const { file, changed } = this.#options;
      const stamp = await stampOf(file);
      const before = this.#stamp;
      this.#stamp = stamp;
      // Read when two looks in a row find the same: it is complete then, and not missing in the middle of a swap.
      if (stamp !== before || stamp === this.#settled) return;
      this.#settled = stamp;
      const hash = await hashOf(file);
      if (hash === this.#hash) return;
      this.#hash = hash;
      changed();
    } finally {
      this.#looking = false;
    }
  }
}

/** Tells versions of a file from each other; of one that is not there, why. */
async function stampOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeMs, ctimeMs } = await stat(file);
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  } catch (error) {
    return codeOf(error);
  }
}

/** Hash of the text, or why it cannot be read: whoever loads it says so in words. */
async function hashOf(file: string): Promise<string> {
  try {
    return createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
