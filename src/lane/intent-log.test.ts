import { expect, test } from 'vitest';
import type { IntentGroup, IntentRecord } from '../dedupe/intent-group.ts';
import { IntentLog } from './intent-log.ts';

const record = (sequence: number): IntentRecord => ({
  lane: 'l/a/b',
  incarnation: 'i',
  sequence,
  previous: sequence - 1,
  space: 'a/S/i',
  originSequence: sequence,
  originTime: 1,
  seconds: 1,
  nanos: 0,
});

/** A process that appends at sequence 5 and writes that down; what is written down is read by all. */
class Process {
  readonly log = new IntentLog();
  readonly #written: IntentGroup[];

  constructor(written: IntentGroup[]) {
    this.#written = written;
    this.log.load(written);
  }

  append(sequence: number) {
    const attempt = this.log.add(5, record(sequence));
    if (!attempt.written) {
      const number = this.#written.length;
      this.#written.push(this.log.group(number, 4, [record(sequence)]));
      this.log.wrote(attempt, number);
    }
    return attempt;
  }

  /** What stands at 5, when what is written down has been read again. */
  find(): number | string | undefined {
    this.log.load(this.#written);
    const found = this.log.resolve(5, 0);
    return typeof found === 'object' ? found.position.sequence : found;
  }
}

test('what the sink refused does not come into question again when the intents are read', () => {
  const one = new Process([]);
  one.log.answered(one.append(1), false);
  one.log.answered(one.append(2), false);
  one.append(3);
  expect(one.find()).toBe(3);
});

test('what was refused and is appended once more may stand there', () => {
  const one = new Process([]);
  one.log.answered(one.append(1), false);
  one.append(1);
  expect(one.find()).toBe(1);
  one.append(2);
  expect(one.find()).toBe('theirs');
});

test('the same record, under way over a connection that was given up, is not refused with its repetition', () => {
  const one = new Process([]);
  one.append(1);
  one.log.answered(one.append(1), false);
  one.append(2);
  expect(one.find()).toBe('theirs');
});

test('a refusal says nothing of what another process may append', () => {
  const written: IntentGroup[] = [];
  const before = new Process(written);
  before.append(1);
  const after = new Process(written);
  after.log.answered(after.append(1), false);
  after.append(2);
  expect(after.find()).toBe('theirs');
});
