import type { ExitCode } from './exit-codes.ts';

/** What a command may touch of the process. Tests put their own in its place. */
export interface CliHost {
  readonly name: string;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stderrIsTerminal: boolean;
  /** Width of the terminal that standard output is, at this moment; undefined where it is none. */
  readonly stdoutColumns: () => number | undefined;
  /** Writes to standard output, as it is. */
  out(text: string): void;
  /** Writes to standard error, as it is. */
  err(text: string): void;
  readonly signals: SignalSource;
}

/** The events of the process that a daemon answers to. */
export interface SignalSource {
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

/** The host, and how a command ends with anything but 0. */
export interface Cli extends CliHost {
  finish(code: ExitCode): void;
}

/** Something the user can put right: shown as one line, without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: ExitCode;

  constructor(code: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
