// One preparation at a time per working copy: npm ci, fetching and building step on each other. Others wait.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const { cache, say } = require('./project.cjs');

const ours = path.join(cache, 'bootstrap.lock');

/** Runs `work` while holding the lock. A lock whose process is dead is taken over. */
async function locked(work, file = ours) {
  const mine = JSON.stringify({ pid: process.pid, start: startOf(process.pid) });
  await acquire(file, mine);
  const release = () => {
    if (read(file) === mine) fs.rmSync(file, { force: true });
  };
  process.once('exit', release);
  try {
    return await work();
  } finally {
    release();
    process.off('exit', release);
  }
}

async function acquire(file, mine) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  for (let told = false; ; ) {
    try {
      fs.writeFileSync(file, mine, { flag: 'wx' });
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const theirs = read(file);
    if (theirs === undefined) continue;
    const holder = holderOf(file, theirs);
    if (holder === undefined) {
      takeAway(file, theirs);
      continue;
    }
    if (!told) say(`waiting for another run to finish its preparation (process ${holder})`);
    told = true;
    await delay(200);
  }
}

/** The pid of a living holder. A file that was written a moment ago may still be empty: its writer lives. */
function holderOf(file, content) {
  if (content === '' && Date.now() - fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs < 5_000) return 'starting';
  let holder;
  try {
    holder = JSON.parse(content);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return isAlive(holder.pid) && startOf(holder.pid) === holder.start ? holder.pid : undefined;
}

/** Renaming is atomic: if two see the same dead lock, one of them moves it, and a lock taken meanwhile is put back. */
function takeAway(file, dead) {
  const aside = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, aside);
    if (fs.readFileSync(aside, 'utf8') !== dead) fs.linkSync(aside, file);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  }
  fs.rmSync(aside, { force: true });
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** On Linux, the ticks since boot at which a process started, so that a reused pid is not taken for the holder. */
function startOf(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return null;
    throw error;
  }
}

module.exports = { locked };
