/** An ephemeral pull consumer without acknowledgements, as nats-server 2.10 serves it. */
import type { VirtualClock } from './clock.ts';
import type { SimLine, ToClient } from './sim-line.ts';
import type { SimRecord, SimStream } from './sim-stream.ts';

interface Pull {
  readonly line: SimLine;
  readonly inbox: string;
  leftRecords: number;
  leftBytes: number;
  over: boolean;
}

const none = Buffer.alloc(0);

export class SimConsumer {
  readonly #clock: VirtualClock;
  readonly #stream: SimStream;
  readonly #name: string;
  readonly #headersOnly: boolean;
  #next: number;
  #delivered = 0;
  #last = 0;
  #pulls: Pull[] = [];
  #gone = false;

  constructor(clock: VirtualClock, stream: SimStream, name: string, next: number, headersOnly: boolean) {
    this.#clock = clock;
    this.#stream = stream;
    this.#name = name;
    this.#next = next;
    this.#headersOnly = headersOnly;
  }

  get pending(): number {
    return this.#stream.list.length - this.#stream.indexFrom(this.#next);
  }

  get lastSequence(): number {
    return this.#last;
  }

  /** Bytes that may still come without being asked for. */
  get askedBytes(): number {
    let bytes = 0;
    for (const pull of this.#pulls) if (!pull.line.clientGone) bytes += pull.leftBytes;
    return bytes;
  }

  remove(): void {
    this.#gone = true;
    for (const pull of this.#pulls.splice(0)) pull.over = true;
  }

  /** The consumer is gone while a client still waits: it is told. */
  end(): void {
    for (const pull of this.#pulls) status(pull, '409 Consumer Deleted');
    this.remove();
  }

  leave(line: SimLine): void {
    for (const pull of this.#pulls) if (pull.line === line) pull.over = true;
    this.#pulls = this.#pulls.filter((pull) => !pull.over);
  }

  pull(
    line: SimLine,
    inbox: string,
    request: {
      readonly batch: number;
      readonly max_bytes: number;
      readonly expires: number;
      readonly idle_heartbeat: number;
    },
  ): void {
    const pull: Pull = { line, inbox, leftRecords: request.batch, leftBytes: request.max_bytes, over: false };
    this.#pulls.push(pull);
    const expiresMs = this.#clock.nowMs + request.expires / 1e6;
    const beatMs = request.idle_heartbeat / 1e6;
    const beat = (): void => {
      if (pull.over || line.serverGone) return;
      if (this.#clock.nowMs + 1 >= expiresMs) {
        status(pull, '408 Request Timeout', pull);
        this.#done(pull);
        return;
      }
      status(pull, '100 Idle Heartbeat');
      this.#clock.after(Math.min(beatMs, expiresMs - this.#clock.nowMs), undefined, beat);
    };
    this.#clock.after(Math.min(beatMs, expiresMs - this.#clock.nowMs), undefined, beat);
    this.serve();
  }

  /** Gives out what there is, to the waiting requests in turn. */
  serve(): void {
    while (!this.#gone && this.#pulls.length > 0) {
      const record = this.#stream.list[this.#stream.indexFrom(this.#next)];
      if (record === undefined) return;
      const pull = this.#pulls.shift()!;
      const message = this.#message(record, pull.inbox);
      const size = message.subject.length + message.reply.length + message.headers.length + message.payload.length;
      if (size > pull.leftBytes) {
        status(pull, '409 Message Size Exceeds MaxBytes', pull);
        pull.over = true;
        continue;
      }
      this.#next = record.sequence + 1;
      this.#delivered++;
      this.#last = record.sequence;
      pull.leftBytes -= size;
      pull.leftRecords--;
      pull.line.fromServer(message);
      if (pull.leftRecords > 0) this.#pulls.push(pull);
      else pull.over = true;
    }
  }

  #message(record: SimRecord, inbox: string): ToClient {
    const { sequence, seconds, nanos, payload } = record;
    const at = this.#stream.indexFrom(sequence);
    const pending = this.#stream.list.length - at - 1;
    const time = `${seconds}${String(nanos).padStart(9, '0')}`;
    const reply = `$JS.ACK.${this.#stream.name}.${this.#name}.1.${sequence}.${this.#delivered + 1}.${time}.${pending}`;
    const subject = record.subject.toString();
    if (!this.#headersOnly) return { inbox, subject, reply, headers: record.headers, payload };
    const block = record.headers.length === 0 ? 'NATS/1.0\r\n\r\n' : record.headers.toString('latin1');
    const headers = Buffer.from(`${block.slice(0, -2)}Nats-Msg-Size: ${payload.length}\r\n\r\n`, 'latin1');
    return { inbox, subject, reply, headers, payload: none };
  }

  #done(pull: Pull): void {
    pull.over = true;
    this.#pulls = this.#pulls.filter((one) => one !== pull);
  }
}

function status(pull: Pull, text: string, unused?: Pull): void {
  const left =
    unused === undefined
      ? ''
      : `Nats-Pending-Messages: ${unused.leftRecords}\r\nNats-Pending-Bytes: ${unused.leftBytes}\r\n`;
  const headers = Buffer.from(`NATS/1.0 ${text}\r\n${left}\r\n`);
  pull.line.fromServer({ inbox: pull.inbox, subject: pull.inbox, reply: '', headers, payload: none });
}
