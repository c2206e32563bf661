import { afterAll, beforeAll } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import { api, client, makeStream, openLink, publishAll } from '../support/nats-rig.ts';
import { describeSource, type SourceHarness } from '../support/source-conformance.ts';

let streams = 0;

await eachServer('ends', (binary) => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNats({ binary });
  });
  afterAll(() => server.dispose());

  const retentions = ['limits', 'workqueue', 'interest'] as const;
  for (const retention of retentions) describeSource(`JetStream, ${retention}`, () => harness(retention));

  async function harness(retention: (typeof retentions)[number]): Promise<SourceHarness> {
    const nc = await client(server.url);
    const fixture = await openLink(server.url);
    const stream = `S${++streams}`;
    await makeStream(nc, { name: stream, retention });
    // Without a consumer the stream would not take what is appended before the lane begins.
    if (retention === 'interest') {
      const config = { durable_name: 'app', ack_policy: 'explicit' };
      await call(nc, `${api}.CONSUMER.DURABLE.CREATE.${stream}.app`, { stream_name: stream, config });
    }
    return {
      append: (from, to, payload, headers) =>
        publishAll(nc, from, to, (number) => ({
          subject: `${stream}.a`,
          payload: payload(number),
          ...(headers === undefined ? {} : { headers }),
        })),
      source: (options) => {
        const source = new JetStreamSource({
          link: fixture.link,
          cluster: 'c',
          stream,
          memory: plentyOfMemory(),
          ...(retention === 'limits' ? {} : { consume: { lane: `l/${stream}/b` } }),
          ...options,
        });
        return { source, ahead: () => source.prefetchedBytes };
      },
      destroy: () => call(nc, `${api}.STREAM.DELETE.${stream}`),
      [Symbol.asyncDispose]: async () => {
        await fixture[Symbol.asyncDispose]();
        await nc.close();
      },
    };
  }
});
