import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Authenticator,
  connect,
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  PermissionViolationError,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from 'nats';
import type { Logger } from '../../lib/logger.ts';
import { readSecret } from '../../lib/secret.ts';
import type { NatsPlan, SecretRef } from '../../topology/plan.ts';
import { type Failure, FailureError } from '../../wire/reasons.ts';
import { natsFailure } from './errors.ts';

/** Everything that comes to a daemon comes below this: a user who may subscribe to no more hears nothing of others. */
export const inboxPrefix = '_INBOX.causeway';

/** Longest wait between attempts to make the first connection. */
const maxWaitMs = 2000;
/** Shortest wait of the client between attempts to reach one server again; up to twice as long. */
const againMs = 250;
/** A wall clock that is set back by no more than this holds the client up for no longer. */
const setBackMs = 1000;

/** What a NatsLink tells its owner. */
export interface NatsLinkEvents {
  /** Connected, for the first time or again: nothing of before may be assumed. */
  connected(): void;
  /** What was published and not answered is unknown: the client throws its outbound buffer away without an error. */
  disconnected(failure: Failure): void;
  /** The server refused a publish or a subscription for want of a permission. Everybody hears of it; most are not meant. */
  denied(failure: Failure, denied: Denied): void;
}

/** What the server refused. */
export interface Denied {
  readonly operation: 'publish' | 'subscription';
  readonly subject: string;
}

/**
 * A connection to the own cluster that is kept up for ever. The official client reconnects by itself once it was connected; the
 * first connection, and one that it gave up, are made here, so that a wrong password is a named state that heals.
 */
export class NatsLink {
  readonly #plan: NatsPlan;
  readonly #name: string;
  readonly #log: Logger;
  readonly #listeners = new Set<Partial<NatsLinkEvents>>();
  readonly #stopped = new AbortController();
  #connection: NatsConnection | undefined;
  #up = false;
  #failure: Failure | undefined = { reason: 'nats-unreachable', detail: 'not connected yet' };
  #sinceMs = Date.now();
  #running: Promise<void> | undefined;
  #connecting = false;
  /** What the wall clock was ahead of the process's own when the client began, in ms. */
  #clockAheadMs = clockAheadMs();

  constructor(options: { readonly plan: NatsPlan; readonly name: string; readonly log: Logger }) {
    this.#plan = options.plan;
    this.#name = options.name;
    this.#log = options.log;
  }

  /** The connection, while it is up. */
  get connection(): NatsConnection | undefined {
    return this.#up ? this.#connection : undefined;
  }

  get failure(): Failure | undefined {
    return this.#failure;
  }

  /** When the present state began, Unix ms. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  get domain(): string | undefined {
    return this.#plan.domain;
  }

  /** Prefix of the JetStream API of this cluster's domain. */
  get api(): string {
    return this.#plan.domain === undefined ? '$JS.API' : `$JS.${this.#plan.domain}.API`;
  }

  /** The connection; throws FailureError with the present reason while there is none. */
  require(): NatsConnection {
    if (this.connection !== undefined) return this.connection;
    const { reason, detail } = this.#failure ?? { reason: 'nats-unreachable' as const, detail: 'not connected' };
    throw new FailureError(reason, detail);
  }

  /** Calls back on every change; at once if connected already. Returns the way to stop that. */
  listen(events: Partial<NatsLinkEvents>): () => void {
    this.#listeners.add(events);
    if (this.#up) queueMicrotask(() => this.#listeners.has(events) && this.#up && events.connected?.());
    return () => this.#listeners.delete(events);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#connection?.close();
    // An attempt under way cannot be called off: it closes what comes of it.
    if (!this.#connecting) await this.#running;
  }

  async #run(): Promise<void> {
    for (let wait = 100; !this.#stopped.signal.aborted; wait = Math.min(maxWaitMs, wait * 2)) {
      try {
        this.#connecting = true;
        this.#clockAheadMs = clockAheadMs();
        const connection = await connect(this.#options()).finally(() => {
          this.#connecting = false;
        });
        this.#connection = connection;
        if (this.#stopped.signal.aborted) {
          await connection.close();
          return;
        }
        wait = 100;
        this.#connected(connection);
        await this.#watch(connection);
      } catch (error) {
        this.#disconnected(natsFailure(error));
      }
      await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal: this.#stopped.signal }).catch(
        (error: unknown) => {
          if (!this.#stopped.signal.aborted) throw error;
        },
      );
    }
  }

