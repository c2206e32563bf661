import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { eachServer } from '../support/each-server.ts';
import { type TempDir, tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

interface Running {
  readonly child: ChildProcess;
  readonly text: () => string;
  readonly code: Promise<number | null>;
}

/** `causeway demo`, as npm start runs it, with its folder inside of `dir`. Its output goes to pipes that only it holds. */
function startDemo(dir: TempDir, server: string, args: readonly string[]): Running {
  const child = spawn(process.execPath, ['--import', tsx, main, 'demo', ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: dir.path, NATS_SERVER: server },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 100_000,
    killSignal: 'SIGKILL',
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  const code = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { child, text: () => text, code };
}

/** Every process of the demo has its folder on its command line. */
async function processesOf(dir: TempDir): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid,args'], { maxBuffer: 16 * 1024 * 1024 });
  return stdout.split('\n').filter((line) => line.includes(dir.path));
}

async function foldersOf(dir: TempDir): Promise<string[]> {
  return (await readdir(dir.path)).filter((name) => name.startsWith('causeway-demo-'));
}

/** Every lane, and what is sent on it at least in 6 seconds at a rate of 300. */
const lanes: readonly (readonly [lane: string, atLeast: number])[] = [
  ['telemetry/plant-a/hub', 1750],
  ['telemetry/plant-b/hub', 1750],
  ['recipes/hub/plant-a', 175],
  ['recipes/hub/plant-b', 175],
  ['orders/hub/plant-a', 175],
  ['orders/hub/plant-b', 175],
  ['orders/plant-a/hub', 175],
  ['orders/plant-a/plant-b', 175],
  ['orders/plant-b/hub', 175],
  ['orders/plant-b/plant-a', 175],
];

await eachServer('newest', ({ path }) => {
  test('comes through its outages with nothing lost, nothing twice, nothing out of order on any lane', async () => {
    await using dir = await tempDir('demo');
    const demo = startDemo(dir, path, ['--seconds', '6', '--rate', '300']);
    const code = await demo.code;
    const text = demo.text();
    expect(text).toMatch(/hub: nats-server and daemon killed/);
    expect(text).toMatch(/plant-a: daemon killed/);
    expect(text).toMatch(/plant-b: nats-server killed/);
    const verdict = text.slice(text.indexOf('The verdict'));
    for (const [lane, atLeast] of lanes) {
      const row = new RegExp(`^${lane} +([\\d,]+) +([\\d,]+) +(\\d+) +(\\d+) +(\\d+) +equal$`, 'm').exec(verdict);
      const [, sent, stored, ...wrong] = row ?? [];
      expect(Number(sent?.replace(',', '')), `${lane}: ${text}`).toBeGreaterThanOrEqual(atLeast);
      expect([stored, ...wrong], `${lane}: ${text}`).toEqual([sent, '0', '0', '0']);
    }
    expect(text).toContain('Every record is wherever it belongs: once, in order, unchanged.');
    expect(code).toBe(0);
    expect(await processesOf(dir)).toEqual([]);
    expect(await foldersOf(dir)).toEqual([]);
  }, 100_000);

  test.each([
    ['while it starts', /two plants/],
    ['while the hub is down', /hub: nats-server and daemon killed/],
    ['while a plant is down', /plant-a: daemon killed/],
  ])(
    'Ctrl-C %s ends everything',
    async (_, moment) => {
      await using dir = await tempDir('demo');
      const demo = startDemo(dir, path, ['--seconds', '6', '--rate', '100']);
      await until(() => moment.test(demo.text()), { deadlineMs: 50_000, what: () => `${moment} in ${demo.text()}` });
      // As a terminal does it: the daemons are in sessions of their own, so that the signal is for the demo alone.
      demo.child.kill('SIGINT');
      let code: number | null | undefined;
      void demo.code.then((ended) => {
        code = ended;
      });
      await until(() => code !== undefined, { deadlineMs: 30_000, what: () => `the demo to end: ${demo.text()}` });
      expect(code).toBe(1);
      expect(demo.text()).toContain('ended before the verdict');
      expect(await processesOf(dir)).toEqual([]);
      expect(await foldersOf(dir)).toEqual([]);
    },
    100_000,
  );
});
