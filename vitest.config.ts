import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const globalSetup = ['test/support/global-setup.ts'];
const endWithVitest = 'test/support/end-with-vitest.ts';
const setupFiles = [endWithVitest, 'test/support/print-logs.ts'];

// Most tests wait for servers and not for the processor. The same in all projects, so that they share one pool.
const maxWorkers = availableParallelism() + 1;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{src,scripts,bench,test/presubmit,test/support}/**/*.test.ts'],
          globalSetup,
          setupFiles: [endWithVitest],
          testTimeout: 20_000,
          maxWorkers,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup,
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers,
        },
      },
      {
        test: {
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          setupFiles: [endWithVitest],
          testTimeout: 180_000,
          maxWorkers,
        },
      },
      {
        test: {
          name: 'fault',
          include: ['test/fault/**/*.test.ts'],
          globalSetup,
          setupFiles,
          testTimeout: 180_000,
          hookTimeout: 60_000,
          maxWorkers,
        },
      },
    ],
  },
});
