import { expect, test } from 'vitest';
import { debianMain, formatDeb822, parseDeb822, parseOneLine } from './apt-sources.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

test('a deb822 file: comments, several suites, disabled and source entries', () => {
  const text = `Types: deb deb-src
# a comment between fields
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: ${keyring}

Types: deb-src
URIs: http://mirror.test/sources
Suites: bookworm
Components: main

types: deb
uris: http://off.test/debian
Suites: bookworm
Components: main
Enabled: no
`;
  expect(parseDeb822(text)).toEqual([
    {
      uri: 'http://mirror.test/debian',
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'contrib'],
      trust: { 'Signed-By': keyring },
    },
  ]);
});

test('a key inside a deb822 file survives the way out again', () => {
  const key = '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----';
  const entry = `Types: deb\nURIs: http://a.test/d\nSuites: sid\nComponents: main\nSigned-By:${key}\n`;
  const [source] = parseDeb822(entry);
  expect(parseDeb822(formatDeb822(source!, 'trixie'))).toEqual([{ ...source, suites: ['trixie'] }]);
});

test('a classic list: options, comments, source entries', () => {
  const text = `# deb http://no.test/debian bookworm main
deb-src http://no.test/debian bookworm main
deb [ arch=amd64 signed-by=/a.gpg,/b.gpg ] http://mirror.test/debian bookworm main contrib # ours
deb cdrom:[Debian_12]/ bookworm main
`;
  expect(parseOneLine(text)[0]).toEqual({
    uri: 'http://mirror.test/debian',
    suites: ['bookworm'],
    components: ['main', 'contrib'],
    trust: { 'Signed-By': '/a.gpg /b.gpg' },
  });
});

test("Debian's archive is told from other publishers that use its release names", () => {
  const foreign = {
    uri: 'http://vendor.test',
    suites: ['bookworm'],
    components: ['main'],
    trust: { 'Signed-By': '/v.gpg' },
  };
  const updates = { uri: 'http://u.test', suites: ['bookworm-security'], components: ['main'], trust: {} };
  const plain = { uri: 'http://plain.test', suites: ['stable'], components: ['main'], trust: {} };
  const signed = { uri: 'http://d.test', suites: ['bookworm'], components: ['main'], trust: { 'Signed-By': keyring } };
  expect(debianMain([foreign, updates, plain, signed], 'bookworm')).toBe(signed);
  expect(debianMain([foreign, updates, plain], 'bookworm')).toBe(plain);
  expect(debianMain([updates], 'bookworm')).toBeUndefined();
});
