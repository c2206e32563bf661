import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endpointText } from './endpoint.ts';
import { checkFiles, loadTopology } from './load.ts';
import type { Plan } from './plan.ts';
import { formatProblem } from './problem.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-roads-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const head = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: [nats://n1] }
`;

function load(text: string) {
  const path = join(folder, 'f.yaml');
  writeFileSync(path, head + text);
  return loadTopology(path);
}

function plan(text: string): Plan {
  const loaded = load(text);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.plan;
}

function wrong(peer: string, more = ''): string[] {
  const loaded = load(`peers: { a: ${peer} }\n${more}`);
  return loaded.ok ? [] : loaded.problems.map((one) => formatProblem(one).replace(/^.*f\.yaml:\d+:\d+: /, ''));
}

describe('a road', () => {
  it('leads to addresses and unix sockets, in the order of the file', () => {
    const { peers, listen } = plan(
      'listen: "unix:run/hub.sock"\npeers: { a: { dial: ["a:1", "[::1]:2", "unix:run/a.sock", "unix:/run/a.sock"] } }\n',
    );
    expect(listen).toEqual({ path: join(folder, 'run/hub.sock') });
    const [a] = peers;
    const inFolder = join(folder, 'run/a.sock');
    expect(a!.dial).toEqual([
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
      { path: inFolder },
      { path: '/run/a.sock' },
    ]);
    expect(a!.dial.map(endpointText)).toEqual(['a:1', '[::1]:2', `unix:${inFolder}`, 'unix:/run/a.sock']);
    expect(a).not.toHaveProperty('proxy');
  });

  it('may lead through a proxy', () => {
    const [a, b] = plan(`peers:
  a:
    dial: ["a:1"]
    proxy: { url: "https://p:3128", user: { env: U }, password: { file: secrets/p }, ca: p.crt, except: [.local, "[::1]:1", fd00::/8] }
  b: { dial: ["b:1"], proxy: { env: CORP_PROXY, except: { env: NO_PROXY } } }
`).peers;
    expect(a?.proxy).toEqual({
      url: 'https://p:3128',
      user: { env: 'U' },
      password: { file: join(folder, 'secrets/p') },
      ca: join(folder, 'p.crt'),
      except: ['.local', '[::1]:1', 'fd00::/8'],
    });
    expect(b?.proxy).toEqual({ env: 'CORP_PROXY', except: { env: 'NO_PROXY' } });
  });

  it('whose proxy has a file or variable that is missing is reported by check', () => {
    const { peers, ...rest } = plan(`peers:
  a: { dial: ["a:1"], proxy: { env: P, user: { env: NO_SUCH }, password: { file: none }, ca: none.crt } }
`);
    const said = checkFiles({ ...rest, peers }, {}).map(formatProblem);
    expect(said.filter((line) => line.includes('none') || line.includes('NO_SUCH'))).toHaveLength(3);
    // Not set: there is no proxy. That is no problem.
    expect(said.filter((line) => /"P"/.test(line))).toEqual([]);
  });

  it.each([
    ['{ dial: ["unix:"] }', '"unix:" is not a unix socket. write unix:PATH, as unix:/run/causeway/hub.sock'],
    [
      '{ dial: ["unix:///run/a"] }',
      '"unix:///run/a" is not a unix socket. write unix:PATH, as unix:/run/causeway/hub.sock',
    ],
    ['{ dial: ["a:1"], proxy: {} }', 'neither "url" nor "env" is given. add url: http://HOST:PORT, or env: NAME'],
    [
      '{ dial: ["a:1"], proxy: { url: "http://p", env: P } }',
      '"url" and "env" are two ways to name the proxy. keep one of them',
    ],
    [
      '{ dial: ["a:1"], proxy: { url: "socks5://p" } }',
      '"socks5://p" is not the URL of a proxy. write http://HOST:PORT, or https://HOST:PORT',
    ],
    [
      '{ dial: ["a:1"], proxy: { url: "http://me:hunter2@p" } }',
      'the URL holds a name or password. take it out and give proxy.user and proxy.password as { file: PATH } or { env: NAME }',
    ],
    [
      '{ dial: ["a:1"], proxy: { url: "http://p", user: { env: U } } }',
      '"user" is given without "password". add password: { file: PATH } or { env: NAME }',
    ],
    [
      '{ dial: ["a:1"], proxy: { url: "http://p", password: { env: U } } }',
      '"password" is given without "user". add user: { file: PATH } or { env: NAME }',
    ],
    [
      '{ dial: ["a:1"], proxy: { env: P, user: {}, password: { env: U } } }',
      '"user" says nothing. write { file: PATH } or { env: NAME }',
    ],
    [
      '{ dial: ["a:1"], proxy: { env: P, except: ["a b"] } }',
      '"a b" is not a host, domain or network. write hub.example, .example for all below it, 10.0.0.5, 10.0.0.0/8 or "*"',
    ],
  ])('%s is wrong', (peer, said) => {
    expect(wrong(peer)).toEqual([said]);
  });

  it.each([
    '{ proxy: { env: P } }',
    '{ match: "a-*", proxy: { env: P } }',
    '{ nats: { servers: [nats://n2] }, proxy: { env: P } }',
  ])('%s has a proxy and nothing to dial', (peer) => {
    expect(wrong(peer, 'listen: 0.0.0.0:7443')).toContain(
      '"proxy" is for peers that are dialled. add dial: ["HOST:PORT"], or take it out',
    );
  });
});
