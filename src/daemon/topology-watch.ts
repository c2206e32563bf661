import { stat } from 'node:fs/promises';

/** How often the file is looked at. Polling sees what notifications miss: atomic renames, swapped links of a ConfigMap, network folders. */
const pollMs = 1000;

export interface TopologyWatchOptions {
  readonly file: string;
  /**
   * The file is another one than at the last call, or can no longer be read; also called once at the start. Whether the text is
   * another one than what is in use only the owner knows: it may have read the file at other times too.
   */
  readonly changed: () => void;
}

/** Notices that a topology file was written, whichever way. A file that is still being written is waited for. */
export class TopologyWatch {
  readonly #options: TopologyWatchOptions;
  readonly #timer: NodeJS.Timeout;
  /** What the last look found, and what was told last. */
  #stamp = '';
  #told = '';
  #looking = false;

  constructor(options: TopologyWatchOptions) {
    this.#options = options;
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
      const stamp = await stampOf(this.#options.file);
      const before = this.#stamp;
      this.#stamp = stamp;
      // Told when two looks in a row find the same: it is complete then, and not missing in the middle of a swap.
      if (stamp !== before || stamp === this.#told) return;
      this.#told = stamp;
      this.#options.changed();
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
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
