import { expect, it } from 'vitest';
import { openScreen } from './screen.ts';

it('draws over what it showed, on a terminal, and keeps events above it', () => {
  let out = '';
  const write = (text: string): void => {
    out += text;
  };
  const screen = openScreen({ out: write, columns: () => 8 });
  screen.show(['one', 'a line that is too long']);
  expect(out).toBe('one\na line \n');
  out = '';
  screen.event('bang');
  expect(out).toBe('\u001b[2A\u001b[Jbang\none\na line \n');
  out = '';
  screen.show(['two']);
  expect(out).toBe('\u001b[2A\u001b[Jtwo\n');
  screen.settle();
  out = '';
  screen.show(['three']);
  expect(out).toBe('three\n');
});

it('writes plain lines now and then anywhere else', () => {
  let out = '';
  let nowMs = 0;
  const write = (text: string): void => {
    out += text;
  };
  const screen = openScreen({ out: write, columns: () => undefined }, () => nowMs);
  screen.show(['1']);
  nowMs = 3900;
  screen.show(['2']);
  screen.event('bang');
  nowMs = 4100;
  screen.show(['3']);
  nowMs = 4200;
  screen.show(['4']);
  screen.settle();
  screen.settle();
  expect(out).toBe('1\nbang\n3\n4\n');
});
