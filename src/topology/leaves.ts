import { isIP } from 'node:net';
import { z } from 'zod';
import type { Address } from './plan.ts';
import { type Fault, quote } from './problem.ts';
import { patternFault, templateFault } from './subjects.ts';

/**
 * The kinds of text in a topology file. Each has a title ("a cluster name") for messages, an example for fixes, and a
 * pattern for editors; what decides is the check, which says what is wrong and how to put it right.
 */
function leaf(title: string, example: string, pattern: RegExp | undefined, check: (text: string) => Fault | undefined) {
  return z
    .string()
    .superRefine((text, context) => {
      const fault = check(text);
      if (fault !== undefined) context.addIssue({ code: 'custom', message: fault.message, params: { fix: fault.fix } });
    })
    .meta({ title, examples: [example], ...(pattern === undefined ? {} : { pattern: pattern.source }) });
}

function matching(title: string, example: string, pattern: RegExp, fix: string) {
  return leaf(title, example, pattern, (text) =>
    pattern.test(text) ? undefined : { message: `${quote(text)} is not ${title}`, fix },
  );
}

export const clusterName = matching(
  'a cluster name',
  'hub',
  /^[a-z0-9-]{1,32}$/,
  'use 1 to 32 of the characters a-z, 0-9 and "-"',
);

export const linkName = matching(
  'a link name',
  'telemetry',
  /^[a-z0-9-]{1,64}$/,
  'use 1 to 64 of the characters a-z, 0-9 and "-"',
);

/** Matched against names of clusters: `*` stands for any run of characters. */
export const clusterPattern = matching(
  'a pattern of cluster names',
  'edge-*',
  /^[a-z0-9*-]{1,64}$/,
  'use the characters a-z, 0-9 and "-", and "*" for any run of them',
);

/** The authority part of a SPIFFE id, as src/security/identity.ts reads it from a certificate. */
export const trustDomain = matching(
  'a trust domain',
  'acme',
  /^[a-z0-9][a-z0-9._-]{0,254}$/,
  'use a-z, 0-9, ".", "_" and "-", as in the certificates: spiffe://TRUST-DOMAIN/CLUSTER',
);

const envPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What is no name may be the secret itself, put in the wrong place: it is not repeated. */
export const envName = leaf('the name of an environment variable', 'NATS_PASSWORD', envPattern, (text) =>
  envPattern.test(text)
    ? undefined
    : {
        message: 'this is not the name of an environment variable',
        fix: 'use letters, digits and "_", without "$", as NATS_PASSWORD',
      },
);

export const path = leaf('a path', 'certs/hub.crt', undefined, (text) =>
  text.trim() !== '' && !text.includes('\0')
    ? undefined
    : { message: `${quote(text)} is not a path`, fix: 'write the path of a file, relative to this file or absolute' },
);

export const domain = matching(
  'a JetStream domain',
  'hub',
  /^[^\s.*>/\\]{1,255}$/,
  'use the name from the server configuration: no dots, wildcards or white space',
);

/** The names that a NATS server takes for a stream, less those of Causeway's own streams and buckets. */
export const streamName = leaf('a stream name', 'TELEMETRY', /^[^\s.*>/\\]{1,255}$/, (text) => {
  if (/^(KV_|OBJ_)?CAUSEWAY/.test(text)) {
    return { message: `${quote(text)} is reserved for Causeway itself`, fix: 'choose a stream of your own' };
  }
  if (/^[^\s.*>/\\\p{Cc}]{1,255}$/u.test(text)) return undefined;
  return {
    message: `${quote(text)} is not a stream name`,
    fix: 'use 1 to 255 characters without dots, wildcards (* >), slashes and white space',
  };
});

export const subjectPattern = leaf('a subject pattern', 'fleet.>', undefined, patternFault);

export const subjectTemplate = leaf('a subject template', 'fleet.{origin}.{subject}', undefined, templateFault);

const endpointPattern = /^((\[[^\]]+\]|[^:[\]/]+):[0-9]{1,5}|unix:.+)$/;

/** Where peers dial us; port 0 takes any free one. */
export const listenEndpoint = leaf('an address', '0.0.0.0:7443', endpointPattern, (text) =>
  text.startsWith('unix:') ? socketFault(text) : addressFault(text, 0, '0.0.0.0:7443'),
);

export const dialEndpoint = leaf('an address', 'hub.example:7443', endpointPattern, (text) =>
  text.startsWith('unix:') ? socketFault(text) : addressFault(text, 1, 'hub.example:7443'),
);

/** An address to listen on; port 0 takes any free one. */
export const listenAddress = leaf('an address', '0.0.0.0:7443', /^(\[[^\]]+\]|[^:[\]/]+):[0-9]{1,5}$/, (text) =>
  addressFault(text, 0, '0.0.0.0:7443'),
);

/** The path of a unix socket, as the file has it. */
export function parseSocketPath(text: string): string | undefined {
  return /^unix:([^\0]+)$/s.exec(text)?.[1];
}

function socketFault(text: string): Fault | undefined {
  const path = parseSocketPath(text);
  if (path !== undefined && path.trim() !== '' && !path.startsWith('//')) return undefined;
  return { message: `${quote(text)} is not a unix socket`, fix: 'write unix:PATH, as unix:/run/causeway/hub.sock' };
}

