import { describe, expect, it } from 'vitest';
import {
  parseCluster,
  parseDays,
  parseDurationMs,
  parseHost,
  parseMonitor,
  parseServerVersion,
  parseStreamSubjects,
  parseTrustDomain,
  parseWhole,
} from './arguments.ts';

describe('arguments', () => {
  it('times carry their unit', () => {
    expect(['500ms', '30s', '2m', '1h', '0s'].map(parseDurationMs)).toEqual([500, 30_000, 120_000, 3_600_000, 0]);
    for (const bad of ['', '30', '30 s', '-1s', '1.5s', '1d', '1000h', 's']) {
      expect(() => parseDurationMs(bad), bad).toThrow();
    }
  });

  it('versions of servers begin at 2.9', () => {
    expect(['2.9', 'v2.14.5', '3.0'].map(parseServerVersion)).toEqual([
      [2, 9, 0],
      [2, 14, 5],
      [3, 0, 0],
    ]);
    for (const bad of ['', '2', '2.8.9', '1.4', '2.10.x', 'latest'])
      expect(() => parseServerVersion(bad), bad).toThrow();
  });

  it('subjects of streams come one stream at a time', () => {
    const both = parseStreamSubjects('B=c.*', parseStreamSubjects('A=a.>,b'));
    expect([...both]).toEqual([
      ['A', ['a.>', 'b']],
      ['B', ['c.*']],
    ]);
    for (const bad of ['', 'A', '=a', 'A=', 'A=a,,b', 'A=a..b', 'A=$JS.>', 'A=>.a'])
      expect(() => parseStreamSubjects(bad), bad).toThrow();
  });

  it('days are whole and not none', () => {
    expect(parseDays('90')).toBe(90);
    for (const bad of ['0', '-1', '1.5', 'x', '']) expect(() => parseDays(bad), bad).toThrow();
  });

  it('whole numbers keep to their bounds', () => {
    const parse = parseWhole(3, 100);
    expect(['3', '20', '100'].map(parse)).toEqual([3, 20, 100]);
    for (const bad of ['2', '101', '1.5', '-3', '3s', '']) expect(() => parse(bad), bad).toThrow('from 3 to 100');
  });

  it('names are as in the topology file', () => {
    expect(parseCluster('plant-a', ['hub'])).toEqual(['hub', 'plant-a']);
    expect(parseCluster('hub', ['hub'])).toEqual(['hub']);
    for (const bad of ['Hub', 'a b', '', 'x'.repeat(33), '../x']) expect(() => parseCluster(bad), bad).toThrow();
    expect(parseTrustDomain('acme.example')).toBe('acme.example');
    for (const bad of ['Acme', '-x', 'a/b', '']) expect(() => parseTrustDomain(bad), bad).toThrow();
    expect(parseHost('::1', ['a.example'])).toEqual(['a.example', '::1']);
    expect(() => parseHost('a b')).toThrow();
  });

  it('a monitor is a URL, or host and port', () => {
    const under = (text: string) => new URL('statusz', parseMonitor(text)).href;
    expect(under('127.0.0.1:7444')).toBe('http://127.0.0.1:7444/statusz');
    expect(under('http://[::1]:7444')).toBe('http://[::1]:7444/statusz');
    expect(under('https://ops.example/hub')).toBe('https://ops.example/hub/statusz');
    expect(() => parseMonitor('x y')).toThrow();
  });
});
