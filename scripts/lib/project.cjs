// Where things are, and how we say that we cannot go on. Nothing in this folder but fetch-servers needs an npm package:
// it runs before they are installed.
'use strict';
const path = require('node:path');

const root = path.resolve(__dirname, '../..');
const at = (...parts) => path.join(root, ...parts);

/** Ends in one line that says what to do; no stack trace. */
class Halt extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Progress goes to standard error, so that what the thing itself prints stays clean. */
function say(line) {
  process.stderr.write(`causeway: ${line}\n`);
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

module.exports = { root, at, Halt, say, seconds, cache: at('.cache') };
