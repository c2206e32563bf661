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

/** An address to listen on; port 0 takes any free one. */
export const listenAddress = leaf('an address', '0.0.0.0:7443', /^(\[[^\]]+\]|[^:[\]/]+):[0-9]{1,5}$/, (text) =>
  addressFault(text, 0, '0.0.0.0:7443'),
);

export const dialAddress = leaf('an address', 'hub.example:7443', /^(\[[^\]]+\]|[^:[\]/]+):[0-9]{1,5}$/, (text) =>
  addressFault(text, 1, 'hub.example:7443'),
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