const proxyPattern = /^https?:\/\/[^@/?#\s]+\/?$/;

/** An HTTP proxy. A name and a password in its URL would be literals. */
export const proxyUrl = leaf('the URL of a proxy', 'http://proxy.example:3128', proxyPattern, (text) => {
  const fix = 'write http://HOST:PORT, or https://HOST:PORT';
  if (text.includes('@')) {
    // Whatever stands before the @ is not repeated in a message.
    const instead = 'take it out and give proxy.user and proxy.password as { file: PATH } or { env: NAME }';
    return { message: 'the URL holds a name or password', fix: instead };
  }
  return proxyPattern.test(text) && URL.canParse(text)
    ? undefined
    : { message: `${quote(text)} is not the URL of a proxy`, fix };
});

export const exceptPattern = matching(
  'a host, domain or network',
  '.plant.example',
  /^(\*|(\*?\.)?[A-Za-z0-9_][A-Za-z0-9._-]*(\/[0-9]{1,2})?(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*(\/[0-9]{1,3})?)$/,
  'write hub.example, .example for all below it, 10.0.0.5, 10.0.0.0/8 or "*"',
);

/** The scheme says whether TLS is demanded. Names and passwords in it would be literals. */
export const serverUrl = leaf('a NATS server URL', 'nats://127.0.0.1:4222', /^(nats|tls):\/\/[^@/?#]+$/, (text) => {
  const fix = 'write nats://HOST:PORT, or tls://HOST:PORT';
  if (text.includes('@')) {
    // Whatever stands before the @ is not repeated in a message.
    const instead =
      'take it out and give nats.user and nats.password, or nats.token, as { file: PATH } or { env: NAME }';
    return { message: 'the URL holds a name or password', fix: instead };
  }
  const rest = /^(?:nats|tls):\/\/([^/?#]+)$/.exec(text)?.[1];
  if (rest === undefined) return { message: `${quote(text)} is not a NATS server URL`, fix };
  return addressFault(/:[0-9]+$/.test(rest) ? rest : `${rest}:4222`, 1, 'HOST:PORT') === undefined
    ? undefined
    : { message: `${quote(text)} is not a NATS server URL`, fix };
});

const byteUnits: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };
const timeUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A number with its unit, in the smallest unit; undefined if it is none, or beyond what a number holds exactly. */
function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,3})?)([A-Za-z]+)$/.exec(text);
  const unit = match === null || !Object.hasOwn(units, match[2]!) ? undefined : units[match[2]!];
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

/** Bytes in `64KiB`; undefined if it is no size. */
export function parseBytes(text: string): number | undefined {
  return parseQuantity(text, byteUnits);
}

/** A number of bytes as it may stand in a file: in the largest unit that holds it whole. */
export function sizeText(bytes: number): string {
  const [unit, size] = Object.entries(byteUnits).findLast(([, one]) => bytes % one === 0)!;
  return `${bytes / size}${unit}`;
}

/** Milliseconds in `30s`; undefined if it is no duration. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, timeUnits);
}

/** A size in bytes with its unit: what one sees is what one gets, so a bare number is none. */
export const byteSize = leaf('a size', '1GiB', /^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB)$/, (text) =>
  parseBytes(text) === undefined
    ? { message: `${quote(text)} is not a size`, fix: 'write a number and B, KiB, MiB, GiB or TiB, as 64MiB' }
    : undefined,
);

export const duration = leaf('a duration', '7d', /^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$/, (text) =>
  parseDuration(text) === undefined
    ? { message: `${quote(text)} is not a duration`, fix: 'write a number and ms, s, m, h or d, as 30s or 7d' }
    : undefined,
);

/** Words of `start` that are neither a sequence nor a time. */
export const startWords = ['all', 'new', 'fromMirror'] as const;

/** The end of the year 9999, the last that the form of a time can say. */
export const lastTimeMs = Date.UTC(10_000, 0, 1) - 1;

const startPattern = /^(all|new|fromMirror|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))$/;

/** Where a lane begins, as far as it is not a sequence. */
export const startText = leaf('a start', 'all', startPattern, (text) =>
  startPattern.test(text) && (startWords.some((word) => word === text) || isTime(text))
    ? undefined
    : {
        message: `${quote(text)} is not a start`,
        fix: 'write all, new, fromMirror, a sequence (1000), or a time with its zone (2026-11-01T00:00:00Z)',
      },
);

/** Date.parse takes the 30th of February for the 2nd of March. */
function isTime(text: string): boolean {
  const timeMs = Date.parse(text);
  if (!(timeMs >= 0 && timeMs <= lastTimeMs)) return false;
  const [year, month, day] = text.slice(0, 10).split('-').map(Number);
  return new Date(Date.UTC(year!, month! - 1, day)).getUTCDate() === day;
}

/** `host:port` or `[IPv6]:port` in parts; undefined if it is neither. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)):([0-9]{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, v6, name, digits] = match;
  const port = Number(digits);
  if (port > 65535 || (v6 !== undefined && isIP(v6) !== 6)) return undefined;
  const host = v6 ?? name!;
  // Numbers and dots that are no IPv4 address would go to the resolver as a name that cannot exist.
  if (/^[0-9.]+$/.test(host) && isIP(host) !== 4) return undefined;
  return { host, port };
}

function addressFault(text: string, lowestPort: number, example: string): Fault | undefined {
  const message = `${quote(text)} is not an address`;
  const address = parseAddress(text);
  if (address !== undefined && address.port >= lowestPort) return undefined;
  if (address !== undefined)
    return { message: `${quote(text)} has no port that can be dialled`, fix: `write ${example}` };
  if (text.includes('://')) return { message, fix: `leave out the scheme: ${example}` };
  if (isIP(text.replace(/:[0-9]+$/, '')) === 6 || isIP(text) === 6) {
    return { message, fix: 'put an IPv6 address in brackets: "[::1]:7443"' };
  }
  if (/^:[0-9]+$/.test(text)) return { message, fix: `say which addresses, as 0.0.0.0${text} for all` };
  if (parseAddress(`${text}:1`) !== undefined)
    return { message: `${quote(text)} has no port`, fix: `write ${example}` };
  return { message, fix: `write HOST:PORT, as ${example}` };
}
