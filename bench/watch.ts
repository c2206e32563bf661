import { connect, type NatsConnection } from 'nats';
import { sinkStream } from './system.ts';

/** Asks how many records the sink stream holds, at the price of one small request. */
export class Watch {
  readonly #connection: NatsConnection;

  private constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  static async open(url: string): Promise<Watch> {
    return new Watch(await connect({ servers: url }));
  }

  async stored(): Promise<number> {
    const answer = await this.#connection.request(`$JS.API.STREAM.INFO.${sinkStream}`, '', { timeout: 10_000 });
    const { state, error } = answer.json<{
      readonly state?: { readonly messages: number };
      readonly error?: { readonly description: string };
    }>();
    if (state === undefined) throw new Error(`asking for ${sinkStream}: ${error?.description}`);
    return state.messages;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
