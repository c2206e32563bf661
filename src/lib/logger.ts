/** Levels, least important first. */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Particulars of an event. Errors, big integers and nested objects are welcome; secrets are not. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * How every room writes to the log: one call per change of state. `event` is a stable name in kebab-case that people
 * search for, never a sentence; what varies goes into `fields`. The field `lane`, `link` or `peer` says whom it
 * concerns. No call ever throws.
 */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to everything it writes. */
  child(fields: LogFields): Logger;
}

/** Writes nothing: for tests, and for code that is used without a daemon around it. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