  /** Follows a connection until the client gives it up. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') this.#lost();
      else if (status.type === 'reconnect') this.#connected(connection);
      else if (status.type === 'error') this.#onError(status.error);
    }
    const error = await connection.closed();
    if (!this.#stopped.signal.aborted) this.#disconnected(natsFailure(error ?? new Error('connection closed')));
  }

  /** Told for every attempt to reconnect, too: that one failed says less than why the one before it did. */
  #lost(): void {
    if (this.#up) this.#disconnected({ reason: 'nats-unreachable', detail: 'connection lost' });
  }

  #onError(error: Error): void {
    const failure = natsFailure(error);
    if (error instanceof PermissionViolationError)
      for (const listener of [...this.#listeners]) listener.denied?.(failure, error);
    else if (!this.#up) {
      // An attempt to reconnect was refused: told once, however often it is.
      this.#disconnected(failure);
      return;
    }
    this.#log.warn('nats-error', { connection: this.#name, reason: failure.reason, detail: failure.detail });
  }

  /**
   * How long the client waits before it tries a server again. It tells that by the wall clock: one that was set back by an hour would keep it
   * waiting for an hour. So such a client is given up; the next one starts from the clock as it is.
   */
  #again(): number {
    if (clockAheadMs() < this.#clockAheadMs - setBackMs) void this.#connection?.close();
    return againMs * (1 + Math.random());
  }

  #connected(connection: NatsConnection): void {
    this.#up = true;
    this.#failure = undefined;
    this.#sinceMs = Date.now();
    this.#log.info('nats-connected', {
      connection: this.#name,
      server: connection.getServer(),
      version: connection.info?.version,
    });
    for (const listener of [...this.#listeners]) listener.connected?.();
  }

  #disconnected(failure: Failure): void {
    const was = this.#up;
    this.#up = false;
    if (was || this.#failure?.reason !== failure.reason) {
      this.#sinceMs = Date.now();
      this.#log.warn('nats-disconnected', { connection: this.#name, reason: failure.reason, detail: failure.detail });
    }
    this.#failure = failure;
    if (was) for (const listener of [...this.#listeners]) listener.disconnected?.(failure);
  }

  #options(): NodeConnectionOptions {
    const plan = this.#plan;
    const servers = plan.embedded === undefined ? [...plan.servers] : [`nats://127.0.0.1:${plan.embedded.port}`];
    const { tls } = plan;
    return {
      servers,
      name: `causeway ${this.#name} ${hostname()}`,
      // The defaults give up after ten attempts, and after two refused passwords.
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectDelayHandler: () => this.#again(),
      timeout: 5000,
      // Two minutes twice is what the default takes to notice a dead server.
      pingInterval: 5000,
      maxPingOut: 2,
      noAsyncTraces: true,
      inboxPrefix,
      ignoreClusterUpdates: plan.embedded !== undefined,
      authenticator: authenticators(plan),
      ...(tls === undefined ? {} : { tls: { caFile: tls.ca, certFile: tls.cert, keyFile: tls.key } }),
    };
  }
}

function clockAheadMs(): number {
  return Date.now() - performance.now();
}

/** Reads a secret now: at every connect, so that a rotated one takes effect without a restart. */
function secret(ref: SecretRef): string {
  try {
    return readSecret(ref);
  } catch (error) {
    throw new FailureError('nats-auth', (error as Error).message, { cause: error });
  }
}

function authenticators(plan: NatsPlan): Authenticator[] {
  const found: Authenticator[] = [];
  const { credentials, nkey, user, password, token } = plan;
  const bytes = (ref: SecretRef) => () => new TextEncoder().encode(secret(ref));
  if (credentials !== undefined) {
    // Read once before: the authenticator's own failure would be a rejected handshake without a name.
    secret(credentials);
    found.push(credsAuthenticator(bytes(credentials)));
  }
  if (nkey !== undefined) found.push(nkeyAuthenticator(bytes(nkey)));
  if (user !== undefined)
    found.push(usernamePasswordAuthenticator(() => secret(user), password && (() => secret(password))));
  if (token !== undefined) found.push(tokenAuthenticator(() => secret(token)));
  return found;
}
