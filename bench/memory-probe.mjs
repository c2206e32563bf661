/** Loaded into a daemon (`--import`): appends what memory it uses to the file that its own URL names, twice a second. */
import { appendFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file');
setInterval(() => {
  const { rss, heapUsed, external } = process.memoryUsage();
  appendFileSync(file, `${JSON.stringify({ atMs: Date.now(), rss, heapUsed, external })}\n`);
}, 500).unref();
