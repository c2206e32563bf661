/** A setup file of Vitest: when a test fails, the logs of the servers it used are part of the failure. */
import { afterEach } from 'vitest';
import { takeServerLogs } from './nats-launcher.ts';

afterEach((context) => {
  const logs = takeServerLogs();
  if (context.task.result?.state === 'fail' && logs !== '')
    console.error(`servers of "${context.task.name}":\n${logs}`);
});
