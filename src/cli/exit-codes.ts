/** What the process says by its exit code; docs/cli.md has the table for people. */
export const exitCodes = {
  ok: 0,
  /** It could not be done, or broke off. */
  failed: 1,
  /** Unknown command or option, missing or bad argument. */
  usage: 2,
  /** A topology file cannot be used. */
  topologyInvalid: 3,
  /** The daemon answers and is not healthy. */
  unhealthy: 4,
  /** No daemon answers. */
  unreachable: 5,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
