/** Reads the machine's own apt sources, to learn which Debian mirror it uses and by which keys it trusts it. */

export interface AptSource {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Fields to take over as they are: Signed-By (a path, or a key of several lines), Trusted and the like. */
  readonly trust: Readonly<Record<string, string>>;
}

const trustFields: Readonly<Record<string, string>> = {
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  'allow-insecure': 'Allow-Insecure',
  'check-valid-until': 'Check-Valid-Until',
};

/** The binary-package entries of a deb822 `.sources` file, disabled ones left out (sources.list(5)). */
export function parseDeb822(text: string): AptSource[] {
  const stanzas = text.split(/\n[ \t]*(?:\n|$)/);
  return stanzas.flatMap((stanza) => {
    const fields = deb822Fields(stanza);
    const words = (name: string): string[] => (fields.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
    if (!words('types').includes('deb') || /^(no|false|0|off)$/i.test(fields.get('enabled') ?? '')) return [];
    const trust = Object.fromEntries(
      Object.entries(trustFields).flatMap(([key, name]) => {
        const value = fields.get(key);
        return value === undefined ? [] : [[name, value]];
      }),
    );
    return words('uris').map((uri) => ({ uri, suites: words('suites'), components: words('components'), trust }));
  });
}

/** Field names are case-insensitive; a line that begins with a space continues the field; # begins a comment line. */
function deb822Fields(stanza: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let last = '';
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue;
    const field = /^([^\s:]+):[ \t]*(.*)$/.exec(line);
    if (field !== null) {
      last = field[1]!.toLowerCase();
      fields.set(last, field[2]!.trimEnd());
    } else if (/^[ \t]/.test(line) && last !== '') {
      fields.set(last, `${fields.get(last)}\n${line.trimEnd()}`);
    }
  }
  return fields;
}

/** The binary-package entries of a classic `sources.list`: `deb [ options ] uri suite component...`. */
export function parseOneLine(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const entry = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)/.exec(line);
    if (entry === null) return [];
    const trust: Record<string, string> = {};
    for (const option of (entry[1] ?? '').split(/\s+/)) {
      const [key = '', value] = option.split('=', 2);
      const name = trustFields[key.toLowerCase()];
      // Several keyrings are separated by commas here and by spaces in deb822.
      if (name !== undefined && value !== undefined) trust[name] = value.replaceAll(',', ' ');
    }
    const components = entry[4]!
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '');
    return [{ uri: entry[2]!, suites: [entry[3]!], components, trust }];
  });
}

/**
 * The entry for Debian's own archive: has `main` of the machine's release, and is trusted by Debian's keyring or by the
 * machine's general one. Other publishers also name their suites after Debian's releases, hence the keyring.
 */
export function debianMain(sources: readonly AptSource[], codename: string): AptSource | undefined {
  const names = [codename, 'stable', 'testing', 'unstable', 'sid'];
  const fitting = sources.filter(
    (source) =>
      !source.uri.startsWith('cdrom:') &&
      source.components.includes('main') &&
      source.suites.some((suite) => names.includes(suite)),
  );
  const keyring = (source: AptSource): string | undefined => source.trust['Signed-By'];
  return (
    fitting.find((source) => keyring(source)?.includes('debian-archive')) ??
    fitting.find((source) => keyring(source) === undefined) ??
    fitting[0]
  );
}

/** One deb822 entry for `suite` of the same archive. */
export function formatDeb822(source: AptSource, suite: string): string {
  const lines = ['Types: deb', `URIs: ${source.uri}`, `Suites: ${suite}`, 'Components: main'];
  for (const [name, value] of Object.entries(source.trust)) lines.push(`${name}: ${value}`);
  return `${lines.join('\n')}\n`;
}
