import type { Msg } from 'nats';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Failure } from '../../wire/reasons.ts';
import { AppendAnswers } from './append-answers.ts';

type Told = ['stored', number, number] | ['unsure', Failure['reason'], boolean];

let told: Told[];
let answers: AppendAnswers;
/** Sequences that were compared, and what comes of it. */
let compared: number[];
let verdict: Promise<Failure | undefined>;

beforeEach(() => {
  told = [];
  compared = [];
  verdict = Promise.resolve(undefined);
  const events = {
    stored: (count: number, sinkSequence: number) => void told.push(['stored', count, sinkSequence]),
    unsure: ({ reason }: Failure, chainBroken: boolean) => void told.push(['unsure', reason, chainBroken]),
  };
  answers = new AppendAnswers('in.box', 'S', events, (sequence) => {
    compared.push(sequence);
    return verdict;
  });
  answers.begin();
});

/** A message as the client hands it over. */
function message(subject: string, payload: string, headers = ''): Msg {
  const _msg = { subject: Buffer.from(subject), hdr: headers === '' ? -1 : headers.length };
  return { _msg, _rdata: Buffer.from(headers + payload) } as unknown as Msg;
}

function send(count: number, each = false): string[] {
  return Array.from({ length: count }, () => answers.next(each));
}

function ack(sequence: number): string {
  return `{"stream":"S", "seq":${sequence}}`;
}

/** Until what waits for the end of a socket read has run. */
async function settle(): Promise<void> {
  await new Promise(setImmediate);
}

describe('answers to a chain', () => {
  test('are told once per socket read, the newest for all', async () => {
    const replies = send(100);
    for (const [i, reply] of replies.entries()) answers.take(message(reply, ack(i + 11)));
    expect(told).toEqual([]);
    await settle();
    expect(told).toEqual([['stored', 100, 110]]);
  });

  test('count only without a hole, whatever order they come in', async () => {
    const [first, second, third, fourth] = send(4) as [string, string, string, string];
    answers.take(message(third, ack(3)));
    answers.take(message(second, ack(2)));
    await settle();
    expect(told).toEqual([]);
    answers.take(message(first, ack(1)));
    answers.take(message(first, ack(1)));
    await settle();
    answers.take(message(fourth, ack(4)));
    await settle();
    expect(told).toEqual([
      ['stored', 3, 3],
      ['stored', 4, 4],
    ]);
  });

  test('of an earlier round are passed over', async () => {
    const [old] = send(1) as [string];
    answers.begin();
    send(2);
    answers.take(message(old, ack(1)));
    answers.take(message(old, '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}}'));
    await settle();
    expect(told).toEqual([]);
  });

  test('an append that was taken back leaves its place to the next', () => {
    const [first] = send(1) as [string];
    answers.takeBack();
    expect(answers.next(false)).toBe(first);
  });
});

test('where others write too, every place is told', () => {
  const replies = send(3, true);
  answers.take(message(replies[0]!, ack(10)));
  answers.take(message(replies[2]!, ack(15)));
  answers.take(message(replies[1]!, ack(12)));
  expect(told).toEqual([
    ['stored', 1, 10],
    ['stored', 2, 12],
    ['stored', 3, 15],
  ]);
});

test.each([
  [
    '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}',
    'sink-blocked',
    true,
  ],
  ['{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}', 'sink-blocked', true],
  ['{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}', 'sink-full', false],
  ['{"error":{"code":400,"err_code":10054,"description":"too large"}}', 'record-refused', false],
  ['{"stream":"OTHER", "seq":7}', 'sink-subject', false],
] as const)('%s makes unsure', (payload, reason, chainBroken) => {
  answers.take(message(send(1)[0]!, payload));
  expect(told).toEqual([['unsure', reason, chainBroken]]);
});

describe('a duplicate', () => {
  const duplicate = '{"stream":"S", "seq":7,"duplicate": true}';

  test('is stored if its record is that very one, in its turn, at no place of its own', async () => {
    const [first, second] = send(2, true) as [string, string];
    answers.take(message(first, duplicate));
    answers.take(message(second, ack(30)));
    expect(told).toEqual([]);
    await settle();
    expect([compared, told]).toEqual([
      [7],
      [
        ['stored', 1, 0],
        ['stored', 2, 30],
      ],
    ]);
  });

  test('that is another record makes unsure', async () => {
    verdict = Promise.resolve({ reason: 'record-refused', detail: '' });
    answers.take(message(send(1, true)[0]!, duplicate));
    await settle();
    expect(told).toEqual([['unsure', 'record-refused', false]]);
    await answers.quiet(60_000);
  });

  test('of an earlier round is of no interest', async () => {
    answers.take(message(send(1, true)[0]!, duplicate));
    answers.begin();
    send(1, true);
    await settle();
    expect(told).toEqual([]);
  });
});

test('nobody there makes unsure', () => {
  answers.take(message(send(1)[0]!, '', 'NATS/1.0 503\r\n\r\n'));
  expect(told).toEqual([['unsure', 'sink-blocked', false]]);
});

test('a PubAck with a domain is one', async () => {
  answers.take(message(send(1)[0]!, '{"stream":"S","domain":"hub","seq":7}'));
  await settle();
  expect(told).toEqual([['stored', 1, 7]]);
});

test.each([
  '',
  'ok',
  '{}',
  '{',
  '[1]',
  'null',
  '{"error":"no"}',
  '{"error":null}',
  '{"stream":"S"}',
  '{"stream":"S", "seq":}',
])('an answer of somebody else is none: %j', async (payload) => {
  answers.take(message(send(1)[0]!, payload));
  await settle();
  expect(told).toEqual([]);
});

describe('quiet', () => {
  async function isQuiet(quiet: Promise<void>): Promise<boolean> {
    let is = false;
    void quiet.then(() => {
      is = true;
    });
    await settle();
    return is;
  }

  test('is at once when nothing is in flight', async () => {
    expect(await isQuiet(answers.quiet(60_000))).toBe(true);
    answers.take(message(send(1)[0]!, ack(1)));
    expect(await isQuiet(answers.quiet(60_000))).toBe(true);
  });

  test('comes with the last answer, refusals and all', async () => {
    const replies = send(5);
    const quiet = answers.quiet(60_000);
    answers.take(message(replies[0]!, ack(1)));
    answers.take(
      message(replies[1]!, '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}}'),
    );
    answers.take(message(replies[2]!, ack(3)));
    answers.take(message(replies[3]!, '', 'NATS/1.0 503\r\n\r\n'));
    expect(await isQuiet(quiet)).toBe(false);
    answers.lose();
    expect(await isQuiet(quiet)).toBe(true);
  });

  test('comes when no answer can come any more', async () => {
    send(5);
    const [one, two] = [answers.quiet(60_000), answers.quiet(60_000)];
    expect(await isQuiet(one)).toBe(false);
    answers.loseAll();
    expect([await isQuiet(one), await isQuiet(two)]).toEqual([true, true]);
    send(1);
    const next = answers.quiet(60_000);
    answers.begin();
    expect(await isQuiet(next)).toBe(true);
  });

  test('is given up for answers that stay out', async () => {
    send(1);
    await answers.quiet(1);
    expect(told).toEqual([]);
  });
});
