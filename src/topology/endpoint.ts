import type { Endpoint } from './plan.ts';

/** An endpoint as it stands in a topology file: `host:port`, `[IPv6]:port` or `unix:/path`. */
export function endpointText(endpoint: Endpoint): string {
  if ('path' in endpoint) return `unix:${endpoint.path}`;
  const { host, port } = endpoint;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
