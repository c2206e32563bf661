/** Loaded into a daemon (`--import`): sets its wall clock off by what the file CAUSEWAY_NEMESIS_CLOCK says, in ms. */
import { readFileSync } from 'node:fs';

const file = process.env.CAUSEWAY_NEMESIS_CLOCK;
const Real = globalThis.Date;
let shiftMs = Number(readFileSync(file, 'utf8'));
setInterval(() => {
  shiftMs = Number(readFileSync(file, 'utf8'));
}, 100).unref();

globalThis.Date = class extends Real {
  constructor(...args) {
    if (args.length === 0) super(Real.now() + shiftMs);
    else super(...args);
  }

  static now() {
    return Real.now() + shiftMs;
  }
};
