import { validate } from 'dockerfile-utils';
import { describe, expect, test } from 'vitest';
import { ignoredBy } from '../../scripts/docker-ignore.ts';
import { lineOf, readStages } from '../../scripts/dockerfile.ts';
import { objections } from './dockerfile-rules.ts';
import { textOf } from './tree.ts';

const text = textOf('Dockerfile');
const stages = readStages(text);
const targets = ['causeway-embedded', 'causeway'];

test('Docker can read the Dockerfile', () => {
  expect(validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`)).toEqual([]);
});

test('it keeps to our rules', () => expect(objections(stages, targets)).toEqual([]));

test('nats-server is in one of the images only', () => {
  const servers = (target: string) =>
    lineOf(stages, target)
      .flatMap(({ steps }) => steps)
      .filter(({ flags }) => flags.get('from')?.includes('nats-server'));
  expect(servers('causeway-embedded').map(({ words }) => words)).toEqual([
    ['/nats-server', '/usr/local/bin/nats-server'],
  ]);
  expect(servers('causeway')).toEqual([]);
});

test('its version is that of package.json, and its Node.js one that package.json allows', () => {
  const { version, engines } = JSON.parse(textOf('package.json')) as { version: string; engines: { node: string } };
  expect(text).toContain(`\nARG VERSION=${version}\n`);
  const needed = Number(/^>=(\d+)/.exec(engines.node)?.[1]);
  const node = lineOf(stages, 'causeway')[0]!.from;
  expect(node).toMatch(/\/node:\d+\.\d+\.\d+-trixie-slim$/);
  const major = Number(/:(\d+)\./.exec(node)?.[1]);
  expect(major).toBeGreaterThanOrEqual(needed);
  // Lines with an even number get long-term support.
  expect(major % 2).toBe(0);
});

test('.dockerignore lets in what is copied, and nothing else', () => {
  const rules = textOf('.dockerignore');
  const ignored = ignoredBy(rules);
  const copied = stages
    .flatMap(({ steps }) => steps)
    .filter(({ keyword, flags }) => keyword === 'COPY' && !flags.has('from'))
    .flatMap(({ words }) => words.slice(0, -1).map((word) => word.replace(/\/$/, '')));
  expect(copied.filter(ignored)).toEqual([]);
  const kept = [...rules.matchAll(/^!(.+)$/gm)].map(([, path]) => path);
  expect(kept.toSorted()).toEqual([...new Set(copied)].toSorted());
  const others = ['.env', '.npmrc', '.git/config', 'node_modules/zod/package.json', 'dist/main.js', 'certs/ca.key'];
  expect([...others, 'src/lib/format.test.ts', 'trial/west.yaml'].filter((path) => !ignored(path))).toEqual([]);
});

describe('the rules find', () => {
  const change = (what: string | RegExp, by: string): string => {
    const changed = text.replace(what, by);
    expect(changed).not.toBe(text);
    return changed;
  };
  test.each<[string, () => string, string]>([
    ['latest', () => change(/node:[\w.-]+/, 'node:latest'), 'is not pinned'],
    ['a moving tag', () => change(/node:[\w.-]+/, 'node:26-slim'), 'is not pinned'],
    ['no registry', () => change('docker.io/library/nats:', 'nats:'), 'names no registry'],
    ['ADD', () => change('COPY src/ src/', 'ADD src/ src/'), 'ADD fetches'],
    ['everything', () => change('COPY src/ src/', 'COPY . .'), 'COPY names what it copies'],
    ['a key', () => change('COPY src/ src/', 'COPY hub.key src/'), 'may hold a secret'],
    ['a secret variable', () => change('ARG REVISION', 'ARG NPM_TOKEN=x\nARG REVISION'), 'a secret in ARG stays'],
    ['root', () => change(/^USER .*$/m, 'USER 0:0'), 'USER is not a number'],
    ['a name', () => change(/^USER .*$/m, 'USER node'), 'USER is not a number'],
    ['a shell', () => change(/^ENTRYPOINT .*$/m, 'ENTRYPOINT node /app/dist/main.js'), 'no ENTRYPOINT as a list'],
    ['no check', () => change(/^HEALTHCHECK .*$/m, ''), 'no HEALTHCHECK'],
    ['curl', () => change('CMD ["node", "/app/healthcheck.mjs"]', 'CMD ["curl", "-f"]'), 'no HEALTHCHECK'],
    ['no signal', () => change(/^STOPSIGNAL .*$/m, ''), 'STOPSIGNAL is not SIGTERM'],
    ['a missing label', () => change('image.licenses="Apache-2.0"', 'image.other="x"'), 'no label org.'],
    ['RUN in an image', () => change('EXPOSE', 'RUN npm -v\nEXPOSE'), 'RUN in an image that is shipped'],
    ['an absolute path', () => change('mkdir empty', 'mkdir /empty'), 'relative paths'],
    ['npm install', () => change('npm ci --omit=dev', 'npm install --omit=dev'), 'what is locked'],
    ['scripts of packages', () => change(' --omit=dev --ignore-scripts', ' --omit=dev'), 'scripts of others'],
    ['another default', () => `${text}FROM daemon AS other\n`, 'other comes last'],
    ['a target that is gone', () => change(/\nFROM daemon AS causeway\n/, '\n'), 'no stage causeway'],
  ])('%s', (_, make, why) => {
    const said = (): string => {
      try {
        return objections(readStages(make()), targets).join('\n');
      } catch (error) {
        return String(error);
      }
    };
    expect(said()).toContain(why);
  });
});
