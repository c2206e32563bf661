/** A long run (`npm run test:soak`) repeats more than `npm test` does. */
const long = process.env.CAUSEWAY_SOAK !== undefined;

/** How many: so many in a long run, fewer in an ordinary one. */
export function many(ordinary: number, soak: number): number {
  return long ? soak : ordinary;
}

/** The time limit of a test whose numbers come from `many`, in ms. */
export function limitMs(ordinary: number): number {
  return long ? 4 * 3_600_000 : ordinary;
}
