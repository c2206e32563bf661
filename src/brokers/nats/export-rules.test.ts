import { expect, test } from 'vitest';
import { BatchBuilder, decodeBatch } from '../../wire/batch.ts';
import { RecordView } from '../../wire/record-view.ts';
import type { ExportRules } from '../broker.ts';
import { exportFilter, placesOf, wasAt } from './export-rules.ts';
import { readProvenance, sinkHeaders } from './provenance.ts';

const none = Buffer.alloc(0);

/** What a record says of itself at `hub/ALL` that came there over `lane` from `source`, perhaps over more hops before. */
function came(lane: string, source: string, identity = none, path = none) {
  const builder = new BatchBuilder('i', 6, 1000);
  builder.append(7, 1_795_365_902, 12, Buffer.from('a'), none, Buffer.from('x'), identity, path);
  const view = new RecordView(decodeBatch(builder.frame(1, 1, 0)).packed);
  view.next();
  return readProvenance(sinkHeaders(view, { lane, source, place: 'hub/ALL' }, 'i', 6, 41), 'hub/ALL', 42);
}

const rules: ExportRules = { sink: 'west/ALL', sourced: false, imported: (lane) => lane === 'orders/east/hub' };
const leavesOut = (provenance: ReturnType<typeof came>) => exportFilter(rules)(42, provenance);

test('I4: what the link brought in, and what was at the sink before, is left out', () => {
  expect(leavesOut(came('orders/east/hub', 'east/ALL'))).toBe('elsewhere');
  expect(leavesOut(came('other/east/hub', 'east/ALL'))).toBe(undefined);
  expect(leavesOut(came('other/west/hub', 'west/ALL'))).toBe('elsewhere');
  // Another stream of the sink's cluster is another place.
  expect(leavesOut(came('other/west/hub', 'west/ALL2'))).toBe(undefined);
  const far = Buffer.from('far/F/i/3/1700000000000000001');
  expect(leavesOut(came('other/mid/hub', 'mid/M', far, Buffer.from('a/A,west/ALL')))).toBe('elsewhere');
  expect(leavesOut(came('other/west/hub', 'west/ALL', far))).toBe('elsewhere');
  expect(leavesOut(came('other/mid/hub', 'mid/M', far, Buffer.from('a/A')))).toBe(undefined);
});

test('the lane counts only on a record that proves where it was written', () => {
  expect(came('orders/east/hub', 'east/ALL').lane).toBe('orders/east/hub');
  const copied = Buffer.from(
    'NATS/1.0\r\nCauseway-Lane: orders/east/hub;i.1;0\r\nCauseway-Origin: east/ALL/i/1/1000000000\r\nCauseway-At: hub/OTHER/42\r\n\r\n',
  );
  expect(readProvenance(copied, 'hub/ALL', 42)).toEqual({ headers: none, sourced: false });
});

test('what JetStream copied is left out by rule, whatever it says of us, unless a lane brought it', () => {
  const source = 'Nats-Stream-Source: ORDERS:LTXMcqHH 5 > > orders.a WFHK5g96';
  const at = (lines: readonly string[]) =>
    readProvenance(Buffer.from(`NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`), 'hub/ALL', 42);
  const ours = ['Causeway-Lane: other/mid/hub;i.1;0', 'Causeway-Origin: far/F/i/3/1700000000000000001'];
  const copies = [['A: 1', source], [source], [...ours, 'Causeway-At: mid/M/42', source], ['Nats-Stream-Source: what']];
  for (const lines of copies) {
    expect(at(lines).sourced).toBe(true);
    expect(leavesOut(at(lines))).toBe('sourced');
    expect(exportFilter({ ...rules, sourced: true })(42, at(lines))).toBe(undefined);
  }
  for (const lines of [['A: 1'], ['A: Nats-Stream-Source: 1'], ['Causeway-Stream-Source: ORDERS 1']])
    expect(at(lines).sourced).toBe(false);
  // In its place it was written by a lane: a header of that name is what a server of long ago let pass.
  expect(leavesOut(at([...ours, 'Causeway-At: hub/ALL/42', source]))).toBe(undefined);
});

test('every place that a record was at is one of its places, and no other', () => {
  const identity = 'east/S/i/1/1000000000';
  for (const path of ['', 'a/A', 'a/A,b/B']) {
    const places = placesOf(identity, path);
    for (const place of ['east/S', 'a/A', 'b/B', 'east/S/i', 'east', 'c/C'])
      expect(places.includes(place)).toBe(wasAt(place, identity, path) && place !== 'east/S/i' && place !== 'east');
  }
});
