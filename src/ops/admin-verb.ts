import type { Reason } from '../wire/reasons.ts';

/**
 * What a running daemon does on demand, over its admin socket. To add one: a value of this type in a file of `daemon/`, its name in
 * `daemon/admin-verbs.ts`, and a command in `cli/` that calls it with `callAdmin` (`cli/admin-client.ts`); `gaps list` is an example.
 */
export interface AdminVerb {
  /** As it is typed: words in lower case with one space between them, as `gaps list`. */
  readonly name: string;
  /** It may change something: each call leaves entries in the log, and it has to honour `dryRun`. */
  readonly changes: boolean;
  /**
   * Does it. What it returns is JSON and becomes the result. Throws AdminError where the caller is mistaken, FailureError where
   * something is in the way; anything else is a defect.
   */
  run(args: AdminArgs, context: AdminContext): Promise<unknown>;
}

export interface AdminContext {
  /** Aborted when the caller goes away or the daemon stops: a verb that takes long ends soon after it. */
  readonly signal: AbortSignal;
  /** Say what would be done, and do not do it. Only ever true for a verb that changes something. */
  readonly dryRun: boolean;
  /** How far it is, as JSON. Left out while the caller reads slowly. */
  progress(value: unknown): void;
  /** A part of the answer, as JSON: nothing of an answer that may be long is held in memory. Resolves when the next is wanted. */
  item(value: unknown): Promise<void>;
}

/** What the caller did wrong, in words for him. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
}

/** The error of an answer. */
export interface AdminFailure {
  /** `usage`: bad arguments. `failed`: it could not be done. `stopping`: the daemon stops. */
  readonly kind: 'usage' | 'unknown-verb' | 'failed' | 'stopping';
  readonly reason?: Reason;
  readonly detail: string;
}

/** A line of an answer. The last one is a result or an error. */
export type AdminLine =
  | { readonly progress: unknown }
  | { readonly item: unknown }
  | { readonly result: unknown }
  | { readonly error: AdminFailure };

/** Path of a verb on the socket. */
export function adminPath(name: string): string {
  return `/v1/${name.replaceAll(' ', '/')}`;
}

/** The arguments of a call. Each is asked for by name and kind; what nobody asked for is a mistake, told by `done`. */
export class AdminArgs {
  readonly #given: Map<string, unknown>;

  constructor(given: Readonly<Record<string, unknown>>) {
    this.#given = new Map(Object.entries(given));
  }

  /** A text that is not empty; undefined if it is left out. */
  text(name: string): string | undefined {
    return this.#take(name, 'a text', (value): value is string => typeof value === 'string' && value !== '');
  }

  /** A whole number from 0. */
  count(name: string): number | undefined {
    return this.#take(
      name,
      'a whole number',
      (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0,
    );
  }

  /** False if it is left out. */
  flag(name: string): boolean {
    return this.#take(name, 'true or false', (value) => typeof value === 'boolean') ?? false;
  }

  /** Texts that are not empty; none if it is left out. */
  texts(name: string): readonly string[] {
    const isTexts = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((one) => typeof one === 'string' && one !== '');
    return this.#take(name, 'a list of texts', isTexts) ?? [];
  }

  /** To be called when every argument was asked for. */
  done(): void {
    const [unknown] = this.#given.keys();
    if (unknown !== undefined) throw new AdminError(`there is no argument ${JSON.stringify(unknown)}`);
  }

  #take<T>(name: string, what: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.#given.get(name);
    this.#given.delete(name);
    if (value === undefined) return undefined;
    if (!is(value)) throw new AdminError(`${name} must be ${what}`);
    return value;
  }
}
