import type { ServerResponse } from 'node:http';
import type { Logger } from '../lib/logger.ts';
import { failureFrom } from '../wire/reasons.ts';
import { AdminArgs, AdminError, type AdminFailure, type AdminLine, type AdminVerb } from './admin-verb.ts';

export interface AdminRequest {
  readonly args: Readonly<Record<string, unknown>>;
  readonly dryRun: boolean;
}

/**
 * Runs a verb and writes its answer. What a verb that changes something was told, and what came of it, is in the log as `audit`: who
 * asked is not known beyond that the socket let him in.
 */
export async function runVerb(
  verb: AdminVerb,
  { args, dryRun }: AdminRequest,
  response: ServerResponse,
  { log, stopping }: { readonly log: Logger; readonly stopping: AbortSignal },
): Promise<void> {
  const audit = (outcome: string, fields: object = {}): void => {
    const entry = { verb: verb.name, args, by: 'admin socket', ...(dryRun ? { dryRun } : {}), outcome, ...fields };
    if (verb.changes) log.info('audit', entry);
    else log.debug('admin', entry);
  };
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const writer = new AnswerWriter(response);
  audit('begun');
  try {
    const result = await verb.run(new AdminArgs(args), {
      signal: AbortSignal.any([gone.signal, stopping]),
      dryRun,
      progress: (value) => writer.progress(value),
      item: (value) => writer.item(value),
    });
    audit('done');
    writer.end(200, { result: result ?? null });
  } catch (thrown) {
    const failure = describe(thrown, stopping);
    audit('failed', { kind: failure.kind, reason: failure.reason, detail: failure.detail });
    if (failure.reason === 'internal') log.error('internal-error', { where: verb.name, error: thrown });
    writer.end(failure.kind === 'usage' ? 400 : 503, { error: failure });
  }
}

function describe(thrown: unknown, stopping: AbortSignal): AdminFailure {
  if (thrown instanceof AdminError) return { kind: 'usage', detail: thrown.message };
  if (stopping.aborted) return { kind: 'stopping', detail: 'the daemon stops' };
  if (thrown instanceof Error && thrown.name === 'AbortError') return { kind: 'failed', detail: 'it was broken off' };
  const { reason, detail } = failureFrom(thrown);
  return { kind: 'failed', reason, detail };
}

/** Lines of an answer. The first decides about the HTTP status: a verb that fails before it said anything fails by that, too. */
class AnswerWriter {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  progress(progress: unknown): void {
    if (!this.#response.writableNeedDrain) this.#write({ progress });
  }

  async item(item: unknown): Promise<void> {
    if (this.#write({ item }) || this.#response.destroyed) return;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        this.#response.off('drain', settle);
        this.#response.off('close', settle);
        resolve();
      };
      this.#response.on('drain', settle);
      this.#response.on('close', settle);
    });
  }

  end(code: number, line: AdminLine): void {
    this.#head(code);
    if (!this.#response.destroyed) this.#response.end(`${JSON.stringify(line)}\n`);
  }

  /** False when the caller has to read first. */
  #write(line: AdminLine): boolean {
    this.#head(200);
    return this.#response.destroyed || this.#response.write(`${JSON.stringify(line)}\n`);
  }

  #head(code: number): void {
    if (!this.#response.headersSent && !this.#response.destroyed)
      this.#response.writeHead(code, { 'Content-Type': 'application/x-ndjson', Connection: 'close' });
  }
}
