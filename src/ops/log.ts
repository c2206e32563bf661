import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { type LogFields, type Logger, type LogLevel, logLevels } from '../lib/logger.ts';
import { redactFields } from './redact.ts';
import { RepeatLimiter } from './repeat-limiter.ts';

const stderrFd = 2;
const waitMs = 10;
const maxWaits = 100;
const waitCell = new Int32Array(new SharedArrayBuffer(4));
/** Keys of the line itself; a field of such a name would appear twice in the JSON. */
const ownKeys = new Set(['level', 'time', 'event', 'at', 'suppressed']);

export interface LogOptions {
  /** Least level that is written; `silent` writes nothing. Default: info. */
  readonly level?: LogLevel | 'silent';
  /** Lines for people instead of JSON. */
  readonly pretty?: boolean;
  /** Colours in pretty lines. */
  readonly color?: boolean;
  /** Takes one line with its end. Default: standard error, synchronously. */
  readonly write?: (line: string) => void;
  /** Repeats of one event of one lane, link or peer: so many are written at once, then one per window. */
  readonly burst?: number;
  readonly windowMs?: number;
}

export interface RootLogger extends Logger {
  /** Writes what the limit on repeats holds back; call it before the process ends. */
  flush(): void;
}

/** True if `text` is what CAUSEWAY_LOG may hold. */
export function isLogLevel(text: string): text is LogLevel | 'silent' {
  return text === 'silent' || (logLevels as readonly string[]).includes(text);
}

/** Opens the log. Every line is written before the call returns, so that none is lost when the process dies. */
export function createLogger(options: LogOptions = {}): RootLogger {
  const write = options.write ?? writeToStderr;
  const format = options.pretty ? prettyLine(options.color ?? false) : undefined;
  const sink = pino(
    {
      level: options.level ?? 'info',
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => write(format === undefined ? line : format(line)) },
  );
  const limiter = new RepeatLimiter({
    burst: options.burst ?? 5,
    windowMs: options.windowMs ?? 10_000,
    maxKeys: 10_000,
  });

  function log(level: LogLevel, event: string, fields: LogFields): void {
    if (!sink.isLevelEnabled(level)) return;
    try {
      const line = renamed(redactFields(fields));
      const at = new Date().toISOString();
      const writeHeld = (suppressed: number): void => sink[level]({ ...line, at, suppressed }, event);
      // Of what somebody changed nothing is left out.
      if (event === 'audit' || limiter.offer(`${event} ${subject(line)}`, writeHeld) === 'write')
        sink[level](line, event);
    } catch (thrown) {
      // A field that cannot even be looked at (a getter that throws) is no reason to fail whoever reports it.
      sink.error({ of: event, message: String(thrown) }, 'log-failed');
    }
  }

  function bound(context: LogFields): Logger {
    return {
      debug: (event, fields) => log('debug', event, { ...context, ...fields }),
      info: (event, fields) => log('info', event, { ...context, ...fields }),
      warn: (event, fields) => log('warn', event, { ...context, ...fields }),
      error: (event, fields) => log('error', event, { ...context, ...fields }),
      child: (fields) => bound({ ...context, ...fields }),
    };
  }

  return { ...bound({}), flush: () => limiter.flush() };
}

/** Whom an event concerns: repeats are counted apart for each. */
function subject(fields: Record<string, unknown>): string {
  return String(fields.lane ?? fields.link ?? fields.peer ?? '');
}

function renamed(fields: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(fields);
  if (!entries.some(([key]) => ownKeys.has(key))) return fields;
  return Object.fromEntries(entries.map(([key, value]) => [ownKeys.has(key) ? `${key}_` : key, value]));
}

function prettyLine(colorize: boolean): (line: string) => string {
  return prettyFactory({ colorize, singleLine: true, messageKey: 'event', translateTime: 'SYS:HH:MM:ss.l' });
}

/** Standard error may be a pipe that is full, or has nobody at its other end any more. */
function writeToStderr(line: string): void {
  const bytes = Buffer.from(line);
  let written = 0;
  for (let waits = 0; written < bytes.length && waits < maxWaits; ) {
    try {
      written += writeSync(stderrFd, bytes, written);
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
      // Full: its reader is given a second before the line is dropped. Anything else: there is nobody to tell.
      if (code !== 'EAGAIN') return;
      waits += 1;
      Atomics.wait(waitCell, 0, 0, waitMs);
    }
  }
}
