import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { readSecret } from '../lib/secret.ts';
import type { Address, ProxyPlan } from '../topology/plan.ts';
import { FailureError } from '../wire/reasons.ts';

/** The proxy that a connection goes through, ready to be asked. */
export interface ProxyHop {
  readonly address: Address;
  /** Authorities of a proxy that is itself reached over TLS; empty: those of Node.js. Absent for a plain one. */
  readonly tls?: { readonly ca?: Buffer };
  /** For Basic authentication: `name:password`. */
  readonly login?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy on the way to `target`, if there is one. Read anew for every connection, variables and files alike. Throws FailureError
 * `proxy-unusable`. A URL is never repeated in it: it may hold a password.
 */
export function proxyTo(target: Address, plan: ProxyPlan, env: Environment = process.env): ProxyHop | undefined {
  const text = plan.url ?? env[plan.env ?? ''] ?? '';
  if (text === '' || isExcepted(target, exceptions(plan, env))) return undefined;
  const from = plan.env === undefined ? 'the URL of the proxy' : `the environment variable ${plan.env}`;
  const url = parseUrl(text);
  if (url === undefined) {
    throw new FailureError(
      'proxy-unusable',
      `${from} is not the URL of a proxy: http://HOST:PORT or https://HOST:PORT`,
    );
  }
  const login = loginOf(plan) ?? loginIn(url, from);
  return {
    address: addressIn(url),
    ...(url.protocol === 'https:' && { tls: plan.ca === undefined ? {} : { ca: authorities(plan.ca) } }),
    ...(login !== undefined && { login }),
  };
}

/** Patterns as in NO_PROXY. */
function exceptions({ except = [] }: ProxyPlan, env: Environment): readonly string[] {
  return 'env' in except ? (env[except.env] ?? '').split(/[\s,]+/).filter((pattern) => pattern !== '') : except;
}

/**
 * True if a pattern covers the address, by the rules that most programs have for NO_PROXY: `*` is everything, `example.com` the name
 * and all below it, `.example.com` and `*.example.com` all below it, an address itself, `10.0.0.0/8` those in it; each with a port
 * or without. Names are not resolved.
 */
export function isExcepted({ host, port }: Address, patterns: readonly string[]): boolean {
  const name = host.toLowerCase();
  return patterns.some((pattern) => {
    const [, bracketed, plain, wanted] = /^(?:\[(.*)\]|(.*?))(?::([0-9]+))?$/.exec(pattern.toLowerCase()) ?? [];
    // An IPv6 address without brackets has no port.
    const whole = isIP(pattern) === 6 || /^[0-9a-f:.]+:[0-9a-f:.]*\/[0-9]+$/i.test(pattern);
    if (!whole && wanted !== undefined && Number(wanted) !== port) return false;
    return covers(whole ? pattern.toLowerCase() : (bracketed ?? plain ?? ''), name);
  });
}

function covers(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  const [network, bits] = pattern.split('/');
  const family = isIP(network!);
  if (family !== 0) {
    if (isIP(name) !== family) return false;
    const list = new BlockList();
    const length = Number(bits ?? (family === 4 ? 32 : 128));
    if (!(length >= 0 && length <= (family === 4 ? 32 : 128))) return false;
    const type = family === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(network!, length, type);
    return list.check(name, type);
  }
  const below = pattern.replace(/^\*/, '');
  return below.startsWith('.') ? name.endsWith(below) : name === below || (below !== '' && name.endsWith(`.${below}`));
}

function parseUrl(text: string): URL | undefined {
  // Without a scheme, as curl takes it, too: a proxy is a plain one.
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(whole)) return undefined;
  const url = new URL(whole);
  if (url.hostname === '' || !/^https?:$/.test(url.protocol)) return undefined;
  return url.pathname === '/' && url.search === '' && url.hash === '' ? url : undefined;
}

function addressIn({ hostname, port, protocol }: URL): Address {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

function loginIn({ username, password }: URL, from: string): string | undefined {
  if (username === '' && password === '') return undefined;
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch (cause) {
    throw new FailureError('proxy-unusable', `${from}: name or password hold a "%" that encodes nothing`, { cause });
  }
}

function loginOf({ user, password }: ProxyPlan): string | undefined {
  if (user === undefined || password === undefined) return undefined;
  try {
    return `${readSecret(user)}:${readSecret(password)}`;
  } catch (cause) {
    throw new FailureError('proxy-unusable', `name or password of the proxy: ${messageOf(cause)}`, { cause });
  }
}

function authorities(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new FailureError('proxy-unusable', `the authorities of the proxy: ${messageOf(cause)}`, { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
