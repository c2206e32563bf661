/**
 * A setup file of Vitest. A worker whose Vitest was killed goes on with its tests, servers and all, and may never end. Its
 * channel to Vitest closes then: that is the sign to end, by force, since Vitest turns process.exit into an error.
 */
const marker = Symbol.for('causeway.end-with-vitest');
const known = process as NodeJS.Process & { [marker]?: true };

if (known[marker] === undefined && process.channel !== undefined) {
  known[marker] = true;
  process.once('disconnect', () => {
    // The hooks that end servers where these do not die with us by themselves.
    process.emit('exit', 1);
    process.kill(process.pid, 'SIGKILL');
  });
}
